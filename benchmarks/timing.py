# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Interleaved timing: what is compared takes turns, so that a disturbance meets all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Contender = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Summarise the values of all repeats."""
        low, median, high = np.percentile(values, (25, 50, 75))
        return cls(float(median), float(low), float(high))

    def text(self, digits: int = 1) -> str:
        """Return "median (low-high)"."""
        return f'{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})'


def measure(contenders: Mapping[str, Contender], repeats: int) -> dict[str, NDArray[np.float64]]:
    """Run every contender ``repeats`` times, in turns.

    In its turn each runs twice, and the second run counts: as with the frames of a camera, the one
    before was its own, not that of another which has left the caches full of other weights.

    Returns:
        Milliseconds by name, float64 (repeats,); those of one position were taken side by side.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            run()
            started = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: np.array(values) for name, values in times.items()}


def ratios(reference: NDArray[np.float64], times: NDArray[np.float64]) -> Spread:
    """How many times as fast as the reference: the quotients of what was timed side by side."""
    return Spread.of(reference / times)
