# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The nets of cv2.dnn that a Mask R-CNN runs in.

One net in two threads at a time would abort the process: here a call waits until one is free.
"""
from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.text_graph import SplitGraph

# What a layer makes of so many regions stays in the processor's cache until the next layer reads
# it, where that of all 100 does not: 5 % of the time of a frame's boxes. With fewer, the weights
# come from memory too often.
_REGIONS_AT_ONCE = 25
# A convolution keeps what cv2.dnn prepared for its first input: its padding, which with a stride of
# two depends on whether a side is odd, and the choice of Winograd's method, which needs sides of 12
# or more. At another size features would be shifted. Since OpenCV 4.13 all is prepared anew, but
# the padding of inputs that are smaller than that.
_PREPARES_ANEW = tuple(map(int, cv2.__version__.split('.')[:2])) >= (4, 13)
_SMALLEST = 12
# From the image to its features the layers halve it, rounding up, so many times.
_HALVINGS = 4


class Nets:
    """From the image to proposals, from regions to their features, from those to boxes and masks.

    Threads may share them.

    Args:
        load: makes a net of a text graph.
        graph: what to make them of.
        parallel: so many images can be in :meth:`boxes` at a time, each in nets of its own.

    """

    def __init__(self, load: Callable[[str], Any], graph: SplitGraph, parallel: int = 1) -> None:
        self._graph = graph
        self._proposal_nets = _Pool(lambda: load(graph.proposals), parallel)
        self._region_nets = _Pool(lambda: load(graph.regions), parallel)
        self._box_nets = _Pool(lambda: load(graph.boxes), parallel)
        self._mask_net = _Pool(lambda: load(graph.masks))
        self._times: dict[str, dict[str, float]] | None = None

    def boxes(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows (1, 1, N, 7) and features (1, C, h, w) of an image's blob (1, 3, H, W)."""
        graph = self._graph
        with self._proposal_nets.one(_preparation(blob)) as net:
            net.setInput(blob)
            proposals, features = self._forward(
                net, 'proposals', [graph.proposal_output, graph.features])
        box_features = np.concatenate(
            self._of_regions(features, proposals, graph.box_features, 'boxes'))
        with self._box_nets.one() as net:
            net.setInput(box_features, graph.box_features)
            net.setInput(proposals, graph.proposal_output)
            return self._forward(net, 'boxes', graph.detections), features

    def masks(
            self, features: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Masks (K, classes, M, M) of rows (K, 7)."""
        masks = []
        for some in self._of_regions(
                features, rows[None, None], self._graph.mask_features, 'masks'):
            with self._mask_net.one() as net:
                net.setInput(some)
                masks.append(self._forward(net, 'masks', self._graph.mask_output))
        return np.concatenate(masks)

    @contextlib.contextmanager
    def layer_times(self) -> Iterator[dict[str, dict[str, float]]]:
        """Sum up milliseconds by layer in ``proposals``, ``boxes`` and ``masks`` meanwhile."""
        self._times = {'proposals': {}, 'boxes': {}, 'masks': {}}
        try:
            yield self._times
        finally:
            self._times = None

    def _of_regions(self, features: NDArray[np.float32], regions: NDArray[np.float32],
                    wanted: str, stage: str) -> list[NDArray[np.float32]]:
        """Return an output for the regions (1, 1, N, 7), in portions."""
        portions = []
        # Both outputs, though one is wanted: for others than last time the net is set up anew.
        outputs = [self._graph.box_features, self._graph.mask_features]
        with self._region_nets.one() as net:
            net.setInput(features, self._graph.features)
            for start in range(0, regions.shape[2], _REGIONS_AT_ONCE):
                some = np.ascontiguousarray(regions[:, :, start:start + _REGIONS_AT_ONCE])
                net.setInput(some, self._graph.proposal_output)
                portions.append(self._forward(net, stage, outputs)[outputs.index(wanted)])
        return portions

    def _forward(self, net: Any, stage: str, outputs: str | list[str]) -> Any:
        results = net.forward(outputs)
        if self._times is not None:
            ticks = np.ravel(net.getPerfProfile()[1])
            milliseconds = 1e3 * ticks.astype(np.float64) / cv2.getTickFrequency()
            times = self._times[stage]
            for name, time in zip(net.getLayerNames(), milliseconds.tolist(), strict=True):
                times[name] = times.get(name, 0.0) + time
        return results


class _Pool:
    """Nets of which each caller gets one for itself, the one that has been free for longest.

    Args:
        make: makes a net.
        count: how many there are.

    """

    def __init__(self, make: Callable[[], Any], count: int = 1) -> None:
        self._make = make
        self._free: queue.SimpleQueue[tuple[Any, tuple[int, ...] | None]] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put((make(), None))

    @contextlib.contextmanager
    def one(self, prepared_for: tuple[int, ...] = ()) -> Iterator[Any]:
        """Lend a net, a new one where the next in turn is prepared for other images."""
        net, before = self._free.get()
        try:
            if before not in (None, prepared_for):
                net = self._make()
            before = prepared_for
            yield net
        finally:
            self._free.put((net, before))


def _preparation(blob: NDArray[np.float32]) -> tuple[int, ...]:
    """Return what images have in common that a net is prepared for in the same way."""
    height, width = blob.shape[2:]
    large = sum(
        min(height, width) > (_SMALLEST - 1) * 2 ** halvings for halvings in range(_HALVINGS + 1))
    if _PREPARES_ANEW and large > _HALVINGS:
        return ()
    return large, height % 2 ** _HALVINGS, width % 2 ** _HALVINGS
