# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What every engine offers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ROW = 7  # image id, class id, score, x1, y1, x2, y2
BOX_COLUMN = 3  # where the box begins


@dataclass(frozen=True)
class Detections:
    """What the box network finds in one image.

    Attributes:
        rows: float32 (N, 7): image id, class id, score, x1, y1, x2, y2 as fractions of the image,
            falling score; rows without score or area are left out.
        features: the feature map that the mask network of the same engine reads.
    """

    rows: NDArray[np.float32]
    features: Any

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores, float32 (N,)."""
        return self.rows[:, 2]

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """Class ids in the model's numbering, int32 (N,)."""
        return self.rows[:, 1].astype(np.int32)

    def boxes(self, height: int, width: int) -> NDArray[np.float32]:
        """Boxes, float32 (N, 4), x1, y1, x2, y2 in pixels of an image of that size."""
        return self.rows[:, 3:] * np.array([width, height, width, height], np.float32)


class Detector(Protocol):
    """A Mask R-CNN in an engine. Threads may share it.

    Attributes:
        num_classes: foreground classes.
        mask_size: side of a mask.
        engine: name of the engine, with what it runs on.
    """

    num_classes: int
    mask_size: int

    @property
    def engine(self) -> str:
        """Name of the engine, with what it runs on."""

    def detect(self, image_bgr: NDArray[np.uint8]) -> Detections:
        """Find boxes in an image.

        Args:
            image_bgr: uint8 (H, W, 3); the network sees it at this size.

        Raises:
            ModelError: the engine cannot run the network any more.

        """

    def masks(self, detections: Detections, keep: NDArray[np.intp]) -> NDArray[np.float32]:
        """Mask probabilities of some detections, each for its own class.

        Args:
            detections: of :meth:`detect`.
            keep: their positions, int (K,).

        Returns:
            float32 (K, M, M) over each box, M being ``mask_size``.

        """

    def layer_times(self) -> AbstractContextManager[dict[str, dict[str, float]]]:
        """Sum up milliseconds by layer of ``proposals``, ``boxes``, ``masks`` in the block."""


__all__ = ['BOX_COLUMN', 'ROW', 'Detections', 'Detector']
