# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Photos and their labels as two files, small enough to send to a machine with a GPU.

    python -m training.everyday.pack --data instances.json images/ --output FOLDER

Photos are stored again as WebP of at most :data:`SIDE` pixels; masks as 56x56 bitmaps of their
boxes, four times as fine as what the network predicts. A photo that several files describe takes
from each what the ones before do not say completely.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # it needs packages that are not where the GPU is
    from training.detector.dataset import Annotation, Photo

SIDE = 512
MASK_SIDE = 56
_QUALITY = 58
_LEAST_SIDE = 1.5
LABELS, PHOTOS, NAMES = 'labels.npz', 'photos.npz', 'names.json'


@dataclass(frozen=True)
class LabelTable:
    """Labels of many photos.

    Attributes:
        image_ids: (N,) int64.
        complete: (N, K) bool, classes whose every object in the photo is labelled.
        share: (N,) float32, how often the photo is drawn.
        photo: (M,) int32, photo of each object.
        category: (M,) int16, 0 to K - 1.
        box: (M, 4) float32 x1 y1 x2 y2, fractions of the photo.
        crowd, has_mask: (M,) bool.
        mask: (M, 56 * 56 / 8) uint8, bits over the box, zero where there is no mask.
    """

    image_ids: NDArray[np.int64]
    complete: NDArray[np.bool_]
    share: NDArray[np.float32]
    photo: NDArray[np.int32]
    category: NDArray[np.int16]
    box: NDArray[np.float32]
    crowd: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]
    mask: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> LabelTable:
        with np.load(path) as file:
            return cls(**{name: file[name] for name in file.files})


def merged(photos: Iterable[Photo]) -> list[Photo]:
    """Make one of photos of the same file: of each class the labels that are complete, else all."""
    by_path: dict[Path, Photo] = {}
    for photo in photos:
        first = by_path.setdefault(photo.path, photo)
        if first is photo or first.known is None or photo.known is None:
            continue
        new = photo.known & ~first.known
        first.annotations = [a for a in first.annotations if not new[a.class_index]]
        first.annotations += [a for a in photo.annotations if new[a.class_index]]
        first.known = first.known | photo.known
    return list(by_path.values())


def label_table(photos: Sequence[Photo], shares: Sequence[float]) -> LabelTable:
    """Collect the labels of photos, and how often each is to be drawn."""
    rows = []
    for i, photo in enumerate(photos):
        height, width = photo.size
        for thing in photo.annotations:
            box = np.clip(thing.box / np.array([width, height] * 2, np.float32), 0, 1)
            if min(thing.box[2:] - thing.box[:2]) < _LEAST_SIDE:
                continue
            bits = None if thing.ignore or thing.rle is None else _bitmap(thing)
            rows.append((i, thing.class_index, box, thing.ignore, bits))
    none = np.zeros(MASK_SIDE * MASK_SIDE // 8, np.uint8)
    return LabelTable(
        image_ids=np.array([p.image_id for p in photos], np.int64),
        complete=np.array([p.known for p in photos]),
        share=np.array(shares, np.float32),
        photo=np.array([r[0] for r in rows], np.int32),
        category=np.array([r[1] for r in rows], np.int16),
        box=np.array([r[2] for r in rows], np.float32).reshape(-1, 4),
        crowd=np.array([r[3] for r in rows], bool),
        has_mask=np.array([r[4] is not None for r in rows], bool),
        mask=np.array([none if r[4] is None else r[4] for r in rows]).reshape(-1, len(none)),
    )


def _bitmap(thing: Annotation) -> NDArray[np.uint8] | None:
    """The mask sampled at the centres of a grid over the box, packed to bits."""
    from pycocotools import mask as coco_mask  # not where the GPU is

    mask = coco_mask.decode(thing.rle)
    steps = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    x1, y1, x2, y2 = thing.box
    x = (x1 + steps * (x2 - x1)).clip(0, mask.shape[1] - 1).astype(int)
    y = (y1 + steps * (y2 - y1)).clip(0, mask.shape[0] - 1).astype(int)
    bits = mask[np.ix_(y, x)]
    return np.packbits(bits.reshape(-1)) if bits.any() else None


def pack_photos(paths: Sequence[Path], target: Path, threads: int = 1) -> None:
    """Store photos as one file of their bytes and where each begins."""
    with ThreadPoolExecutor(threads) as pool:
        encoded = list(pool.map(_encode, paths))
    ends = np.cumsum([len(e) for e in encoded])
    np.savez(target, ends=ends, data=np.frombuffer(b''.join(encoded), np.uint8))


def _encode(path: Path) -> bytes:
    with Image.open(path) as file:
        image = file.convert('RGB')
    factor = SIDE / max(image.size)
    if factor < 1:
        size = round(image.width * factor), round(image.height * factor)
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, 'WEBP', quality=_QUALITY, method=3)
    return buffer.getvalue()


def unpack_photos(
    files: Sequence[Path], most: int | None = None, threads: int = 16
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode packed photos, one file after the other.

    Returns:
        uint8 (N, SIDE, SIDE, 3) RGB, each photo at the top left, grey elsewhere; int64 (N, 2)
        height and width of each.

    """
    spans = []
    for path in files:
        with np.load(path) as file:
            ends, data = file['ends'], file['data']
        spans += [data[s:e].tobytes() for s, e in zip([0, *ends[:-1]], ends, strict=True)]
    spans = spans[:most]
    photos = np.full((len(spans), SIDE, SIDE, 3), 114, np.uint8)
    sizes = np.zeros((len(spans), 2), np.int64)

    def decode(i: int) -> None:
        with Image.open(io.BytesIO(spans[i])) as file:
            image = np.asarray(file.convert('RGB'))
        sizes[i] = image.shape[:2]
        photos[i, : image.shape[0], : image.shape[1]] = image

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(len(spans))))
    return photos, sizes


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack COCO files."""
    from training.detector.dataset import category_names, load_photos

    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--data', nargs=2, action='append', required=True, metavar=('JSON', 'IMAGES'), type=Path)
    add('--classes', nargs='+', help='names; by default all of the first file')
    add('--prefer', default='', help='photos whose entry has this key are drawn twice as often')
    add('--output', type=Path, required=True)
    add('--threads', type=int, default=2)
    options = parser.parse_args(arguments)
    classes = options.classes or category_names(options.data[0][0])
    photos, preferred = [], set()
    ids: dict[str, int] = {}
    for file, folder in options.data:
        content = json.loads(file.read_text())
        named = {c['name']: c['id'] for c in content['categories']}
        ids |= {name: named[name] for name in classes if name in named}
        known = [name for name in classes if name in named]
        photos += [_renumbered(p, known, classes) for p in load_photos(file, folder, known, known)]
        preferred |= {
            i['id'] for i in content['images'] if not options.prefer or options.prefer in i
        }
    photos = merged(photos)
    random.Random(0).shuffle(photos)
    options.output.mkdir(parents=True, exist_ok=True)
    shares = [1.0 if p.image_id in preferred else 0.5 for p in photos]
    label_table(photos, shares).save(options.output / LABELS)
    pack_photos([p.path for p in photos], options.output / PHOTOS, options.threads)
    (options.output / NAMES).write_text(json.dumps({ids[name]: name for name in classes}))
    print(f'{len(photos)} photos are in {options.output}')


def _renumbered(photo: Photo, known: Sequence[str], classes: Sequence[str]) -> Photo:
    """A photo of a file that has not all the classes."""
    assert photo.known is not None
    complete = dict(zip(known, photo.known, strict=True))
    photo.known = np.array([bool(complete.get(name)) for name in classes])
    for thing in photo.annotations:
        thing.class_index = classes.index(known[thing.class_index])
    return photo


if __name__ == '__main__':
    main()
