# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Distances of two boxes, in plain floats: for one pair at a time they are faster than NumPy."""

from __future__ import annotations

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes; 0 where one is empty."""
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
