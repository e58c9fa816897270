# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How well a mask fits the true one."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

BOUNDARY_SHARE = 0.02  # of the image's diagonal: the width of the band of boundary IoU
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Scores:
    """Figures of one mask, or their means.

    Attributes:
        iou: intersection over union.
        boundary_iou: the same of the bands along both outlines (Cheng et al. 2021, arXiv
            2103.16562), 2 % of the image's diagonal wide.
        boundary_f2, boundary_f3: F-measure of the outlines that lie within 2 and 3 pixels of one
            another (Martin et al. 2004).
        clutter: area that does not belong to the object, over the object's area.
    """

    iou: float
    boundary_iou: float
    boundary_f2: float
    boundary_f3: float
    clutter: float

    @classmethod
    def mean(cls, scores: list[Scores]) -> Scores:
        """Return the mean of every figure."""
        return cls(*np.mean([astuple(s) for s in scores], 0).tolist())

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the figures."""
        return [field.name for field in fields(cls)]


def compare(mask: Mask, truth: Mask, diagonal: float) -> Scores:
    """Compare a mask with the true one.

    Args:
        mask, truth: uint8 (H, W), 0 or 1; of the whole image, or of a part with all of both.
        diagonal: of the image, pixels.

    """
    both = (mask | truth).astype(np.uint8)
    if not both.any():
        return Scores(1.0, 1.0, 1.0, 1.0, 0.0)
    x, y, w, h = cv2.boundingRect(both)
    mask, truth = mask[y : y + h, x : x + w], truth[y : y + h, x : x + w]
    width = max(1, round(BOUNDARY_SHARE * diagonal))
    clutter = int(np.count_nonzero((mask == 1) & (truth == 0))) / max(1, cv2.countNonZero(truth))
    return Scores(
        _iou(mask, truth),
        _iou(_band(mask, width), _band(truth, width)),
        _boundary_f(mask, truth, 2),
        _boundary_f(mask, truth, 3),
        clutter,
    )


def _iou(a: Mask, b: Mask) -> float:
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def _band(mask: Mask, width: int) -> Mask:
    """Pixels of a mask that lie within ``width`` of its outline; beyond the image is outside."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return mask - cv2.erode(padded, _SQUARE, iterations=width)[1:-1, 1:-1]


def _boundary_f(mask: Mask, truth: Mask, tolerance: int) -> float:
    ours, theirs = _band(mask, 1), _band(truth, 1)
    if not ours.any() or not theirs.any():
        return float(not ours.any() and not theirs.any())
    size = 2 * tolerance + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    margin = (tolerance,) * 4
    near = [
        cv2.dilate(cv2.copyMakeBorder(a, *margin, cv2.BORDER_CONSTANT, value=0), disc)[
            tolerance:-tolerance, tolerance:-tolerance
        ]
        for a in (ours, theirs)
    ]
    precision = np.count_nonzero(ours & near[1]) / np.count_nonzero(ours)
    recall = np.count_nonzero(theirs & near[0]) / np.count_nonzero(theirs)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
