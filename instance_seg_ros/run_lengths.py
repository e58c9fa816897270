# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Masks as COCO's uncompressed run lengths, as instance_seg_ros/InstanceMask carries them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def run_lengths(mask: NDArray[Any]) -> NDArray[np.uint32]:
    """Encode a mask.

    Args:
        mask: (height, width), zero outside of the object and non-zero inside.

    Returns:
        Lengths of the runs, column by column, zeros first; the first is 0 where the mask starts
        with the object. Their sum is height * width.

    Raises:
        ValueError: the mask is no array of two dimensions.

    """
    inside = (np.asarray(mask) != 0).view(np.uint8)
    if inside.ndim == 3 and inside.shape[2] == 1:
        inside = inside[..., 0]
    if inside.ndim != 2:
        raise ValueError(f'mask has the shape {inside.shape}: expected (height, width)')
    if inside.size:  # nothing empty for OpenCV, which transposes six times as fast as numpy
        inside = cv2.transpose(inside)
    inside = inside.ravel()
    starts = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    lengths = np.diff(starts, prepend=0, append=inside.size).astype(np.uint32)
    if inside.size and inside[0]:
        lengths = np.concatenate([np.zeros(1, np.uint32), lengths])
    return lengths


def run_lengths_in(
    mask: NDArray[Any], roi: NDArray[Any] | Sequence[int], image_size: tuple[int, int]
) -> NDArray[np.uint32]:
    """Encode a mask of a part of an image as that of the whole image.

    Only the columns of the part are looked at: the whole mask of a large photo takes 30 times as
    long.

    Args:
        mask: (height, width) of the part, zero outside of the object and non-zero inside.
        roi: x, y, width, height of the part, inside the image.
        image_size: (height, width) of the image.

    Returns:
        As run_lengths; their sum is that of the image's pixels.
    """
    height, width = image_size
    x, y, w, h = (int(value) for value in roi)
    columns = np.zeros((height, w), np.uint8)
    columns[y : y + h] = np.asarray(mask) != 0
    lengths = run_lengths(columns)
    lengths[0] += x * height
    after = np.uint32((width - x - w) * height)
    if len(lengths) % 2:  # the last run is outside of the object
        lengths[-1] += after
    elif after:
        lengths = np.append(lengths, after)
    return lengths


def mask_from_rle_counts(
    counts: Sequence[int] | NDArray[Any], height: int, width: int
) -> NDArray[np.uint8]:
    """Decode what run_lengths returns.

    Args:
        counts: lengths of the runs, column by column, zeros first.
        height: of the mask, in pixels.
        width: of the mask, in pixels.

    Returns:
        uint8 (height, width), 0 or 1.

    Raises:
        ValueError: these are no lengths, or they do not add up to height * width.

    """
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1:
        raise ValueError(f'rle_counts have the shape {runs.shape}: expected (number of runs,)')
    if (runs < 0).any():
        raise ValueError(f'rle_counts hold {runs.min()}: expected lengths of runs, 0 or more')
    if runs.sum() != height * width:
        raise ValueError(
            f'rle_counts add up to {runs.sum()}, expected {height * width} for a roi of '
            f'{width} x {height}'
        )
    inside = np.repeat((np.arange(len(runs)) % 2).astype(np.uint8), runs)
    return np.ascontiguousarray(inside.reshape(width, height).T)
