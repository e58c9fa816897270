# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Regions of interest: where the masks of instances are in an image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def clip_rois(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.int32]:
    """Return the whole pixels that each box touches.

    Args:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels.
        height, width: of the image.

    Returns:
        int32 (N, 4), x, y, width, height inside the image, at least 1 x 1.
    """
    low = np.floor(boxes[:, :2]).clip(0, (width - 1, height - 1))
    high = np.ceil(boxes[:, 2:]).clip(low + 1, (width, height))
    return np.concatenate([low, high - low], 1).astype(np.int32)


def trim_to_masks(
    rois: NDArray[np.int32], masks: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.int32], list[NDArray[np.uint8]]]:
    """Cut off the rows and columns at the edges where a mask has nothing.

    A refiner looks at more than the box, so that a mask can reach beyond it.

    Args:
        rois: int32 (N, 4), x, y, width, height.
        masks: N arrays uint8 (height, width) of the rois, 0 or 1.

    Returns:
        The same, as small as the masks; those of an empty mask are left as they are.

    """
    trimmed, crops = rois.copy(), list(masks)
    for i, mask in enumerate(masks):
        x, y, w, h = cv2.boundingRect(mask)
        if w and h and (w, h) != mask.shape[::-1]:
            trimmed[i] = rois[i, 0] + x, rois[i, 1] + y, w, h
            crops[i] = np.ascontiguousarray(mask[y : y + h, x : x + w])
    return trimmed, crops


__all__ = ['clip_rois', 'trim_to_masks']
