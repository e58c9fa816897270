# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What every refiner takes and returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Refined(NamedTuple):
    """What a refiner returns.

    Attributes:
        rois: int32 (N, 4), x, y, width, height inside the image; they may be larger than the boxes.
        alphas: N probability maps float32 (height, width) of the rois, one at a time: together
            those of a large photo would fill the memory.
        refined: bool (N,), whether the refiner sharpened the mask.
    """

    rois: NDArray[np.int32]
    alphas: Iterator[NDArray[np.float32]]
    refined: NDArray[np.bool_]


class Refiner(Protocol):
    """Turns the mask head's coarse masks into masks of the image's resolution."""

    @property
    def name(self) -> str:
        """Name of the refiner, such as ``smooth``, or the path of its file."""

    def refine(
        self,
        image_bgr: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        coarse: NDArray[np.float32],
        *,
        passes: int,
        budget_ms: float,
    ) -> Refined:
        """Refine the masks of one image.

        Args:
            image_bgr: uint8 (H, W, 3).
            boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, best score first.
            coarse: float32 (N, M, M), probabilities over each box.
            passes: of a network, at most.
            budget_ms: time for all instances in milliseconds; 0 is no limit.
        """
