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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.everyday.packed_labels import LABELS, LabelTable, label_table, merged
from training.everyday.packed_photos import LONGEST_SIDE, QUALITY, pack_photos

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
    add('--prefer', default='', help='photos whose entry has this key are drawn twice as often')
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


def run(options: argparse.Namespace) -> None:
    """Pack COCO files.

    Raises:
        ValueError: an option is out of range.
    """
    from training.detector.dataset import category_names, load_photos

    if options.longest_side < 32 or not 1 <= options.quality <= 100:
        raise ValueError(
            f'--longest-side {options.longest_side} --quality {options.quality}: expected 32 or '
            'more pixels, and a quality from 1 to 100'
        )
    classes = options.classes or category_names(options.data[0][0])
    photos, preferred = [], set()
    ids: dict[str, int] = {}
    for file, folder in options.data:
        content = json.loads(file.read_text())
        named = {c['name']: c['id'] for c in content['categories']}
        in_file = category_names(file)  # without groups of categories, which some tools write
        known = [name for name in classes if name in in_file]
        ids = {name: named[name] for name in known} | ids
        photos += [_renumbered(p, known, classes) for p in load_photos(file, folder, known, known)]
        preferred |= {
            i['id'] for i in content['images'] if not options.prefer or options.prefer in i
        }
    photos = merged(photos)
    random.Random(0).shuffle(photos)
    shares = [1.0 if p.image_id in preferred else 0.5 for p in photos]
    table = label_table(photos, shares)
    options.output.mkdir(parents=True, exist_ok=True)
    paths = [p.path for p in photos]
    files = pack_photos(
        paths,
        options.output,
        options.threads,
        options.part_megabytes,
        options.longest_side,
        options.quality,
    )
    write_rest(table, class_ids(classes, ids), options.output)
    print(f'{len(photos)} photos are in {options.output}, {len(files)} file(s)')


def write_rest(table: LabelTable, names: Mapping[int, str], folder: Path) -> None:
    """Write the labels of a pack and the names of its classes."""
    table.save(folder / LABELS)
    (folder / NAMES).write_text(json.dumps(names))


def class_ids(classes: Sequence[str], ids: Mapping[str, int]) -> dict[int, str]:
    """Return names by id: the data's own ids if they rise from 1 on as the classes do, else 1 to K.

    The exported graph has a row of scores for every number, and its classes in this order.

    Raises:
        ValueError: a class is in no file.
    """
    missing = [name for name in classes if name not in ids]
    if missing:
        raise ValueError(f'--classes: no file of --data has {", ".join(missing)}')
    own = [ids[name] for name in classes]
    rising = own[0] > 0 and all(a < b for a, b in itertools.pairwise(own))
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
