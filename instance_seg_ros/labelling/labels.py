# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Images and the labels in them, however they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# How far an outline may be from the mask, so that a person has few points to move: a part of the
# square root of the area, within limits in pixels.
_TOLERANCE, _LEAST_TOLERANCE, _MOST_TOLERANCE = 0.005, 1.0, 1.5
_SCALE = 4
_LEAST_POINTS = 3


@dataclass(frozen=True)
class Label:
    """One object of one image.

    Attributes:
        category_id: from 1 on: the class id + 1.
        name: of the class.
        score: of the detection, 0 to 1.
        mask: uint8 (height, width) over the whole image, 0 or 1, with at least one pixel inside.
        track_id: identity over frames, or None.
    """

    category_id: int
    name: str
    score: float
    mask: NDArray[np.uint8]
    track_id: int | None = None


@dataclass(frozen=True)
class LabelledImage:
    """One image.

    Attributes:
        file_name: relative to the folder of images, with forward slashes.
        size: (height, width) in pixels.
        labels: of its objects, none where nothing was found.
    """

    file_name: str
    size: tuple[int, int]
    labels: list[Label] = field(default_factory=list)


def outlines(mask: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """Return a polygon for each part of a mask; holes are filled.

    Args:
        mask: (height, width), zero outside.

    Returns:
        float64 (P, 2) each, x and y in pixels, the image's corner is (0, 0). At least 3 points;
        parts that are thinner than that are left out.

    """
    x, y, width, height = cv2.boundingRect(mask)
    crop = mask[y : y + height, x : x + width]
    # OpenCV's contours run through the centres of pixels. In an enlarged mask these lie nearer to
    # the edge.
    padded = np.pad(crop, 1)
    large = cv2.resize(padded, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    side = float(np.sqrt(np.count_nonzero(crop)))
    tolerance = min(max(_TOLERANCE * side, _LEAST_TOLERANCE), _MOST_TOLERANCE)
    simple = [cv2.approxPolyDP(contour, _SCALE * tolerance, True)[:, 0] for contour in contours]
    limits = np.array(mask.shape[::-1])
    return [
        np.clip((points + 0.5) / _SCALE - 1 + [x, y], 0, limits)
        for points in simple
        if len(points) >= _LEAST_POINTS
    ]


def coco_run_lengths(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a mask as COCO's compressed run lengths, with text in place of bytes."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask))
    return {'size': list(mask.shape), 'counts': rle['counts'].decode('ascii')}
