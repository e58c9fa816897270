# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A refiner without a network: smoothing that stops at the image's edges, about 1 ms an instance."""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.refinement.pasting import paste

CROP_SIDE = 128
CONTEXT = 0.25  # of the box, on each side: an outline is often outside the box
_LAMBDA, _SIGMA_COLOUR = 100.0, 8.0


class MaskSmoother:
    """Fast global smoother (Min et al. 2014) of the coarse mask, guided by a small crop of the image.

    Raises:
        RuntimeError: OpenCV lacks its contributed modules.

    """

    def __init__(self) -> None:
        if not hasattr(cv2, 'ximgproc'):
            raise RuntimeError(
                'refiner smooth: this OpenCV has no ximgproc module. Install '
                'opencv-contrib-python in place of opencv-python, or choose refiner none')

    def __call__(self, image_bgr: NDArray[np.uint8], boxes: NDArray[np.float32],
                 coarse: NDArray[np.float32]
                 ) -> tuple[NDArray[np.int32], Iterator[NDArray[np.float32]]]:
        """Sharpen masks.

        Args:
            image_bgr: uint8 (H, W, 3).
            boxes: float32 (N, 4), x1, y1, x2, y2 in pixels.
            coarse: float32 (N, M, M), probabilities over each box.

        Returns:
            Rois int32 (N, 4), x, y, width, height (they outgrow the boxes), and N probability
            maps float32 of their sizes, one at a time: those of a large photo would fill the memory.

        """
        rois = context_rois(boxes, image_bgr.shape[0], image_bgr.shape[1])
        return rois, (_smooth(image_bgr, roi, box, mask)
                      for roi, box, mask in zip(rois, boxes, coarse, strict=True))


def context_rois(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.int32]:
    """Return each box with its context, cut to the image: int32 (N, 4), x, y, width, height."""
    margins = CONTEXT * (boxes[:, 2:] - boxes[:, :2])
    low = np.floor(boxes[:, :2] - margins).clip(0, (width - 1, height - 1))
    high = np.ceil(boxes[:, 2:] + margins).clip(low + 1, (width, height))
    return np.concatenate([low, high - low], 1).astype(np.int32)


def _smooth(image: NDArray[np.uint8], roi: NDArray[np.int32], box: NDArray[np.float32],
            coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    x, y, w, h = (int(v) for v in roi)
    scale = min(1.0, CROP_SIDE / max(w, h))
    size = max(1, round(h * scale)), max(1, round(w * scale))
    guide = cv2.resize(image[y:y + h, x:x + w], size[::-1], interpolation=cv2.INTER_AREA)
    mask = paste(coarse, box, (x, y), (w / size[1], h / size[0]), size, outside=False)
    smooth = cv2.ximgproc.fastGlobalSmootherFilter(guide, mask, _LAMBDA, _SIGMA_COLOUR)
    return cv2.resize(smooth, (w, h), interpolation=cv2.INTER_LINEAR)
