# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Objects with masks, cut out of their photos with what is around them, held in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.detector.dataset import Annotation, DatasetError, Photo, category_names, load_photos

LOG = logging.getLogger(__name__)

_MARGIN = 0.8  # of the box on each side: the context of a box that is itself far off
_LEAST_SIDE = 24  # pixels; outlines of smaller objects are too crude to learn from
_LEAST_AREA = 400
_LEAST_OVERLAP = 0.5  # of a detected box with that of an object, to be of it

Detected = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Crop:
    """One object in its surroundings.

    Attributes:
        image: uint8 (H, W, 3), BGR.
        mask: uint8 (H, W), 0 or 1.
        others: uint8 (H, W), 0 or 1: other annotated objects that are not this one.
        image_id: of the photo.
        detected: what a real detector gave for this object: boxes, float32 (4,), in pixels of the
            crop, and probabilities, float32 (M, M), over them.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    others: NDArray[np.uint8]
    image_id: int
    detected: tuple[Detected, ...] = ()


def load_all_classes(annotation_file: Path, image_folder: Path) -> list[Photo]:
    """Read the objects of all classes: an outline is an outline.

    Raises:
        DatasetError: as :func:`training.detector.dataset.load_photos`.

    """
    names = category_names(annotation_file)
    return load_photos(annotation_file, image_folder, names, names)


def cut_out(
    photos: Iterable[Photo], longest_side: int = 384, coarse: Path | None = None
) -> list[Crop]:
    """Cut every object with a usable mask out of its photo.

    Args:
        photos: with masks.
        longest_side: larger crops are scaled down to it, pixels.
        coarse: what a detector found in these photos, with its coarse masks: the file of
            ``instance-seg image --json FILE --coarse``.

    Raises:
        DatasetError: no photo has such an object, or the file is of another kind.

    """
    found = read_detected(coarse) if coarse is not None else {}
    crops = []
    for photo in photos:
        objects = [a for a in photo.annotations if a.rle is not None and not a.ignore]
        if any(usable(annotation) for annotation in objects):
            detected = found.get(photo.path.name, [])
            crops += _of_photo(photo, objects, longest_side, detected)
    if not crops:
        raise DatasetError(
            f'no object has a mask of at least {_LEAST_SIDE} pixels a side. The refiner learns '
            'from outlines: polygons or brush masks'
        )
    real = sum(len(crop.detected) for crop in crops)
    LOG.info('%d objects to learn from, %d coarse masks of a detector', len(crops), real)
    return crops


def usable(annotation: Annotation) -> bool:
    """Whether an object with a mask is large enough to learn and to judge by."""
    x1, y1, x2, y2 = annotation.box
    return (
        min(x2 - x1, y2 - y1) >= _LEAST_SIDE
        and float(coco_mask.area(annotation.rle)) >= _LEAST_AREA
    )


def read_detected(path: Path) -> dict[str, list[Detected]]:
    """Read the boxes and coarse masks of a detector, by the name of the image file.

    Raises:
        DatasetError: the file is none of ``instance-seg image --json FILE --coarse``.

    """
    found: dict[str, list[Detected]] = {}
    try:
        for row in json.loads(path.read_text()):
            x, y, w, h = row['bbox']
            box = np.array([x, y, x + w, y + h], np.float32)
            mask = np.array(row['coarse_mask'], np.float32)
            found.setdefault(Path(row['file_name']).name, []).append((box, mask))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f'{path}: has no coarse masks ({type(error).__name__}: {error}). Expected what '
            '"instance-seg image FOLDER --json FILE --coarse" writes'
        ) from None
    return found


def _matching(
    annotation: Annotation, detected: Sequence[Detected], origin: tuple[int, int], scale: float
) -> tuple[Detected, ...]:
    """Those that lie on the object, in pixels of its crop."""
    shift = np.array([*origin, *origin], np.float32)
    return tuple(
        (((box - shift) * scale).astype(np.float32), mask)
        for box, mask in detected
        if _overlap(box, annotation.box) >= _LEAST_OVERLAP
    )


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(sides.clip(0)))
    return common / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common)


def _of_photo(
    photo: Photo, objects: list[Annotation], longest_side: int, detected: Sequence[Detected]
) -> list[Crop]:
    image = photo.read()
    masks: list[NDArray[np.uint8]] = [coco_mask.decode(annotation.rle) for annotation in objects]
    everything: NDArray[np.uint8] = np.maximum.reduce(masks)
    crops = []
    for annotation, mask in zip(objects, masks, strict=True):
        if not usable(annotation):
            continue
        x1, y1, x2, y2 = _window(annotation.box, photo.size)
        window = slice(y1, y2), slice(x1, x2)
        others = ((everything[window] > 0) & (mask[window] == 0)).astype(np.uint8)
        parts = [_scaled(array, longest_side) for array in (image[window], mask[window], others)]
        scale = parts[0].shape[1] / (x2 - x1)
        matching = _matching(annotation, detected, (x1, y1), scale)
        crop = Crop(parts[0], parts[1], parts[2], photo.image_id, matching)
        if cv2.countNonZero(crop.mask) >= _LEAST_AREA / 4:
            crops.append(crop)
    return crops


def _window(box: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    margin = _MARGIN * (box[2:] - box[:2])
    low = np.maximum(np.floor(box[:2] - margin), 0)
    high = np.minimum(np.ceil(box[2:] + margin), size[::-1])
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _scaled(array: NDArray[np.uint8], longest_side: int) -> NDArray[np.uint8]:
    height, width = array.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(array)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if array.ndim == 3:
        return cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    area = cv2.resize(array.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return (area >= 0.5).astype(np.uint8)
