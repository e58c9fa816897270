# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Boxes and masks of COCO annotations, as annotation tools write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rle = dict[str, Any]
Size = tuple[int, int]

MIN_SIDE = 1.0  # pixels of a box
# What reading entries of any content may raise.
MALFORMED = (TypeError, ValueError, KeyError, IndexError, OverflowError, AttributeError)


def number_of(value: Any) -> float:
    """Return a finite number; text that is one counts.

    Raises:
        ValueError, TypeError: it is no number.

    """
    if isinstance(value, bool):
        raise TypeError('true or false in place of a number')
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f'{number} is no coordinate')
    return number


def box_of(bbox: Any) -> NDArray[np.float32] | None:
    """Return COCO's x, y, width, height as float32 x1, y1, x2, y2; None where it is no such box."""
    try:
        x, y, w, h = (number_of(value) for value in bbox)
    except MALFORMED:
        return None
    if w < 0 or h < 0:
        return None
    return np.array([x, y, x + w, y + h], np.float32)


def box_of_mask(rle: Rle) -> NDArray[np.float32]:
    """Return the smallest box around a mask, float32 x1, y1, x2, y2."""
    from pycocotools import mask as coco_mask

    x, y, w, h = coco_mask.toBbox(rle)
    return np.array([x, y, x + w, y + h], np.float32)


def clipped(box: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Return the part of a box within an image of (height, width)."""
    limits = np.array([size[1], size[0], size[1], size[0]], np.float32)
    return np.clip(box, 0, limits)


def is_empty(box: NDArray[np.float32]) -> bool:
    """Whether a box is thinner than a pixel."""
    return bool(min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE)


def run_lengths_of(segmentation: Any, size: Size) -> Rle | None:
    """Read a mask as :func:`read_mask` does; None where it is malformed or empty."""
    from pycocotools import mask as coco_mask

    try:
        rle = read_mask(segmentation, size)
    except MALFORMED:
        return None
    return rle if coco_mask.area(rle) > 0 else None


def read_mask(segmentation: Any, size: Size) -> Rle:
    """Read a mask: polygons (also self-crossing ones), plain or compressed run lengths.

    Args:
        segmentation: as it is in the file.
        size: (height, width) of the image.

    Returns:
        COCO's compressed run lengths over the image.

    Raises:
        ValueError and others of MALFORMED: it is no mask; only a ValueError says why.

    """
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, dict):
        counts = _counts(segmentation, size)
        plain = {'size': list(size), 'counts': counts}
        return coco_mask.frPyObjects(plain, *size)
    polygons = _polygons(segmentation, size)
    if not polygons:
        raise ValueError('there is no polygon of three points')
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def run_lengths_of_box(box: NDArray[np.float32], size: Size) -> Rle:
    """Return a filled box as a mask."""
    from pycocotools import mask as coco_mask

    x1, y1, x2, y2 = (float(value) for value in box)
    return coco_mask.merge(coco_mask.frPyObjects([[x1, y1, x2, y1, x2, y2, x1, y2]], *size))


def ious_of_boxes(
    found: NDArray[np.float32], boxes: Sequence[NDArray[np.float32]], crowds: Sequence[bool]
) -> NDArray[np.float64]:
    """Return the IoU of each box with each other one, as pycocotools has it.

    Args:
        found: float32 (N, 4), x1, y1, x2, y2 in pixels.
        boxes: M boxes float32 (4,), the same.
        crowds: of the M boxes; with a crowd the share of the found box that is inside counts.

    Returns:
        float64 (N, M).
    """
    from pycocotools import mask as coco_mask

    if not len(found) or not boxes:
        return np.zeros((len(found), len(boxes)))
    return np.asarray(
        coco_mask.iou(_xywh(found), _xywh(np.stack(boxes)), [int(crowd) for crowd in crowds])
    )


def _xywh(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = boxes.astype(np.float64)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1)


def _polygons(segmentation: Any, size: Size) -> list[list[float]]:
    if segmentation and all(isinstance(each, (int, float, str)) for each in segmentation):
        segmentation = [segmentation]  # one polygon that is not in a list of its own
    elif len(segmentation) >= 3 and all(len(each) == 2 for each in segmentation):
        segmentation = [[value for point in segmentation for value in point]]
    # Corners far outside would take memory for the whole way to them.
    far = float(max(size))
    polygons = []
    for polygon in segmentation:
        if len(polygon) >= 6:
            if len(polygon) % 2:
                raise ValueError('a polygon has an odd number of coordinates')
            points = np.array([number_of(value) for value in polygon])
            polygons.append(np.clip(points, -far, 2 * far).tolist())
    return polygons


def _counts(segmentation: dict[str, Any], size: Size) -> list[int]:
    if [int(number_of(side)) for side in segmentation['size']] != list(size):
        raise ValueError('the mask is of another size than the image')
    counts = segmentation['counts']
    if isinstance(counts, str):
        runs = _decompressed(counts.encode('ascii'))
    else:
        runs = [int(number_of(count)) for count in counts]
    # pycocotools reads past the end of runs that do not fill the image.
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError('the runs do not add up to the image')
    return runs


def _decompressed(text: bytes) -> list[int]:
    """Return the runs of COCO's text form, which pycocotools itself does not check."""
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        bits = byte - 48
        if not 0 <= bits < 64:
            raise ValueError('a character that is no part of run lengths')
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('the run lengths are cut off')
    return runs
