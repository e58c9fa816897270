# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The nets of cv2.dnn that a Mask R-CNN runs in: two for speed, or three that take less memory.

One net in two threads at a time would abort the process: here a call waits until one is free.
"""
from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.text_graph import SharedGraph, SplitGraph

# Makes a net of a text graph, with Winograd's convolutions or without.
Load = Callable[[str, bool], Any]


class Nets(Protocol):
    """Both stages of a Mask R-CNN; threads may share them."""

    def boxes(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows (1, 1, N, 7) and features (1, C, h, w) of an image's blob (1, 3, H, W)."""
        ...

    def masks(
            self, features: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Masks (K, classes, M, M) of rows (K, 7)."""
        ...

    def layer_times(self) -> dict[str, float]:
        """Milliseconds of each layer when it last ran; for ``parallel`` 1."""
        ...


class TwoNets:
    """A net from the image to the boxes and one from the boxes to the masks.

    Both compute the features of regions, so each has the weights that do.

    Args:
        load: makes a net.
        graph: what to make them of.
        parallel: so many images can be in :meth:`boxes` at a time, each in a net of its own.

    """

    def __init__(self, load: Load, graph: SplitGraph, parallel: int) -> None:
        self._graph = graph
        self._box_nets = _Pool([load(graph.boxes, True) for _ in range(parallel)])
        self._mask_net = _Pool([load(graph.masks, True)])

    def boxes(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See :class:`Nets`."""
        with self._box_nets.one() as net:
            net.setInput(blob)
            rows, features = net.forward([self._graph.detections, self._graph.features])
        return rows, features

    def masks(
            self, features: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`Nets`."""
        with self._mask_net.one() as net:
            net.setInput(features, self._graph.features)
            net.setInput(rows[None, None], self._graph.detections)
            return net.forward(self._graph.mask_output)

    def layer_times(self) -> dict[str, float]:
        """See :class:`Nets`."""
        return self._box_nets.layer_times() | self._mask_net.layer_times()


class ThreeNets:
    """Nets from the image to proposals, from regions to boxes, from regions' features to masks.

    Every weight is in one of them. The second sees now all proposals, now the regions that get
    masks, and cv2.dnn packs its weights again each time, in one thread: 4 % of a frame with the
    published model where there is but one.
    The last goes without Winograd's convolutions, which hold seven times the memory of their
    weights: 60 MB less, and 12 ms of one core more for each mask.

    Args:
        load: makes a net.
        graph: what to make them of.
        parallel: so many images can be in the first net at a time.

    """

    def __init__(self, load: Load, graph: SharedGraph, parallel: int) -> None:
        self._graph = graph
        self._proposal_nets = _Pool([load(graph.proposals, True) for _ in range(parallel)])
        self._region_net = _Pool([load(graph.regions, True)])
        self._mask_net = _Pool([load(graph.masks, False)])

    def boxes(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See :class:`Nets`."""
        graph = self._graph
        with self._proposal_nets.one() as net:
            net.setInput(blob)
            regions, features = net.forward([graph.proposal_output, graph.features])
        return self._run_regions(features, regions, graph.detections), features

    def masks(
            self, features: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`Nets`."""
        graph = self._graph
        region_features = self._run_regions(features, rows[None, None], graph.region_features)
        with self._mask_net.one() as net:
            net.setInput(region_features)
            return net.forward(graph.mask_output)

    def layer_times(self) -> dict[str, float]:
        """See :class:`Nets`."""
        return (self._proposal_nets.layer_times() | self._region_net.layer_times() |
                self._mask_net.layer_times())

    def _run_regions(self, features: NDArray[np.float32], regions: NDArray[np.float32], output: str
                     ) -> NDArray[np.float32]:
        with self._region_net.one() as net:
            net.setInput(features, self._graph.features)
            net.setInput(regions, self._graph.proposal_output)
            return net.forward(output)


class _Pool:
    """Nets of which each caller gets one for itself, the one that has been free for longest."""

    def __init__(self, nets: list[Any]) -> None:
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for net in nets:
            self._free.put(net)

    @contextlib.contextmanager
    def one(self) -> Iterator[Any]:
        """Lend a net."""
        net = self._free.get()
        try:
            yield net
        finally:
            self._free.put(net)

    def layer_times(self) -> dict[str, float]:
        """Milliseconds by the layer's name, of the net that would be lent next."""
        with self.one() as net:
            ticks = np.ravel(net.getPerfProfile()[1])
            milliseconds = 1e3 * ticks.astype(np.float64) / cv2.getTickFrequency()
            return dict(zip(net.getLayerNames(), milliseconds.tolist(), strict=True))
