# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Photos and their objects, scaled, stretched, shifted and flipped into samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.detector.dataset import SEMANTIC_SCALE, Annotation, Photo
from training.detector.photometric import Augmentation
from training.graph.network import FEATURE_STRIDE

MASK_SCALE = 2


@dataclass
class SampleObject:
    """An object in a sample, in its pixels."""

    box: NDArray[np.float32]
    class_index: int
    mask: NDArray[np.uint8] | None  # (H / 2, W / 2), 0 to 255
    visible: float
    ignore: bool


def transform(
    photo: Photo, size: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[SampleObject], NDArray[np.uint8], NDArray[np.bool_]]:
    """Scale, stretch, shift and flip one photo into ``size``."""
    image = photo.read()[..., ::-1]
    (height, width), (h, w) = size, photo.size
    factor = min(width / w, height / h) * np.exp(rng.uniform(*np.log(augmentation.scale)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(augmentation.stretch) / 2)
    sx, sy = factor * stretch, factor / stretch
    flip = rng.random() < augmentation.flip
    dx, dy = (rng.uniform(min(0, room), max(0, room)) for room in (width - w * sx, height - h * sy))
    if photo.annotations and rng.random() < augmentation.aim:
        x, y = _somewhere_in(photo.annotations[rng.integers(len(photo.annotations))].box, rng)
        dx = _show(w - x if flip else x, sx, w, width, dx, rng)
        dy = _show(y, sy, h, height, dy, rng)
    matrix = placement(sx, sy, dx, dy, w, flip)
    if factor < 0.6:  # warpAffine does not average: shrink first
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        warp = matrix @ np.diag([w / image.shape[1], h / image.shape[0], 1.0])
    else:
        warp = matrix
    fill = rng.integers(0, 256, 3).tolist()
    out = cv2.warpAffine(image, warp, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
    objects = [_warp_object(a, matrix, size) for a in photo.annotations]
    assert photo.semantic is not None and photo.known is not None
    shape = -(-height // FEATURE_STRIDE), -(-width // FEATURE_STRIDE)
    to_cells = (
        np.diag([1 / FEATURE_STRIDE, 1 / FEATURE_STRIDE])
        @ matrix
        @ np.diag([SEMANTIC_SCALE, SEMANTIC_SCALE, 1.0])
    )
    semantic = cv2.warpAffine(
        photo.semantic, to_cells, shape[::-1], flags=cv2.INTER_NEAREST, borderValue=0
    )
    return out, objects, semantic, np.broadcast_to(photo.known, (*shape, len(photo.known)))


def _somewhere_in(box: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(box[0], box[2])), float(rng.uniform(box[1], box[3]))


def _show(
    point: float, scale: float, source: float, target: int, shift: float, rng: np.random.Generator
) -> float:
    """Shift along one axis that keeps a point in sight, where the photo is larger than the
    sample.
    """
    if source * scale <= target:
        return shift
    lowest, highest = target - source * scale, 0.0
    return float(np.clip(rng.uniform(0.15, 0.85) * target - point * scale, lowest, highest))


def placement(
    sx: float, sy: float, dx: float, dy: float, width: int, flip: bool
) -> NDArray[np.float64]:
    """Return the affine matrix (2, 3) that scales, shifts and, if wanted, flips a photo."""
    if flip:
        return np.array([[-sx, 0, dx + width * sx], [0, sy, dy]])
    return np.array([[sx, 0, dx], [0, sy, dy]])


def _warp_object(
    annotation: Annotation, matrix: NDArray[np.float64], size: tuple[int, int]
) -> SampleObject:
    x1, y1, x2, y2 = annotation.box
    xs = sorted((matrix[0, 0] * x1 + matrix[0, 2], matrix[0, 0] * x2 + matrix[0, 2]))
    ys = matrix[1, 1] * y1 + matrix[1, 2], matrix[1, 1] * y2 + matrix[1, 2]
    whole = np.array([xs[0], ys[0], xs[1], ys[1]], np.float32)
    height, width = size
    box = np.clip(whole, 0, [width, height, width, height]).astype(np.float32)
    visible = area_of(box) / max(area_of(whole), 1e-6)
    if annotation.rle is None or annotation.ignore:
        return SampleObject(box, annotation.class_index, None, visible, annotation.ignore)
    mask = coco_mask.decode(annotation.rle)
    full_area = float(mask.sum()) * abs(matrix[0, 0] * matrix[1, 1]) / MASK_SCALE**2
    warped = cv2.warpAffine(
        mask * np.uint8(255), matrix / MASK_SCALE, (width // MASK_SCALE, height // MASK_SCALE)
    )
    area = float((warped > 127).sum())
    if area == 0:
        return SampleObject(box, annotation.class_index, None, 0.0, False)
    return SampleObject(
        box_of(warped) if visible < 0.999 else box,
        annotation.class_index,
        warped,
        area / max(full_area, 1e-6),
        False,
    )


def hidden_behind(thing: SampleObject, cover: NDArray[np.uint8]) -> SampleObject:
    """What is left of an object behind a pasted one."""
    if thing.mask is None:
        x1, y1, x2, y2 = (thing.box / MASK_SCALE).astype(int)
        hidden = float((cover[y1:y2, x1:x2] > 127).mean()) if x2 > x1 and y2 > y1 else 1.0
        return replace(thing, visible=thing.visible * (1 - hidden))
    before = float((thing.mask > 127).sum())
    mask = np.minimum(thing.mask, 255 - cover)
    after = float((mask > 127).sum())
    if after == 0:
        return replace(thing, visible=0.0)
    return replace(
        thing, mask=mask, box=box_of(mask), visible=thing.visible * after / max(before, 1.0)
    )


def box_of(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Box in sample pixels around a half-size mask that is not empty."""
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) * MASK_SCALE


def area_of(box: NDArray[np.float32]) -> float:
    """Area of a box, 0 for an empty one."""
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
