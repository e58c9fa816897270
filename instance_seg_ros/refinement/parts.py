# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Masks without crumbs: specks beside an object and pinholes in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def without_crumbs(mask: NDArray[np.uint8], min_part: float) -> NDArray[np.uint8]:
    """Drop the small parts of a mask and fill its small holes.

    Pixels that touch at a corner belong to one part; a hole is background that does not reach the
    edge of the array.

    Args:
        mask: uint8 (H, W), 0 or 1.
        min_part: parts with less than this share of the largest part's pixels are dropped, and
            holes with less are filled, 0 to 1; 0 changes nothing.

    Returns:
        The mask itself where there is nothing to change, else a new one, uint8 (H, W), 0 or 1.

    Raises:
        ValueError: the share is not from 0 to 1.

    """
    if not 0 <= min_part <= 1:
        raise ValueError(f'min_part is {min_part}: expected a share from 0 to 1')
    if min_part == 0:
        return mask
    outlines, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(outlines) < 2:
        return mask
    parents = hierarchy[0, :, 3]
    pixels = _pixels(outlines, parents)
    small = pixels < min_part * pixels[parents < 0].max()
    if not small.any():
        return mask
    tidy = mask.copy()
    # Parts first: what lies in a hole of a small part is smaller still and goes with it.
    for value, chosen in ((0, small & (parents < 0)), (1, small & (parents >= 0))):
        for i in np.flatnonzero(chosen).tolist():
            if value == 0 or not small[parents[i]]:
                cv2.drawContours(tidy, outlines, i, value, cv2.FILLED)
    return tidy


def _pixels(outlines: Sequence[Any], parents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Count the pixels of parts and holes by Pick's theorem, exactly and without a label image.

    A part's outline runs through its own pixels, a hole's through those around it.
    """
    enclosed = np.array([cv2.contourArea(outline) for outline in outlines])
    lengths = np.array([len(outline) if len(outline) > 1 else 0 for outline in outlines])
    holes = parents >= 0
    pixels = enclosed + np.where(holes, -0.5, 0.5) * lengths + 1
    np.subtract.at(pixels, parents[holes], pixels[holes])
    return pixels
