# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities of instances across the frames of one camera.

norfair does it (BSD-3-Clause): a Kalman filter for each object and a distance of our own between
objects and instances. docs/tracking.md compares it with other libraries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import TrackingError
from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking.similarity import Box, box_iou, diou_distance, mask_iou

# 1 - DIoU: beyond it two boxes are never one object. 1.3 lets a person of a 2 Hz camera go on by
# about its own width between two frames.
MAX_DISTANCE = 1.3
# Boxes that overlap by less are told apart by their boxes alone.
CROSSING_IOU = 0.2
MAX_MISSED_STEPS = 50  # more empty steps of the filter change nothing but its uncertainty
# Frames that an object may be missing for: its time is limited by max_age instead.
_UNLIMITED = 1_000_000


@dataclass
class _Seen:
    """What is remembered of an object: its id, when it was seen, its last mask and where it lay."""

    track_id: int
    time: float
    box: Box
    mask: NDArray[np.uint8] | None
    origin: tuple[int, int]


class InstanceTracker:
    """Gives every instance an id that it keeps from frame to frame; for one camera.

    Args:
        max_age: an object that was not seen for this long loses its id, seconds.
        use_masks: where boxes of a class cross, compare masks as well as boxes.

    Raises:
        TrackingError: norfair is not installed.
        ValueError: max_age is not above 0.

    Examples:
        >>> tracker = InstanceTracker()
        >>> for time, image in frames:
        ...     instances = segmenter(image)
        ...     instances.track_ids = tracker.update(instances, time)

    """

    def __init__(self, max_age: float = 2.0, use_masks: bool = True) -> None:
        if not 0 < max_age < math.inf:
            raise ValueError(f'max_age is {max_age!r}: expected seconds above 0')
        self._norfair = _import_norfair()
        self._max_age, self._use_masks = max_age, use_masks
        self.reset()

    def reset(self) -> None:
        """Forget all objects; ids begin at 1 again."""
        self._next_id = 1
        self._forget_all()

    def _forget_all(self) -> None:
        self._tracker = self._norfair.Tracker(
            self._distance, MAX_DISTANCE, hit_counter_max=_UNLIMITED, initialization_delay=0
        )
        self._seen: dict[int, _Seen] = {}
        self._predicted: dict[int, Box] = {}
        self._instances: Instances | None = None
        self._boxes: list[Box] = []
        self._last_time: float | None = None
        self._interval = 0.0  # seconds between two frames, a running mean

    def update(self, instances: Instances, time: float) -> NDArray[np.int64]:
        """Match the instances of the next frame.

        Args:
            instances: of one frame, in pixels of an image of the camera's size.
            time: of the frame, seconds. A time before that of the last frame, such as of a bag
                that starts again, makes the tracker forget all objects.

        Returns:
            int64 (N,): an id from 1 on for each instance, in the same order.

        """
        if self._last_time is not None and time < self._last_time:
            self._forget_all()
        steps = self._steps(time)
        self._forget(time)
        for _ in range(steps - 1):  # the filter predicts one step at a time
            self._tracker.update()
        self._prepare(instances)
        detections = [
            self._norfair.Detection(
                points=np.array([box[:2], box[2:]]), data=row, label=int(instances.class_ids[row])
            )
            for row, box in enumerate(self._boxes)
        ]
        found = self._tracker.update(detections)
        return self._result(found, detections, time)

    def _steps(self, time: float) -> int:
        last, self._last_time = self._last_time, time
        if last is None or time == last:
            return 1
        elapsed = time - last
        if self._interval == 0:
            self._interval = elapsed
            return 1
        steps = max(1, round(elapsed / self._interval))
        if steps < 3:  # a gap says nothing about the rate
            self._interval += 0.2 * (elapsed - self._interval)
        return min(steps, MAX_MISSED_STEPS)

    def _forget(self, time: float) -> None:
        self._seen = {
            key: seen for key, seen in self._seen.items() if time - seen.time <= self._max_age
        }
        self._tracker.tracked_objects = [
            tracked
            for tracked in self._tracker.tracked_objects
            if tracked.global_id in self._seen
        ]

    def _prepare(self, instances: Instances) -> None:
        self._instances, self._predicted = instances, {}
        self._boxes = [tuple(box) for box in instances.boxes.tolist()]

    def _distance(self, detection: Any, tracked: Any) -> float:
        key = tracked.global_id
        predicted = self._predicted.get(key)
        if predicted is None:
            predicted = self._predicted[key] = tuple(tracked.estimate.ravel().tolist())
        box = self._boxes[detection.data]
        distance = diou_distance(box, predicted)
        if not self._use_masks or box_iou(box, predicted) < CROSSING_IOU:
            return distance
        return distance + self._mask_penalty(detection.data, self._seen[key], predicted)

    def _mask_penalty(self, row: int, seen: _Seen, predicted: Box) -> float:
        """Return how much less the masks overlap than their boxes do, at least 0."""
        instances = self._instances
        if instances is None or instances.masks is None or seen.mask is None:
            return 0.0
        moved = (
            seen.origin[0] + (predicted[0] + predicted[2] - seen.box[0] - seen.box[2]) / 2,
            seen.origin[1] + (predicted[1] + predicted[3] - seen.box[1] - seen.box[3]) / 2,
        )
        x, y = int(instances.rois[row][0]), int(instances.rois[row][1])
        overlap = mask_iou(instances.masks[row], (x, y), seen.mask, moved)
        return max(0.0, box_iou(self._boxes[row], predicted) - overlap)

    def _result(self, found: Any, detections: list[Any], time: float) -> NDArray[np.int64]:
        instances = self._instances
        assert instances is not None
        keys = {id(tracked.last_detection): tracked.global_id for tracked in found}
        ids = np.zeros(len(detections), np.int64)
        for row, detection in enumerate(detections):
            key = keys[id(detection)]
            ids[row] = self._seen[key].track_id if key in self._seen else self._new_id()
            x, y = (int(value) for value in instances.rois[row][:2])
            mask = None if instances.masks is None else instances.masks[row]
            self._seen[key] = _Seen(int(ids[row]), time, self._boxes[row], mask, (x, y))
        return ids

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _import_norfair() -> Any:
    try:
        import norfair
    except ImportError as error:
        raise TrackingError(
            'tracking needs the package norfair, which is not installed: pip install norfair, or '
            f'switch tracking off ({error})'
        ) from error
    return norfair
