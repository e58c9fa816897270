# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities of instances across the frames of one camera.

The method is norfair's: a Kalman filter for each object, and the nearest pairs are matched first.
How far an object may have gone depends on the time since it was seen. docs/tracking.md compares
libraries and says why none of them is used, and why masks are not compared.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking.filters import BoxFilters
from instance_seg_ros.tracking.matching import diou_distances, match_nearest

# 1 - DIoU: beyond it two boxes are never one object. It grows with the seconds since the object was
# seen: at first the boxes must overlap; after half a second, which is the next frame of a 2 Hz
# camera, a square object may have gone on by its own width.
NEAREST_LIMIT, LIMIT_PER_SECOND, FARTHEST_LIMIT = 0.8, 0.8, 1.2
# Seconds that a frame counts whose time is that of the frame before: as those of a usual camera. A
# rate that was seen before says nothing: stamps may be of whole seconds.
EQUAL_TIME_INTERVAL = 1 / 30
# Seconds of a clock that was corrected; a bag that starts again goes further.
LARGEST_STEP_BACK = 1.0
FIRST_GAPS = 2  # the longer one is the first interval: two images may come almost at one time
GAPS_OF_A_NEW_RATE = 3  # long gaps in a row that are no missed frames: the camera is slower now
MAX_MISSED_FRAMES = 50  # further predictions of an object that is not seen say nothing


class InstanceTracker:
    """Gives every instance an id that it keeps from frame to frame; for one camera.

    Args:
        max_age: an object that is not seen for longer than this loses its id, seconds.

    Raises:
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
            time: of the frame, seconds. A time that is more than 1 s (or ``max_age``) before that
                of the last frame, such as of a bag that starts again, ends all objects; new ones
                get new ids. An equal time, such as of a driver that sets none, counts as 1/30 s
                more until the time goes on, and so does one a little earlier, as after a clock was
                corrected.

        Returns:
            int64 (N,): an id from 1 on for each instance, in the same order.

        Raises:
            ValueError: the time is not finite. The tracker goes on as if it had not been called.

        Examples:
            >>> tracker = InstanceTracker()
            >>> instances.track_ids = tracker.update(instances, time=12.5)
            >>> instances.track_ids.tolist()
            [1]
        """
        if not math.isfinite(time):
            raise ValueError(f'time is {time}: expected the seconds of the frame, a finite number')
        if self._last_time is not None and time < self._last_time:
            if self._last_time - time > min(LARGEST_STEP_BACK, self.max_age):
                self._forget_all()
            else:
                time = self._last_time
        now = self._counted_on(time)
        missed = self._count_missed_frames(time)
        # What was not yet seen in two frames in a row, as false alarms are, is hardly waited for.
        waited_for = self._confirmed | (self._patience >= missed)
        self._keep((now - self._seen <= self.max_age) & waited_for)
        self._patience -= missed + 1
        self._filters.predict(missed + 1)
        objects = self._match(instances, now)
        self._patience[objects] += 2
        self._confirmed |= self._patience > 1
        self._seen[objects] = now
        return self._ids[objects]

    def _forget_all(self) -> None:
        self._filters = BoxFilters()
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._class_ids: NDArray[np.int32] = np.zeros(0, np.int32)
        self._seen: NDArray[np.float64] = np.zeros(0)  # time of the last frame with each object
        # Frames that each can be missed in until it is confirmed.
        self._patience: NDArray[np.int64] = np.zeros(0, np.int64)
        self._confirmed: NDArray[np.bool_] = np.zeros(0, bool)
        self._last_time: float | None = None
        self._frames_since = 0  # of that time
        self._interval = 0.0  # seconds between two frames, a running mean
        self._gaps = 0  # between two frames, until now
        self._long_gaps: list[float] = []  # in a row, until now

    def _match(self, instances: Instances, time: float) -> NDArray[np.int64]:
        """Return the row of each instance's object, which is new where none fits."""
        distances = diou_distances(instances.boxes, self._filters.boxes)
        distances[instances.class_ids[:, None] != self._class_ids] = np.inf
        limits = np.minimum(NEAREST_LIMIT + LIMIT_PER_SECOND * (time - self._seen), FARTHEST_LIMIT)
        objects = np.full(len(instances), -1, np.int64)
        for row, column in match_nearest(distances, limits):
            objects[row] = column
        known = objects >= 0
        self._filters.update(objects[known], instances.boxes[known])
        objects[~known] = self._append(instances[~known])
        return objects

    def _append(self, instances: Instances) -> NDArray[np.int64]:
        first, count = len(self._ids), len(instances)
        self._filters.append(instances.boxes)
        self._ids = np.append(self._ids, np.arange(self._next_id, self._next_id + count))
        self._class_ids = np.append(self._class_ids, instances.class_ids)
        self._seen = np.append(self._seen, np.zeros(count))
        self._patience = np.append(self._patience, np.full(count, -1))
        self._confirmed = np.append(self._confirmed, np.zeros(count, bool))
        self._next_id += count
        return np.arange(first, first + count)

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        if rows.all():
            return
        self._filters.keep(rows)
        self._ids, self._class_ids = self._ids[rows], self._class_ids[rows]
        self._seen, self._patience = self._seen[rows], self._patience[rows]
        self._confirmed = self._confirmed[rows]

    def _counted_on(self, time: float) -> float:
        """Return the time, later by what frames count that had the same time before."""
        if time == self._last_time:
            self._frames_since += 1
        elif self._last_time is not None:
            # What was added is taken back, as it may be later than the time now.
            self._seen = np.minimum(self._seen, self._last_time)
            self._frames_since = 0
        return time + self._frames_since * EQUAL_TIME_INTERVAL

    def _count_missed_frames(self, time: float) -> int:
        last, self._last_time = self._last_time, time
        if last is None or time == last:
            return 0
        elapsed = time - last
        self._gaps += 1
        if self._gaps <= FIRST_GAPS:
            self._interval = max(self._interval, elapsed)
            return 0
        missed = self._frames_in(elapsed) - 1
        if missed < 2:  # a longer gap alone says nothing about the rate
            self._interval += 0.2 * (elapsed - self._interval)
            self._long_gaps.clear()
        else:
            self._long_gaps.append(elapsed)
        if len(self._long_gaps) == GAPS_OF_A_NEW_RATE:
            self._slow_down(min(self._long_gaps))
            missed = self._frames_in(elapsed) - 1
        return min(max(missed, 0), MAX_MISSED_FRAMES)

    def _frames_in(self, seconds: float) -> int:
        # Cut before it is rounded: the quotient may be infinite.
        return round(min(seconds / self._interval, MAX_MISSED_FRAMES + 1))

    def _slow_down(self, interval: float) -> None:
        self._filters.rescale(interval / self._interval)
        self._interval = interval
        self._long_gaps.clear()
