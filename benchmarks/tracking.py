# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities over composed sequences: IDF1, id switches, and milliseconds a frame.

pip install motmetrics; beside it motpy or trackers, in an environment of their own, are measured
where they are installed: trackers brings another OpenCV.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import motmetrics
import numpy as np

from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking import InstanceTracker

WIDTH, HEIGHT = 640, 480
SECONDS, OBJECTS = 12, 8
MISSED, JITTER, CLUTTER, DROPPED = 0.1, 0.03, 0.3, 0.03  # chances; jitter is a part of the size
LEAST_SEEN = 0.3  # part of an object that a detector needs

Frame = tuple[float, dict[int, np.ndarray], Instances]
Tracker = Callable[[float, Instances], tuple[np.ndarray, np.ndarray]]


def instances_of(boxes: list[np.ndarray]) -> Instances:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(array)
    return Instances(
        array,
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.int32),
        ['person'] * count,
        np.zeros((count, 4), np.int32),
        None,
        np.zeros(count, bool),
        (HEIGHT, WIDTH),
    )


def sequence(seed: int, rate: float) -> Iterator[Frame]:
    """Yield time, true boxes and instances: people who walk, turn and hide each other."""
    rng = np.random.default_rng(seed)
    widths = rng.uniform(40, 110, OBJECTS)
    sizes = np.stack([widths, np.minimum(300, widths * rng.uniform(1, 2.6, OBJECTS))], 1)
    places = rng.uniform(0, 1, (OBJECTS, 2)) * ([WIDTH, HEIGHT] - sizes)
    speeds = rng.uniform(-90, 90, (OBJECTS, 2)) * [1, 0.3]
    dropped = 0
    for index in range(int(rate * SECONDS)):
        truth = visible_boxes(places, sizes)
        boxes = [
            box + rng.normal(0, JITTER, 4) * np.tile(box[2:] - box[:2], 2)
            for box, seen in truth.values()
            if seen > LEAST_SEEN and rng.random() > MISSED
        ]
        if rng.random() < CLUTTER:
            corner, size = rng.uniform(0, [WIDTH - 80, HEIGHT - 80]), rng.uniform(20, 80, 2)
            boxes.append(np.concatenate([corner, corner + size]))
        places = places + speeds / rate
        outside = (places < -sizes / 2) | (places > [WIDTH, HEIGHT] - sizes / 2)
        speeds[outside] *= -1
        places = places.clip(-sizes / 2, [WIDTH, HEIGHT] - sizes / 2)
        turning = rng.random(OBJECTS) < 0.02
        speeds[turning] = rng.uniform(-90, 90, (int(turning.sum()), 2)) * [1, 0.3]
        if rng.random() < DROPPED:
            dropped = int(rng.integers(1, 4))
        if dropped:
            dropped -= 1
            continue
        yield index / rate, {key: box for key, (box, _) in truth.items()}, instances_of(boxes)


def visible_boxes(places: np.ndarray, sizes: np.ndarray) -> dict[int, tuple[np.ndarray, float]]:
    """Return the visible box and part of each object; whoever stands lower is in front."""
    cover = np.full((HEIGHT, WIDTH), -1)
    for key in np.argsort((places + sizes)[:, 1]):
        x1, y1 = places[key].astype(int).clip(0)
        x2, y2 = (places[key] + sizes[key]).astype(int).clip(0)
        cover[y1:y2, x1:x2] = key
    found = {}
    for key in range(len(places)):
        rows, columns = np.nonzero(cover == key)
        part = len(rows) / sizes[key].prod()
        if part > LEAST_SEEN / 2:
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            found[key] = np.array(box, float), part
    return found


def ours(rate: float) -> Tracker:
    tracker = InstanceTracker()
    return lambda time, instances: (tracker.update(instances, time), instances.boxes)


def motpy(rate: float) -> Tracker:
    from motpy import Detection, MultiObjectTracker

    model = {
        'order_pos': 1, 'dim_pos': 2, 'order_size': 0, 'dim_size': 2,
        'q_var_pos': 5000.0, 'r_var_pos': 0.1,
    }  # fmt: skip
    tracker = MultiObjectTracker(
        dt=1 / rate,
        model_spec=model,
        active_tracks_kwargs={'min_steps_alive': 0, 'max_staleness': 12},
    )

    def update(time: float, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        tracker.step([Detection(box=box, score=0.9) for box in instances.boxes.astype(float)])
        tracks = tracker.active_tracks(min_steps_alive=0, max_staleness=1)
        boxes = np.array([track.box for track in tracks]).reshape(-1, 4)
        return np.array([hash(track.id) for track in tracks]), boxes

    return update


def byte_track(rate: float) -> Tracker:
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(lost_track_buffer=60, frame_rate=rate)

    def update(time: float, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        found = tracker.update(
            supervision.Detections(
                xyxy=instances.boxes.astype(float),
                confidence=instances.scores,
                class_id=instances.class_ids,
            )
        )
        known = found.tracker_id >= 0
        return found.tracker_id[known], found.xyxy[known]

    return update


TRACKERS = {'instance_seg_ros': ours, 'motpy': motpy, 'trackers, ByteTrack': byte_track}


def measure(make: Callable[[float], Tracker], rate: float, seeds: int) -> str:
    """Return a line of figures over some sequences."""
    matches, times = [], []
    for seed in range(seeds):
        tracker, match = make(rate), motmetrics.MOTAccumulator(auto_id=True)
        for stamp, truth, instances in sequence(seed, rate):
            started = time.perf_counter()
            ids, boxes = tracker(stamp, instances)
            times.append(time.perf_counter() - started)
            match.update(list(truth), list(ids), distances(list(truth.values()), boxes))
        matches.append(match)
    figures: Any = motmetrics.metrics.create().compute_many(
        matches, metrics=['idf1', 'num_switches'], generate_overall=True
    )
    overall = figures.loc['OVERALL']
    milliseconds = 1e3 * np.median(times)
    return f'IDF1 {overall.idf1:.3f}, {int(overall.num_switches)} switches, {milliseconds:.2f} ms'


def distances(truth: Any, found: Any) -> np.ndarray:
    """Return 1 - IoU, NaN where two boxes are no pair. motmetrics' own needs NumPy 1."""
    a = np.array(truth, float).reshape(-1, 1, 4)
    b = np.array(found, float).reshape(1, -1, 4)
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = overlap.clip(0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    distance = 1 - intersection / (areas - intersection)
    distance[distance > 0.5] = np.nan
    return distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=6, help='sequences of each rate')
    options = parser.parse_args()
    for rate in (2.0, 10.0, 30.0):
        for name, make in TRACKERS.items():
            try:
                print(f'{rate:4g} Hz  {name:20}  {measure(make, rate, options.seeds)}')
            except ImportError as error:
                print(f'{rate:4g} Hz  {name:20}  not installed: {error}')


if __name__ == '__main__':
    main()
