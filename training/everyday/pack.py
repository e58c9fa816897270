# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Photos and their labels as two arrays of bytes, small enough to send to a machine with a GPU.

Photos are stored again as WebP of at most :data:`SIDE` pixels; masks as 56x56 bitmaps of their
boxes, four times as fine as what the network predicts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 512
MASK_SIDE = 56
_QUALITY = 58


@dataclass(frozen=True)
class LabelTable:
    """Labels of many photos.

    Attributes:
        image_ids: (N,) int64.
        complete: (N, K) bool, classes whose every object in the photo is labelled.
        from_coco: (N,) bool.
        photo: (M,) int32, photo of each object.
        category: (M,) int16, 0 to K - 1.
        box: (M, 4) float32 x1 y1 x2 y2, fractions of the photo.
        crowd, has_mask: (M,) bool.
        mask: (M, 56 * 56 / 8) uint8, bits over the box, zero where there is no mask.
    """

    image_ids: NDArray[np.int64]
    complete: NDArray[np.bool_]
    from_coco: NDArray[np.bool_]
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


def label_table(photos: Sequence[dict[str, Any]], category_ids: Sequence[int]) -> LabelTable:
    """Collect labels.

    Args:
        photos: each with ``id``, ``w``, ``h`` (pixels), ``complete`` (category ids), ``coco``, and
            ``objs``: ``c`` category id, ``b`` box x1 y1 x2 y2 in pixels, ``crowd``, ``seg``
            (COCO segmentation or None).
        category_ids: the K ids, in the order of the classes.

    """
    index = {category: k for k, category in enumerate(category_ids)}
    rows = []
    for i, photo in enumerate(photos):
        size = photo['w'], photo['h']
        for thing in photo['objs']:
            box = np.clip(np.array(thing['b'], np.float32) / (size * 2), 0, 1)
            if min((box[2] - box[0]) * size[0], (box[3] - box[1]) * size[1]) < 1.5:
                continue
            bits = None if thing['crowd'] else _bitmap(thing['seg'], thing['b'], size)
            rows.append((i, index[thing['c']], box, bool(thing['crowd']), bits))
    none = np.zeros(MASK_SIDE * MASK_SIDE // 8, np.uint8)
    return LabelTable(
        image_ids=np.array([p['id'] for p in photos], np.int64),
        complete=np.array([[c in set(p['complete']) for c in category_ids] for p in photos]),
        from_coco=np.array([p['coco'] for p in photos]),
        photo=np.array([r[0] for r in rows], np.int32),
        category=np.array([r[1] for r in rows], np.int16),
        box=np.array([r[2] for r in rows], np.float32),
        crowd=np.array([r[3] for r in rows]),
        has_mask=np.array([r[4] is not None for r in rows]),
        mask=np.array([none if r[4] is None else r[4] for r in rows]),
    )


def _bitmap(
    segmentation: Any, box: Sequence[float], size: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """The mask sampled at the centres of a grid over the box, packed to bits."""
    if not segmentation:
        return None
    # Not where the GPU is.
    from pycocotools import mask as coco_mask

    width, height = size
    if isinstance(segmentation, list):
        polygons = [p for p in segmentation if len(p) >= 6]
        if not polygons:
            return None
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif isinstance(segmentation['counts'], list):
        rle = coco_mask.frPyObjects(segmentation, *segmentation['size'])
    else:
        rle = segmentation
    mask = coco_mask.decode(rle)
    if not mask.any():
        return None
    steps = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    x = (box[0] + steps * (box[2] - box[0])).clip(0, width - 1).astype(int)
    y = (box[1] + steps * (box[3] - box[1])).clip(0, height - 1).astype(int)
    return np.packbits(mask[np.ix_(y, x)].reshape(-1))


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
