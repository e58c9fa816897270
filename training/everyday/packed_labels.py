# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Labels of packed photos as one table, masks as bitmaps of their boxes."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # it needs packages that are not where the GPU is
    from training.detector.dataset import Annotation, Photo

LOG = logging.getLogger(__name__)

LABELS = 'labels.npz'
MASK_SIDE = 56
_LEAST_SIDE = 1.5
# Ids beyond 64 bits are stored as their remainder: divided by 42 or less it leaves the same rest,
# so that --hold-out holds out the same photos everywhere.
_ID_MODULUS = math.lcm(*range(1, 43))


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
        """Read the labels of a pack.

        Raises:
            ValueError: it is no such file.
            OSError: it cannot be read.
        """
        try:
            with np.load(path) as file:
                table = cls(**{name: file[name] for name in file.files})
        except (EOFError, TypeError, ValueError, BadZipFile, zlib.error):
            raise ValueError(f'{path}: is no file of packed labels') from None
        # Packs without objects were once written with masks of another type.
        return replace(table, mask=table.mask.astype(np.uint8, copy=False))


def merged(photos: Iterable[Photo]) -> list[Photo]:
    """Make one of photos of the same file: of each class the labels that are complete, else all."""
    by_path: dict[Path, Photo] = {}
    others = []
    for photo in photos:
        first = by_path.setdefault(photo.path.resolve(), photo)
        if first is photo or first.known is None or photo.known is None:
            continue
        if photo.size != first.size:
            others.append(photo.path)
            continue
        new = photo.known & ~first.known
        first.annotations = [a for a in first.annotations if not new[a.class_index]]
        first.annotations += [a for a in photo.annotations if new[a.class_index]]
        first.known = first.known | photo.known
    if others:
        LOG.warning(
            'left out the labels of %d photos that are for another size than those of the file '
            'before, first of %s. Export the data again',
            len(others),
            others[0],
        )
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
        image_ids=np.array([_stored_id(p.image_id) for p in photos], np.int64),
        complete=np.array([p.known for p in photos]),
        share=np.array(shares, np.float32),
        photo=np.array([r[0] for r in rows], np.int32),
        category=np.array([r[1] for r in rows], np.int16),
        box=np.array([r[2] for r in rows], np.float32).reshape(-1, 4),
        crowd=np.array([r[3] for r in rows], bool),
        has_mask=np.array([r[4] is not None for r in rows], bool),
        mask=np.array([none if r[4] is None else r[4] for r in rows], np.uint8).reshape(
            -1, len(none)
        ),
    )


def _stored_id(image_id: int) -> int:
    return image_id if -(2**63) <= image_id < 2**63 else image_id % _ID_MODULUS


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
