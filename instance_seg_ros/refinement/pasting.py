# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Coarse mask probabilities, pasted where they belong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def paste(
    coarse: NDArray[np.float32],
    box: NDArray[np.float32],
    origin: tuple[float, float],
    step: tuple[float, float],
    size: tuple[int, int],
    *,
    outside: bool,
) -> NDArray[np.float32]:
    """Sample a coarse mask that is stretched over a box on a grid of pixels, bilinearly.

    Column by column, then row by row: exact to the sub-pixel, where cv2.resize needs whole boxes
    and cv2.warpAffine rounds positions to 1/32 of a (large) coarse cell. As matrix products it
    would be as quick, but wake the threads of OpenBLAS, which then spin for some 30 ms and take the
    processor from the network.

    Args:
        coarse: float32 (M, M) probabilities.
        box: x1, y1, x2, y2 in pixels.
        origin: x, y of the grid's first pixel corner.
        step: width, height of a grid pixel in image pixels.
        size: (height, width) of the grid.
        outside: whether the mask's edge continues outside the box; otherwise the mask is 0 there.

    Returns:
        float32 of that size.
    """
    columns = _sample(origin[0], step[0], size[1], box[0], box[2], coarse.shape[1], outside)
    rows = _sample(origin[1], step[1], size[0], box[1], box[3], coarse.shape[0], outside)
    return rows.of(np.ascontiguousarray(columns.of(coarse.T).T))


@dataclass(frozen=True)
class _Samples:
    """Where each pixel centre of a line lies between the centres of the coarse cells."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    fraction: NDArray[np.float32]
    zero: NDArray[np.bool_]

    def of(self, lines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate between the rows of an array."""
        before, result = lines[self.before], lines[self.after]
        result -= before
        result *= self.fraction[:, None]
        result += before
        result[self.zero] = 0
        return result


def _sample(
    origin: float, step: float, count: int, low: float, high: float, cells: int, outside: bool
) -> _Samples:
    """Place pixel centres in cells that divide low..high evenly."""
    centres = origin + (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(step)
    position = ((centres - low) / max(high - low, 1e-6) * cells - 0.5).clip(0, cells - 1)
    before = position.astype(np.intp)
    zero = np.zeros(count, bool) if outside else (centres < low) | (centres > high)
    return _Samples(
        before, np.minimum(before + 1, cells - 1), (position - before).astype(np.float32), zero
    )
