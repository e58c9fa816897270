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

# The output of a layer for 25 regions stays in the processor's cache until the next layer reads it.
# That for all 100 does not, which costs 5 % of the time for boxes. With fewer than 25, the weights
# are read from memory too often.
_REGIONS_AT_ONCE = 25
# From the image to its feature map, four layers halve the sides, rounding up.
_STRIDE = 16
# In smaller images some layers have inputs below the 12 pixels that Winograd's method needs.
_LARGE = 12 * _STRIDE
_PREPARES_AGAIN = tuple(map(int, cv2.__version__.split('.')[:2])) >= (4, 13)


class Nets:
    """From the image to proposals, from regions to their features, from those to boxes and masks.

    Threads may share them.

    Args:
        load: returns a net for a text graph.
        graph: the text graphs.
        parallel: number of images that can be in :meth:`detect` at a time, each in nets of its own.
    """

    def __init__(self, load: Callable[[str], Any], graph: SplitGraph, parallel: int = 1) -> None:
        self._graph = graph
        self._proposal_nets = _Pool(lambda: load(graph.proposals), parallel)
        self._region_nets = _Pool(lambda: load(graph.regions), parallel)
        self._box_nets = _Pool(lambda: load(graph.boxes), parallel)
        self._mask_net = _Pool(lambda: load(graph.masks))
        self._times: dict[str, dict[str, float]] | None = None

    def detect(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return rows (1, 1, N, 7) and features (1, C, h, w) of an image's blob (1, 3, H, W)."""
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
        """Return what the mask head gives for rows (K, 7): float32 (K, classes, M, M)."""
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
        """Sum up milliseconds by layer of ``proposals``, ``boxes``, ``masks`` in the block."""
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
        # Both outputs, though one is wanted: cv2.dnn sets the net up again when they change.
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
    """What cv2.dnn decides for a net's first image and keeps for all later ones.

    Two decisions depend on the size of the image. First the padding: a convolution with a stride of
    two pads odd sides differently from even ones. With the padding of another size, the features
    are shifted and the boxes are wrong. Second, whether a convolution uses Winograd's method; that
    changes speed and last digits only. Since OpenCV 4.13 both are decided again for large images;
    for small ones the padding is kept.

    Attributes:
        large: whether every layer may use Winograd's method.
        sides: height and width modulo the product of all strides. Images that agree in it have odd
            sides in the same layers.
    """

    large: bool = False
    sides: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, blob: NDArray[np.float32]) -> _Preparation:
        """Return what an image's blob (1, 3, H, W) needs."""
        height, width = blob.shape[2:]
        return cls(min(height, width) >= _LARGE, (height % _STRIDE, width % _STRIDE))

    def fits(self, needed: _Preparation) -> bool:
        """Whether a net with this preparation gives an image the same result as a new net."""
        if needed.large and _PREPARES_AGAIN:
            return True
        return self.sides == needed.sides and self.large >= needed.large

    def extended(self, needed: _Preparation) -> _Preparation:
        """Return the preparation of the net after an image that it fits."""
        return _Preparation(self.large or needed.large, needed.sides)


class _Pool:
    """Nets of which each caller gets one for itself, the one that has been free for longest.

    Args:
        make: returns a new net.
        count: number of nets.
    """

    def __init__(self, make: Callable[[], Any], count: int = 1) -> None:
        self._make = make
        self._free: queue.SimpleQueue[tuple[Any, _Preparation | None]] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put((make(), None))

    @contextlib.contextmanager
    def one(self, needed: _Preparation = _Preparation()) -> Iterator[Any]:
        """Lend a net; a new one if the next in turn is prepared for images of another size."""
        net, prepared = self._free.get()
        try:
            if prepared is not None and not prepared.fits(needed):
                net, prepared = self._make(), None
            prepared = needed if prepared is None else prepared.extended(needed)
            yield net
        finally:
            self._free.put((net, prepared))
