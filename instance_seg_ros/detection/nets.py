# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The nets of cv2.dnn that a Mask R-CNN runs in.

One net in two threads at a time would abort the process: here a call waits until one is free.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.text_graph import SplitGraph

# What a layer makes of so many regions stays in the processor's cache until the next layer reads
# it, where that of all 100 does not: 5 % of the time of a frame's boxes. With fewer, the weights
# come from memory too often.
_REGIONS_AT_ONCE = 25
# From the image to its features the layers halve it four times, rounding up.
_STRIDE = 16
# Smaller images have layers whose inputs are too small for Winograd's method, which needs 12.
_LARGE = 12 * _STRIDE
_PREPARES_ANEW = tuple(map(int, cv2.__version__.split('.')[:2])) >= (4, 13)


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
        with self._proposal_nets.one(_Preparation.of(blob)) as net:
            net.setInput(blob)
            proposals, features = self._forward(
                net, 'proposals', [graph.proposal_output, graph.features]
            )
        box_features = np.concatenate(
            self._of_regions(features, proposals, graph.box_features, 'boxes')
        )
        with self._box_nets.one() as net:
            net.setInput(box_features, graph.box_features)
            net.setInput(proposals, graph.proposal_output)
            return self._forward(net, 'boxes', graph.detections), features

    def masks(
        self, features: NDArray[np.float32], rows: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Masks (K, classes, M, M) of rows (K, 7)."""
        masks = []
        for some in self._of_regions(
            features, rows[None, None], self._graph.mask_features, 'masks'
        ):
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

    def _of_regions(
        self, features: NDArray[np.float32], regions: NDArray[np.float32], wanted: str, stage: str
    ) -> list[NDArray[np.float32]]:
        """Return an output for the regions (1, 1, N, 7), in portions."""
        portions = []
        # Both outputs, though one is wanted: for others than last time the net is set up anew.
        outputs = [self._graph.box_features, self._graph.mask_features]
        with self._region_nets.one() as net:
            net.setInput(features, self._graph.features)
            for start in range(0, regions.shape[2], _REGIONS_AT_ONCE):
                some = np.ascontiguousarray(regions[:, :, start : start + _REGIONS_AT_ONCE])
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


@dataclass(frozen=True)
class _Preparation:
    """What a net of cv2.dnn prepares for its first image, and goes on using for others.

    A convolution with a stride of two pads an odd side other than an even one: for an image of
    another size features would be shifted, and boxes other ones. And it chooses whether to use
    Winograd's method, a matter of speed and last digits. Since OpenCV 4.13 large images get all of
    it anew, and small ones all but the padding.

    Attributes:
        large: whether every layer may use Winograd's method.
        sides: height and width modulo the strides of all layers: who sees an odd side.
    """

    large: bool = False
    sides: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, blob: NDArray[np.float32]) -> _Preparation:
        """Return what an image's blob (1, 3, H, W) needs."""
        height, width = blob.shape[2:]
        return cls(min(height, width) >= _LARGE, (height % _STRIDE, width % _STRIDE))

    def fits(self, needed: _Preparation) -> bool:
        """Whether a net that is so prepared does for an image as a new one would."""
        if needed.large and _PREPARES_ANEW:
            return True
        return self.sides == needed.sides and self.large >= needed.large

    def extended(self, needed: _Preparation) -> _Preparation:
        """Return what the net is prepared for after an image that it fits."""
        return _Preparation(self.large or needed.large, needed.sides)


class _Pool:
    """Nets of which each caller gets one for itself, the one that has been free for longest.

    Args:
        make: makes a net.
        count: how many there are.

    """

    def __init__(self, make: Callable[[], Any], count: int = 1) -> None:
        self._make = make
        self._free: queue.SimpleQueue[tuple[Any, _Preparation | None]] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put((make(), None))

    @contextlib.contextmanager
    def one(self, needed: _Preparation = _Preparation()) -> Iterator[Any]:
        """Lend a net, a new one where the next in turn is prepared for other images."""
        net, prepared = self._free.get()
        try:
            if prepared is not None and not prepared.fits(needed):
                net, prepared = self._make(), None
            prepared = needed if prepared is None else prepared.extended(needed)
            yield net
        finally:
            self._free.put((net, prepared))
