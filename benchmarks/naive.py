# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the library is compared with: the script that everybody writes for this model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NMS_THRESHOLD = 0.4


class NaiveScript:
    """One forward for both outputs at the image's own size, then full-frame work per instance."""

    def __init__(
        self, weights: Path, text_graph: Path, confidence_threshold: float, image: NDArray[np.uint8]
    ) -> None:
        engine = {'engine': cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, 'ENGINE_CLASSIC') else {}
        self.net = cv2.dnn.readNetFromTensorflow(str(weights), str(text_graph), **engine)
        self.confidence_threshold, self.image = confidence_threshold, image

    def forward(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows (N, 7) of the detection output and the masks (N, classes, 15, 15)."""
        self.net.setInput(cv2.dnn.blobFromImage(self.image, swapRB=True, crop=False))
        rows, masks = self.net.forward(['detection_out_final', 'detection_masks'])
        return rows.reshape(-1, 7), masks

    def kept(self, rows: NDArray[Any]) -> list[int]:
        """Return which rows survive the threshold and the non-maximum suppression."""
        height, width = self.image.shape[:2]
        boxes = rows[:, 3:] * (width, height, width, height)
        return sorted(
            cv2.dnn.NMSBoxesBatched(
                np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist(),
                rows[:, 2].tolist(),
                rows[:, 1].astype(int).tolist(),
                self.confidence_threshold,
                NMS_THRESHOLD,
            )
        )

    def __call__(self) -> list[NDArray[np.uint8]]:
        """Return a mask of the whole frame for every instance."""
        height, width = self.image.shape[:2]
        rows, masks = self.forward()
        boxes = (rows[:, 3:] * (width, height, width, height)).astype(int)
        return [
            _full_mask(masks[i, int(rows[i, 1])], boxes[i], (height, width))
            for i in self.kept(rows)
        ]


def _full_mask(
    mask: NDArray[np.float32], box: NDArray[np.int_], size: tuple[int, int]
) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = box
    full = np.zeros(size, np.uint8)
    if x2 > x1 and y2 > y1:
        full[y1:y2, x1:x2] = cv2.resize(mask, (int(x2 - x1), int(y2 - y1))) > 0.5
    return full
