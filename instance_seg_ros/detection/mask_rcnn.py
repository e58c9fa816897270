# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNN of the TF Object Detection API through cv2.dnn: boxes for all, masks where wanted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.detections import ROW, Detections
from instance_seg_ros.detection.net_loader import NetLoader
from instance_seg_ros.detection.nets import Nets
from instance_seg_ros.detection.text_graph import split
from instance_seg_ros.errors import ModelError
from instance_seg_ros.settings import OPENCV

_WARM_UP_SIZE = (192, 256)


class MaskRcnn:
    """The network, in parts. Threads may share it.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        proposals: regions that the first stage hands on, if the graph's own number is larger.
        parallel_nets: number of images that can be in :meth:`detect` at a time, each in a net.
        low_memory: no Winograd's convolutions, which hold seven times the memory of their weights:
            slower, and with other last digits.

    Raises:
        ModelError: a file is missing, broken or of another model. A first forward through all
            parts checks the shapes, because cv2.dnn itself notices only then or never.
    """

    def __init__(
        self,
        weights: Path,
        text_graph: Path,
        proposals: int | None = None,
        parallel_nets: int = 1,
        low_memory: bool = False,
    ) -> None:
        self._weights = weights
        self._loader = NetLoader(weights, text_graph, winograd=not low_memory)
        graph = split(self._loader.nodes, text_graph, proposals)
        self.num_classes = graph.num_classes
        self._nets = Nets(self._loader.load, graph, parallel_nets)
        for _ in range(parallel_nets):  # they take turns
            self.mask_size = self._warm_up()
        self._loader.forget_weights()

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return OPENCV

    def detect(self, image_bgr: NDArray[np.uint8]) -> Detections:
        """Find boxes in an image.

        Args:
            image_bgr: uint8 (H, W, 3); the network sees it at this size.

        Raises:
            ModelError: the file of the weights, needed again at some changes of the size, is gone
                or is another one.
        """
        rows, features = self._nets.detect(
            cv2.dnn.blobFromImage(image_bgr, swapRB=True, crop=False)
        )
        rows = rows.reshape(-1, ROW)
        # cv2.dnn pads the output to its full number of rows: with zeros, or, where the first stage
        # found too few regions, with boxes of no area that do have a score.
        used = (rows[:, 2] > 0) & (rows[:, 5] > rows[:, 3]) & (rows[:, 6] > rows[:, 4])
        return Detections(rows[used], features)

    def masks(self, detections: Detections, keep: NDArray[np.intp]) -> NDArray[np.float32]:
        """Mask probabilities of some detections, each for its own class.

        Args:
            detections: of :meth:`detect`.
            keep: their positions, int (K,).

        Returns:
            float32 (K, M, M) over each box, M being ``mask_size``.
        """
        if len(keep) == 0:
            return np.zeros((0, self.mask_size, self.mask_size), np.float32)
        rows = np.ascontiguousarray(detections.rows[keep])
        masks = self._nets.masks(detections.features, rows)
        return masks[np.arange(len(keep)), detections.class_ids[keep]]

    def layer_times(self) -> AbstractContextManager[dict[str, dict[str, float]]]:
        """Sum up milliseconds by layer of cv2.dnn in ``proposals``, ``boxes`` and ``masks``."""
        return self._nets.layer_times()

    def _warm_up(self) -> int:
        """Run both stages once; return the side of a mask."""
        height, width = _WARM_UP_SIZE
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        row = np.array([[0, 0, 1, 0.25, 0.25, 0.75, 0.75]], np.float32)
        try:
            rows, features = self._nets.detect(
                cv2.dnn.blobFromImage(image, swapRB=True, crop=False)
            )
            masks = self._nets.masks(features, row)
        except cv2.error as error:
            raise self._loader.mismatch(error.err or str(error)) from None
        self._check_shapes(rows, features, masks)
        return masks.shape[-1]

    def _check_shapes(
        self, rows: NDArray[Any], features: NDArray[Any], masks: NDArray[Any]
    ) -> None:
        if rows.ndim != 4 or rows.shape[-1] != ROW:
            raise self._loader.mismatch(
                f'the detections have the shape {rows.shape}, expected (1, 1, N, {ROW})'
            )
        if features.ndim != 4:
            raise self._loader.mismatch(f'the features have the shape {features.shape}')
        classes, height, width = masks.shape[1:] if masks.ndim == 4 else (0, 0, 0)
        if classes != self.num_classes or height != width or height == 0:
            raise self._loader.mismatch(
                f'the masks have the shape {masks.shape}, expected (1, {self.num_classes}, M, M)'
            )
        if not (np.isfinite(features).all() and np.isfinite(masks).all()):
            raise ModelError(
                f'weights {self._weights}: give results that are not finite; the file is corrupted.'
                ' Download or export it again'
            )


__all__ = ['MaskRcnn']
