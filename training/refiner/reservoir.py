# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Coarse masks that processes simulate in the background, for batches made on a device."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from training.refiner.simulate import CELLS, FAMILIES, simulate
from training.run.interrupt import leave_interrupts_to_the_parent

if TYPE_CHECKING:
    from training.refiner.crops import Crop

_DETECTED = 0.1  # share of the samples whose coarse mask is a real detector's
_LARGE = 70  # pixels of a box's longer side in its crop, which may be scaled down
_CHUNK = 64  # coarse masks that a process hands over at once


class Drawn(NamedTuple):
    """Coarse masks: rows int64 (N,) of their crops, boxes float32 (N, 4), float32 (N, M, M)."""

    rows: NDArray[np.int64]
    boxes: NDArray[np.float32]
    coarse: NDArray[np.float32]


class Reservoir:
    """Simulated coarse masks, the latest ones, made by processes in the background.

    Args:
        crops: to draw from.
        processes: that simulate.
        size: coarse masks that are kept.
        seed: of the simulation; what is drawn depends on the processes' speed, too.

    """

    def __init__(self, crops: Sequence[Crop], processes: int, size: int, seed: int) -> None:
        self.rows = np.zeros(size, np.int64)
        self.boxes = np.zeros((size, 4), np.float32)
        self.coarse = np.zeros((size, CELLS, CELLS), np.float32)
        self.made = 0
        self._detected = [
            (row, box, mask) for row, crop in enumerate(crops) for box, mask in crop.detected
        ]
        # A forked process would hang in OpenCV where this one has used its threads.
        context = multiprocessing.get_context('spawn')
        self._queue = context.Queue(8 * processes)
        self._processes = [
            context.Process(
                target=_simulate, args=(crops, self._queue, (seed, i), os.getpid()), daemon=True
            )
            for i in range(processes)
        ]
        for process in self._processes:
            process.start()

    def fill(self, least: int) -> None:
        """Take in what is ready; wait until that many coarse masks have been made in all."""
        while True:
            waits = self.made < least
            try:
                drawn = self._queue.get(timeout=60) if waits else self._queue.get_nowait()
            except queue.Empty:
                if waits:
                    raise RuntimeError(
                        'no coarse mask came in 60 s: the processes that simulate have ended'
                    ) from None
                return
            slots = np.arange(self.made, self.made + len(drawn.rows)) % len(self.rows)
            self.rows[slots], self.boxes[slots], self.coarse[slots] = drawn
            self.made += len(drawn.rows)

    def draw(self, count: int, rng: np.random.Generator) -> Drawn:
        """Draw coarse masks, those of small objects first; some are a real detector's."""
        chosen = rng.integers(0, min(self.made, len(self.rows)), count)
        drawn = Drawn(self.rows[chosen], self.boxes[chosen], self.coarse[chosen])
        if self._detected:
            for i in np.flatnonzero(rng.random(count) < _DETECTED):
                row, box, mask = self._detected[rng.integers(len(self._detected))]
                drawn.rows[i], drawn.boxes[i], drawn.coarse[i] = row, box, mask
        # Small objects first: they get no second pass when the refiner is used.
        longer = (drawn.boxes[:, 2:] - drawn.boxes[:, :2]).max(1)
        order = np.argsort(longer >= _LARGE, kind='stable')
        return Drawn(drawn.rows[order], drawn.boxes[order], drawn.coarse[order])

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()


def _simulate(
    crops: Sequence[Crop], results: multiprocessing.Queue, seed: tuple[int, int], parent: int
) -> None:
    cv2.setNumThreads(1)
    leave_interrupts_to_the_parent()
    rng = np.random.default_rng(seed)
    names = list(FAMILIES)
    while os.getppid() == parent:
        rows = rng.integers(0, len(crops), _CHUNK)
        made = []
        for row in rows:
            # As in loader.py.
            family = 'soft' if rng.random() < 0.35 else names[rng.integers(len(names))]
            second = names[rng.integers(len(names))] if rng.random() < 0.2 else ''
            crop = crops[row]
            made.append(simulate(family, crop.image, crop.mask, crop.others, rng, second))
        boxes, coarse = (np.stack(parts) for parts in zip(*made, strict=True))
        usable = (boxes[:, 2:] - boxes[:, :2]).min(1) >= 4
        drawn = Drawn(rows[usable], boxes[usable], coarse[usable])
        while os.getppid() == parent:
            try:
                results.put(drawn, timeout=5)
                break
            except queue.Full:
                continue
