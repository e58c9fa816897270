# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Photos and their labels as a few files, small enough to send to a machine with a GPU.

    python -m training.everyday pack --data instances.json images/ --output FOLDER

Photos are stored again as WebP, by default of at most 512 pixels; masks as 56x56 bitmaps of their
boxes, four times as fine as what the network predicts. A photo that several files describe takes
from each what the ones before do not say completely.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.everyday.packed_labels import LABELS, LabelTable, label_table, merged
from training.everyday.packed_photos import (
    LONGEST_SIDE,
    QUALITY,
    encode_photos,
    photo_files,
    write_photos,
)

if TYPE_CHECKING:
    from training.detector.dataset import Photo

NAMES = 'names.json'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of packing."""
    add = parser.add_argument
    add(
        '--data',
        nargs=2,
        action='append',
        required=True,
        metavar=('JSON', 'IMAGES'),
        type=Path,
        help='COCO annotation file and its image folder; may be given again. A photo of several '
        'files takes from each the classes that the ones before do not label completely',
    )
    add('--classes', nargs='+', help='names, rising by id; by default all of the first file')
    add(
        '--prefer',
        default='',
        metavar='KEY',
        help='photos whose entry has this key in one of the files are drawn twice as often',
    )
    add(
        '--longest-side',
        type=int,
        default=LONGEST_SIDE,
        metavar='PIXELS',
        help='of the stored photos: what the training shows them at (train --side). Training keeps '
        'all of them in memory, 0.8 MB each at 512 and 1.2 MB at 640',
    )
    add('--quality', type=int, default=QUALITY, help='of the stored photos, 1 to 100')
    add('--threads', type=int, default=2)
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where a pack goes and how large its files may be."""
    parser.add_argument('--output', type=Path, required=True, help='folder of the pack')
    parser.add_argument(
        '--part-megabytes',
        type=float,
        default=0,
        metavar='SIZE',
        help='write files of photos of this size at most, where a machine takes no larger ones; '
        '0: one file',
    )


@dataclass(frozen=True)
class _File:
    """What of a COCO file is needed beside its photos: ids by name, and ids of preferred photos."""

    path: Path
    folder: Path
    ids: dict[str, Hashable]
    preferred: set[int]

    def photos(self, classes: Sequence[str]) -> list[Photo]:
        from training.detector.dataset import load_photos

        known = [name for name in classes if name in self.ids]
        if not known:
            raise ValueError(
                f'{self.path}: has none of the classes {", ".join(classes)}, but '
                f'{", ".join(self.ids) or "no category"}. Leave this file out or name other classes'
            )
        loaded = load_photos(self.path, self.folder, known, known, decoded=False)
        return [_renumbered(photo, known, classes) for photo in loaded]


def run(options: argparse.Namespace) -> None:
    """Pack COCO files.

    Raises:
        ValueError: an option is out of range, or a file cannot be used.
    """
    if options.longest_side < 32 or not 1 <= options.quality <= 100:
        raise ValueError(
            f'--longest-side {options.longest_side} --quality {options.quality}: expected 32 or '
            'more pixels, and a quality from 1 to 100'
        )
    files = [_read_file(path, folder, options.prefer) for path, folder in options.data]
    classes = options.classes or list(files[0].ids)
    ids: dict[str, Hashable] = {}
    for file in files:
        ids = file.ids | ids
    names = class_ids(classes, ids)
    photos, preferred = _load(files, classes)
    random.Random(0).shuffle(photos)
    options.output.mkdir(parents=True, exist_ok=True)  # before the long work
    photos, encoded = _readable(photos, options)
    shares = [1.0 if photo.path.resolve() in preferred else 0.5 for photo in photos]
    table = label_table(photos, shares)
    written = write_pack(encoded, table, names, options.output, options.part_megabytes)
    print(f'{len(photos)} photos are in {options.output}, {len(written)} file(s)')


def _read_file(path: Path, folder: Path, prefer: str) -> _File:
    from instance_seg_ros.evaluation.coco_file import Categories, id_of, read_coco_file

    content = read_coco_file(path)
    # Without groups of categories, which some tools write.
    categories = Categories(content['categories'], content['annotations'])
    ids = {}
    for entry in content['categories']:
        number = id_of(entry.get('id')) if isinstance(entry, dict) else None
        if (name := categories.name_of(number)) is not None:
            ids[name] = number
    if not ids:
        raise ValueError(f'{path}: has no category. Expected the names of classes in categories')
    entries = [e for e in content['images'] if isinstance(e, dict) and (not prefer or prefer in e)]
    keys = [id_of(entry.get('id')) for entry in entries]
    return _File(path, folder, ids, {_image_number(key) for key in keys if key is not None})


def _load(files: Sequence[_File], classes: Sequence[str]) -> tuple[list[Photo], set[Path]]:
    """Return the photos of files, each once, and the paths of those that one of them prefers."""
    loaded = [(file, photo) for file in files for photo in file.photos(classes)]
    # By the path, as photos are merged: images of several files can have the same id.
    preferred = {p.path.resolve() for file, p in loaded if p.image_id in file.preferred}
    return merged([photo for _, photo in loaded]), preferred


def _image_number(key: Hashable) -> int:
    """Return the number that read_coco gives to an image of this id."""
    return key if isinstance(key, int) else zlib.crc32(str(key).encode())


def _readable(
    photos: Sequence[Photo], options: argparse.Namespace
) -> tuple[list[Photo], list[bytes]]:
    """Return the photos that can be read as they were annotated, and these encoded.

    Raises:
        ValueError: there are none.
    """
    results = encode_photos(photos, options.threads, options.longest_side, options.quality)
    errors = [each for each in results if isinstance(each, ValueError)]
    if len(errors) == len(results):
        raise ValueError(f'none of the {len(results)} photos can be used; the first: {errors[0]}')
    if errors:
        print(f'left out {len(errors)} of {len(results)} photos; the first: {errors[0]}')
    kept = [p for p, each in zip(photos, results, strict=True) if isinstance(each, bytes)]
    return kept, [each for each in results if isinstance(each, bytes)]


def write_pack(
    photos: Iterable[bytes],
    table: LabelTable,
    names: Mapping[int, str],
    folder: Path,
    part_megabytes: float = 0.0,
) -> list[Path]:
    """Write a pack; the one that is in the folder stays until the new one is whole.

    Args:
        photos: encoded.
        table: their labels.
        names: of the classes by id.
        folder: of the pack; made if it is missing.
        part_megabytes: size that a file of photos may have; 0: there is one file, of any size.

    Returns:
        The files of photos, in their order.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.unfinished-', dir=folder) as new:
        files = write_photos(photos, Path(new), part_megabytes)
        table.save(Path(new, LABELS))
        Path(new, NAMES).write_text(json.dumps(names))
        # Without labels a folder is no pack: so it is where this is cut off.
        for old in (folder / LABELS, *photo_files(folder)):
            old.unlink(missing_ok=True)
        for name in (*(file.name for file in files), NAMES, LABELS):
            Path(new, name).replace(folder / name)
    return [folder / file.name for file in files]


def class_ids(classes: Sequence[str], ids: Mapping[str, Hashable]) -> dict[int, str]:
    """Return names by id: the data's own ids if they rise from 1 on as the classes do, else 1 to K.

    The exported graph has its classes in this order, and a row of scores for every number up to
    the largest id, if that is none beyond COCO's.

    Raises:
        ValueError: a class is in no file.
    """
    missing = [name for name in classes if name not in ids]
    if missing:
        raise ValueError(
            f'--classes: no file of --data has {", ".join(missing)}. Expected some of: '
            f'{", ".join(ids)}'
        )
    own = [number for name in classes if isinstance(number := ids[name], int)]
    rising = len(own) == len(classes) and own[0] > 0
    rising = rising and all(a < b for a, b in itertools.pairwise(own))
    return dict(zip(own if rising else range(1, len(classes) + 1), classes, strict=True))


def _renumbered(photo: Photo, known: Sequence[str], classes: Sequence[str]) -> Photo:
    """A photo of a file that has not all the classes."""
    assert photo.known is not None
    complete = dict(zip(known, photo.known, strict=True))
    photo.known = np.array([bool(complete.get(name)) for name in classes])
    for thing in photo.annotations:
        thing.class_index = classes.index(known[thing.class_index])
    return photo


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack; the older name of ``python -m training.everyday pack``."""
    from training.everyday.__main__ import main as command

    return command(['pack', *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == '__main__':
    sys.exit(main())
