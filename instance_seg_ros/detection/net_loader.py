# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From a model's files to nets of cv2.dnn."""

from __future__ import annotations

import weakref
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.batch_norm import fold_batch_norms
from instance_seg_ros.detection.frozen_graph import open_weights, read_weights
from instance_seg_ros.detection.text_graph import GraphNode, read_text_graph
from instance_seg_ros.errors import ModelError
from instance_seg_ros.text_files import one_line

_OLDEST = 4, 10


class NetLoader:
    """Makes nets of parts of a text graph, all with the weights of one file.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        winograd: whether the nets may use Winograd's convolutions.

    Attributes:
        nodes: the text graph, with its batch norms folded.

    Raises:
        ModelError: a file is missing or broken, or this OpenCV reads no TensorFlow graphs.
    """

    def __init__(self, weights: Path, text_graph: Path, winograd: bool = True) -> None:
        problem = opencv_problem()
        if problem:
            raise ModelError(
                f'{problem}. Expected 4.10 to 5.0: install "opencv-contrib-python>=4.10,<5.1"'
            )
        self._weights, self._text_graph, self._winograd = weights, text_graph, winograd
        self._nodes = read_text_graph(text_graph)
        # Kept open: it can be read again, even when its name is gone or that of another file.
        self._file = open_weights(weights)
        weakref.finalize(self, self._file.close)
        self._payload: NDArray[np.uint8] | None
        self.nodes, self._payload = self._read()
        self._checksum = zlib.crc32(self._payload.data)

    def load(self, text: str) -> Any:
        """Make a net of a text graph.

        Raises:
            ModelError: the text graph is not one of these weights, or the content of their file has
                changed.
        """
        options: dict[str, Any] = {}
        if hasattr(cv2.dnn, 'ENGINE_CLASSIC'):
            # The new engine of OpenCV 5 silently returns other tensors for these graphs.
            options['engine'] = cv2.dnn.ENGINE_CLASSIC
        payload = self._read_again() if self._payload is None else self._payload
        config = np.frombuffer(text.encode(), np.uint8)
        try:
            net = cv2.dnn.readNetFromTensorflow(payload, config, **options)
        except cv2.error as error:
            raise self.mismatch(error.err or str(error)) from None
        net.enableWinograd(self._winograd)
        return net

    def forget_weights(self) -> None:
        """Free the memory of the file; where :meth:`load` is called again, it is read again."""
        self._payload = None

    def mismatch(self, reason: str) -> ModelError:
        """Return the error that says that weights and text graph do not fit each other."""
        return ModelError(
            f'weights {self._weights} and text graph {self._text_graph} do not work together '
            f'(cv2.dnn: {one_line(reason)}). Are they of the same model, and in this order?'
        )

    def _read(self) -> tuple[list[GraphNode], NDArray[np.uint8]]:
        weights = read_weights(self._weights, self._file)
        try:
            return fold_batch_norms(self._nodes, weights)
        except ValueError as error:
            raise self.mismatch(str(error)) from None

    def _read_again(self) -> NDArray[np.uint8]:
        _, payload = self._read()
        if zlib.crc32(payload.data) != self._checksum:
            raise ModelError(
                f'weights {self._weights}: the file was written to since the model was loaded, and '
                'is needed again for images of this size. Load the model again'
            )
        return payload


def opencv_problem() -> str:
    """Say why this OpenCV cannot run the networks, '' where it can."""
    if not hasattr(cv2.dnn, 'readNetFromTensorflow'):
        return f'OpenCV {cv2.__version__} has no reader of TensorFlow graphs: 5.1 removed it'
    if tuple(map(int, cv2.__version__.split('.')[:2])) < _OLDEST:
        return (
            f'OpenCV {cv2.__version__} is older than {_OLDEST[0]}.{_OLDEST[1]}: its results for '
            'these graphs are not known to be right'
        )
    return ''


__all__ = ['NetLoader', 'opencv_problem']
