# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities of instances across the frames of one camera.

norfair (BSD-3-Clause) keeps the objects and matches them; distance and filter are in matching.py.
docs/tracking.md compares it with other libraries, and says why masks are not compared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import TrackingError
from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking.matching import BoxDistance, BoxFilterFactory

# 1 - DIoU: beyond it two boxes are never one object. 1.3 lets an object go on by about its own
# width between two frames of a 2 Hz camera.
MAX_DISTANCE = 1.3
MAX_MISSED_STEPS = 50  # further predictions of an object that is not seen say nothing
# norfair counts frames; here an object's time is limited by max_age.
_UNLIMITED_FRAMES = 1_000_000


class InstanceTracker:
    """Gives every instance an id that it keeps from frame to frame; for one camera.

    Args:
        max_age: an object that is not seen for longer than this loses its id, seconds.

    Raises:
        TrackingError: norfair is not installed.
        ValueError: max_age is not above 0.

    Examples:
        >>> tracker = InstanceTracker()
        >>> for time in (0.0, 0.1):
        ...     instances = segmenter(image)
        ...     instances.track_ids = tracker.update(instances, time)
        ...     print(instances.track_ids.tolist())
        [1]
        [1]

    """

    def __init__(self, max_age: float = 2.0) -> None:
        if not 0 < max_age < math.inf:
            raise ValueError(f'max_age is {max_age!r}: expected seconds above 0')
        self._norfair = _import_norfair()
        self.max_age = max_age
        self.reset()

    def reset(self) -> None:
        """Forget all objects; ids begin at 1 again.

        Examples:
            >>> tracker = InstanceTracker()
            >>> _ = tracker.update(instances, time=0.0)
            >>> tracker.reset()
            >>> tracker.update(instances, time=0.0).tolist()
            [1]
        """
        self._next_id = 1
        self._forget_all()

    def update(self, instances: Instances, time: float) -> NDArray[np.int64]:
        """Match the instances of the next frame with the objects so far.

        Args:
            instances: of one frame; the boxes count.
            time: of the frame, seconds. A time before that of the last frame, such as of a bag
                that starts again, ends all objects; new ones get new ids.

        Returns:
            int64 (N,): an id from 1 on for each instance, in the same order.

        Examples:
            >>> tracker = InstanceTracker()
            >>> instances.track_ids = tracker.update(instances, time=12.5)
            >>> instances.track_ids.tolist()
            [1]
        """
        if self._last_time is not None and time < self._last_time:
            self._forget_all()
        missed = self._count_missed_frames(time)
        self._forget_old(time)
        for _ in range(missed):  # the filter predicts one frame at a time
            self._tracker.update()
        detections = [
            self._norfair.Detection(points=box.reshape(2, 2), label=label)
            for box, label in zip(instances.boxes, instances.class_ids.tolist(), strict=True)
        ]
        objects = self._tracker.update(detections)
        keys = {id(each.last_detection): each.global_id for each in objects}
        return np.array([self._see(keys[id(each)], time) for each in detections], np.int64)

    def _forget_all(self) -> None:
        self._tracker = self._norfair.Tracker(
            'iou',
            MAX_DISTANCE,
            hit_counter_max=_UNLIMITED_FRAMES,
            initialization_delay=0,
            past_detections_length=0,
            filter_factory=BoxFilterFactory(),
        )
        # The constructor takes a function for one pair at a time, or a name of its own.
        self._tracker.distance_function = BoxDistance()
        self._track_ids: dict[int, int] = {}  # norfair's id of an object to ours
        self._seen: dict[int, float] = {}  # norfair's id to the time of the last frame with it
        self._last_time: float | None = None
        self._interval = 0.0  # seconds between two frames, a running mean

    def _count_missed_frames(self, time: float) -> int:
        last, self._last_time = self._last_time, time
        if last is None or time == last:
            return 0
        elapsed = time - last
        if self._interval == 0:
            self._interval = elapsed
        missed = round(elapsed / self._interval) - 1
        if missed < 2:  # a longer gap says nothing about the rate
            self._interval += 0.2 * (elapsed - self._interval)
        return min(max(missed, 0), MAX_MISSED_STEPS)

    def _forget_old(self, time: float) -> None:
        kept = {key for key, seen in self._seen.items() if time - seen <= self.max_age}
        self._seen = {key: self._seen[key] for key in kept}
        self._track_ids = {key: self._track_ids[key] for key in kept}
        self._tracker.tracked_objects = [
            each for each in self._tracker.tracked_objects if each.global_id in kept
        ]

    def _see(self, key: int, time: float) -> int:
        if key not in self._track_ids:
            self._track_ids[key] = self._next_id
            self._next_id += 1
        self._seen[key] = time
        return self._track_ids[key]


def _import_norfair() -> Any:
    try:
        import norfair
    except ImportError as error:
        raise TrackingError(
            'tracking needs the package norfair: pip install "norfair>=2.1,<2.2", or switch '
            f'tracking off ({error})'
        ) from error
    return norfair
