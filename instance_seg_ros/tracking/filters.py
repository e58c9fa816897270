# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Kalman filters of constant velocity, one for each object, all in one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Relative to the variance of what a detector measures: only that matters, so it holds for boxes and
# images of any size. The four coordinates of a box share one variance, so each is a single number.
# A new object is believed to have the speed that its second frame shows.
POSITION_VARIANCE, VELOCITY_VARIANCE = 10.0, 10.0  # of a new object
PROCESS_NOISE, MEASUREMENT_NOISE = 0.1, 1.0


class BoxFilters:
    """Where boxes are and how they move. Rows are objects.

    Attributes:
        boxes: float64 (M, 4), x1, y1, x2, y2 in pixels.
        velocities: float64 (M, 4), pixels a frame.
    """

    def __init__(self) -> None:
        self.boxes = np.zeros((0, 4))
        self.velocities = np.zeros((0, 4))
        # Variance of the position, covariance, variance of the velocity.
        self._variances = np.zeros((0, 3))

    def append(self, boxes: NDArray[Any]) -> None:
        """Add objects that are seen for the first time, at rest."""
        new = np.tile([POSITION_VARIANCE, 0.0, VELOCITY_VARIANCE], (len(boxes), 1))
        self.boxes = np.concatenate([self.boxes, boxes])
        self.velocities = np.concatenate([self.velocities, np.zeros((len(boxes), 4))])
        self._variances = np.concatenate([self._variances, new])

    def keep(self, rows: NDArray[Any]) -> None:
        """Drop all other rows."""
        self.boxes, self.velocities = self.boxes[rows], self.velocities[rows]
        self._variances = self._variances[rows]

    def predict(self, frames: int) -> None:
        """Let all objects go on."""
        self.boxes += frames * self.velocities

    def rescale(self, factor: float) -> None:
        """Count in frames that last longer by this factor from now on."""
        self.velocities *= factor
        self._variances *= np.array([1.0, factor, factor**2])

    def update(self, rows: NDArray[Any], boxes: NDArray[Any]) -> None:
        """Take where some of the objects were seen, (K, 4)."""
        position, both, velocity = self._variances[rows].T
        covariance = both + velocity
        total = position + both + covariance + PROCESS_NOISE + MEASUREMENT_NOISE
        remaining, gain = MEASUREMENT_NOISE / total, covariance / total
        error = boxes - self.boxes[rows]
        self.boxes[rows] += (1 - remaining)[:, None] * error
        self.velocities[rows] += gain[:, None] * error
        self._variances[rows] = np.stack(
            [
                (1 - remaining) * MEASUREMENT_NOISE,
                gain * MEASUREMENT_NOISE,
                velocity + PROCESS_NOISE - gain * covariance,
            ],
            1,
        )
