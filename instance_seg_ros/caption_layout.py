# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where the captions of boxes go: inside the image, beside their box, off each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]

_ROWS_INSIDE = 4  # caption heights down the inside of a box that are tried


def place_captions(
    boxes: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Choose a place for each caption: the usual one unless an earlier caption is there.

    Args:
        boxes: x1, y1, x2, y2 in pixels, the most important one first.
        sizes: (width, height) of each caption in pixels.
        image_size: (height, width).

    Returns:
        The upper left corner (x, y) of each caption.
    """
    places: list[tuple[int, int]] = []
    taken = np.zeros((len(boxes), 4), np.int64)
    for i, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        candidates = _candidates(box, size, image_size)
        best = candidates[int(_covered(candidates, taken[:i]).argmin())]
        taken[i] = best
        places.append((int(best[0]), int(best[1])))
    return places


def _candidates(
    box: Rectangle, size: tuple[int, int], image_size: tuple[int, int]
) -> NDArray[np.int64]:
    """Places of a caption as x1, y1, x2, y2, best first, moved into the image."""
    x1, y1, x2, y2 = box
    width, height = size
    above, below = y1 - height, y2 + 1
    right = x2 + 1 - width
    corners = [(x1, above), (x1, y1), (x1, below), (right, above), (right, y1), (right, below)]
    corners += [(x1, y1 + k * height) for k in range(1, _ROWS_INSIDE)]
    corners += [(x1, y2 + 1 - height), (right, y2 + 1 - height), (x2 + 1, y1), (x1 - width, y1)]
    low = np.array(corners, np.int64)
    limit = np.array([image_size[1] - width, image_size[0] - height]).clip(0)
    low = low.clip(0, limit)
    return np.concatenate([low, low + [width, height]], 1)


def _covered(candidates: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each candidate that lie on captions already placed."""
    low = np.maximum(candidates[:, None, :2], taken[None, :, :2])
    high = np.minimum(candidates[:, None, 2:], taken[None, :, 2:])
    return (high - low).clip(0).prod(2).sum(1)
