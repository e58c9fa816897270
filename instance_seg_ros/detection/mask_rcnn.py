# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNN of the TF Object Detection API through cv2.dnn: boxes for all, masks where wanted."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.nets import Nets, ThreeNets, TwoNets
from instance_seg_ros.detection.text_graph import (
    SharedGraph,
    SplitGraph,
    read_text_graph,
    share,
    split,
)
from instance_seg_ros.errors import ModelError

LOG = logging.getLogger(__name__)

_ROW = 7  # image id, class id, score, x1, y1, x2, y2
_WARM_UP_SIZE = (192, 256)


@dataclass(frozen=True)
class Detections:
    """What the box network finds in one image.

    Attributes:
        rows: float32 (N, 7): image id, class id, score, x1, y1, x2, y2 as fractions of the image,
            falling score; rows without score or area are left out.
        features: the feature map that the mask network reads.
    """

    rows: NDArray[np.float32]
    features: NDArray[np.float32]

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


class MaskRcnn:
    """The network, in parts. Threads may share it.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        proposals: regions that the first stage hands on, if the graph's own number is larger.
        parallel_nets: so many images can be in :meth:`detect` at a time, each in a net of its own.
        low_memory: keep every weight once. Slower, and masks have other last digits.

    Raises:
        ModelError: a file is missing, broken or of another model. A first forward through all
            parts checks the shapes, because cv2.dnn itself notices only then or never.

    """

    def __init__(self, weights: Path, text_graph: Path, proposals: int | None = None,
                 parallel_nets: int = 1, low_memory: bool = False) -> None:
        self._weights, self._text_graph = weights, text_graph
        nodes = read_text_graph(text_graph)
        graph = (share if low_memory else split)(nodes, text_graph, proposals)
        self.num_classes = graph.num_classes
        payload = read_weights(weights)
        self._nets = self._make_nets(payload, graph, parallel_nets)
        for _ in range(parallel_nets):  # they take turns
            self.mask_size = self._warm_up()
        if low_memory:
            # A net that has seen images of another size keeps what it made of the weights for both.
            del self._nets  # first, so that both are not there at a time
            self._nets = self._make_nets(payload, graph, parallel_nets)

    def detect(self, image_bgr: NDArray[np.uint8]) -> Detections:
        """Find boxes in an image.

        Args:
            image_bgr: uint8 (H, W, 3); the network sees it at this size.

        """
        blob = cv2.dnn.blobFromImage(image_bgr, swapRB=True, crop=False)
        rows, features = self._nets.boxes(blob)
        rows = rows.reshape(-1, _ROW)
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

    def layer_times(self) -> dict[str, float]:
        """Milliseconds of each layer of cv2.dnn in the last frame, by name; for profiling."""
        return self._nets.layer_times()

    # ---- loading
    def _make_nets(self, payload: NDArray[np.uint8], graph: SplitGraph | SharedGraph,
                   parallel: int) -> Nets:
        def load(text: str, winograd: bool) -> Any:
            return self._load(payload, text, winograd)

        if isinstance(graph, SharedGraph):
            return ThreeNets(load, graph, parallel)
        return TwoNets(load, graph, parallel)

    def _load(self, payload: NDArray[np.uint8], text: str, winograd: bool) -> Any:
        options: dict[str, Any] = {}
        if hasattr(cv2.dnn, 'ENGINE_CLASSIC'):
            # The new engine of OpenCV 5 silently returns other tensors for these graphs.
            options['engine'] = cv2.dnn.ENGINE_CLASSIC
        config = np.frombuffer(text.encode(), np.uint8)
        try:
            net = cv2.dnn.readNetFromTensorflow(payload, config, **options)
        except cv2.error as error:
            raise self._mismatch(error.err or str(error)) from None
        net.enableWinograd(winograd)
        return net

    def _warm_up(self) -> int:
        """Run both stages once; return the side of a mask."""
        height, width = _WARM_UP_SIZE
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        row = np.array([[0, 0, 1, 0.25, 0.25, 0.75, 0.75]], np.float32)
        try:
            blob = cv2.dnn.blobFromImage(image, swapRB=True, crop=False)
            rows, features = self._nets.boxes(blob)
            masks = self._nets.masks(features, row)
        except cv2.error as error:
            raise self._mismatch(error.err or str(error)) from None
        self._check_shapes(rows, features, masks)
        return masks.shape[-1]

    def _check_shapes(
            self, rows: NDArray[Any], features: NDArray[Any], masks: NDArray[Any]) -> None:
        if rows.ndim != 4 or rows.shape[-1] != _ROW:
            raise self._mismatch(
                f'the detections have the shape {rows.shape}, expected (1, 1, N, {_ROW})')
        if features.ndim != 4:
            raise self._mismatch(f'the features have the shape {features.shape}')
        classes, height, width = masks.shape[1:] if masks.ndim == 4 else (0, 0, 0)
        if classes != self.num_classes or height != width or height == 0:
            raise self._mismatch(
                f'the masks have the shape {masks.shape}, expected '
                f'(1, {self.num_classes}, M, M)')
        if not (np.isfinite(features).all() and np.isfinite(masks).all()):
            raise ModelError(
                f'weights {self._weights}: give results that are not finite; the file is corrupted.'
                ' Download or export it again')

    def _mismatch(self, reason: str) -> ModelError:
        reason = ' '.join(reason.split())[:200]
        return ModelError(
            f'weights {self._weights} and text graph {self._text_graph} do not work together '
            f'(cv2.dnn: {reason}). Are they of the same model, and in this order?')


def read_weights(path: Path) -> NDArray[np.uint8]:
    """Read a frozen graph, after a look at whether it is one.

    Returns:
        uint8, the file's bytes.

    Raises:
        ModelError: missing, empty, truncated, a git-LFS pointer, a web page, a text graph, or
            anything else.

    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f'weights {path}: {error.strerror}. Expected a frozen graph (.pb); see docs/models.md '
            'for where to get one') from None
    problem = _problem(payload)
    if problem:
        raise ModelError(f'weights {path}: {problem}')
    return np.frombuffer(payload, np.uint8)


def _problem(payload: bytes) -> str:
    """Say what is wrong with the bytes of a frozen graph, '' where nothing is to be seen."""
    start = payload[:200].lstrip().lower()
    if not payload:
        return 'the file is empty. Download it again'
    if start.startswith(b'version https://git-lfs'):
        return 'is a git-LFS pointer, not the file itself. Run "git lfs pull" in its repository'
    if start.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'is a web page, not a model: the download failed. Download it again'
    if start.startswith(b'node {') or start.startswith(b'node{'):
        return ('is a text graph (.pbtxt). Give the frozen graph (.pb) here and the text graph '
                'beside it')
    end = _end_of_fields(payload)
    if end is None:
        return 'is not a frozen graph (.pb) of TensorFlow'
    if end > len(payload):
        return (f'is truncated: {len(payload)} bytes, and the last entry ends at {end}. '
                'Download it again')
    return ''


def _end_of_fields(payload: bytes) -> int | None:
    """Walk the top level of a GraphDef: where its last entry ends, None where it is no GraphDef."""
    node_tag, known_tags = 0x0A, (0x0A, 0x12, 0x18, 0x22)  # node, library, version, versions
    position = 0
    if payload[0] != node_tag:
        return None
    while position < len(payload):
        tag = payload[position]
        if tag not in known_tags:
            return None
        length, position = _varint(payload, position + 1)
        if tag != 0x18:
            position += length
    return position


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    """Value of a protobuf varint and the position behind it (past the end where it is cut off)."""
    value = shift = 0
    while position < len(payload):
        byte = payload[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
    return value, len(payload) + 1


__all__ = ['Detections', 'MaskRcnn', 'read_weights']
