# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How alike two boxes or two masks are. Plain floats: a matrix of 20 x 20 is faster than in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes x1, y1, x2, y2; 0 for empty ones."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return intersection / (areas - intersection)


def diou_distance(a: Box, b: Box) -> float:
    """Return 1 - DIoU of two boxes, 0 to 2: it also ranks boxes that do not overlap.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020.
    """
    dx = (a[0] + a[2] - b[0] - b[2]) / 2
    dy = (a[1] + a[3] - b[1] - b[3]) / 2
    width = max(a[2], b[2]) - min(a[0], b[0])
    height = max(a[3], b[3]) - min(a[1], b[1])
    diagonal = width * width + height * height
    return 1 - box_iou(a, b) + ((dx * dx + dy * dy) / diagonal if diagonal > 0 else 0.0)


def mask_iou(
    a: NDArray[np.uint8],
    a_origin: tuple[float, float],
    b: NDArray[np.uint8],
    b_origin: tuple[float, float],
) -> float:
    """Return the intersection over union of two masks that lie in one image.

    Args:
        a, b: uint8 (height, width), 0 or 1.
        a_origin, b_origin: x, y of their first pixels, rounded to whole pixels.

    """
    x, y = round(b_origin[0] - a_origin[0]), round(b_origin[1] - a_origin[1])
    left, top = max(x, 0), max(y, 0)
    right = min(a.shape[1], x + b.shape[1])
    bottom = min(a.shape[0], y + b.shape[0])
    if right <= left or bottom <= top:
        return 0.0
    both = np.count_nonzero(a[top:bottom, left:right] & b[top - y : bottom - y, left - x : right - x])
    either = np.count_nonzero(a) + np.count_nonzero(b) - both
    return both / either if either else 0.0
