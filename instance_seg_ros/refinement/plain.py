# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The refiner ``none``: the coarse mask, resized to its box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.refinement.interface import Refined
from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.rois import clip_rois


class PlainMasks:
    """Resizes each coarse mask bilinearly to its box and sharpens nothing."""

    name = 'none'

    def refine(
        self,
        image_bgr: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        coarse: NDArray[np.float32],
        *,
        passes: int = 1,
        budget_ms: float = 0.0,
    ) -> Refined:
        """Resize the masks; see :class:`Refiner` for the arguments."""
        rois = clip_rois(boxes, *image_bgr.shape[:2])
        alphas = (
            paste(mask, box, (x, y), (1, 1), (h, w), outside=True)
            for mask, box, (x, y, w, h) in zip(coarse, boxes, rois.tolist(), strict=True)
        )
        return Refined(rois, alphas, np.full(len(rois), False))
