# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities: IDF1, id switches, and milliseconds a frame, over composed and real sequences.

python benchmarks/tracking.py [--mot MOT15/train MOT17/train] [--davis DAVIS]

pip install motmetrics; beside it motpy, norfair or trackers, in an environment of their own, are
measured where they are installed: trackers brings another OpenCV.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
from tracking_sequences import Frame, composed, davis, mot, mot_folders

from instance_seg_ros import Segmenter
from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking import InstanceTracker

Tracker = Callable[[float, Instances], tuple[np.ndarray, np.ndarray]]
DROPPED = 0.05  # chance that one to three frames are missing


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


def norfair(rate: float) -> Tracker:
    from norfair import Detection
    from norfair import Tracker as Norfair

    tracker = Norfair(
        'iou', distance_threshold=0.9, hit_counter_max=max(2, int(2 * rate)), initialization_delay=0
    )

    def update(time: float, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        found = [Detection(box.reshape(2, 2)) for box in instances.boxes.astype(float)]
        seen = [each for each in tracker.update(found) if each.last_detection in found]
        boxes = [each.last_detection.points.ravel() for each in seen]
        return np.array([each.id for each in seen]), np.array(boxes).reshape(-1, 4)

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


TRACKERS = {
    'instance_seg_ros': ours,
    'norfair': norfair,
    'motpy': motpy,
    'trackers, ByteTrack': byte_track,
}


def measure(make: Callable[[], Tracker], sequences: Iterable[list[Frame]]) -> str:
    """Return a line of figures over some sequences."""
    matches, times = [], []
    for frames in sequences:
        tracker, match = make(), motmetrics.MOTAccumulator(auto_id=True)
        for stamp, truth, instances in frames:
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


def follow(make: Callable[[], Tracker], sequences: Iterable[list[Frame]]) -> str:
    """Return how the one annotated object of each sequence keeps its id where it was found."""
    frames = switches = kept = 0
    for sequence in sequences:
        tracker, seen = make(), []
        for stamp, truth, instances in sequence:
            ids, boxes = tracker(stamp, instances)
            near = distances(list(truth.values()), boxes)
            if near.size and np.isfinite(near).any():
                seen.append(ids[int(np.nanargmin(near[0]))])
        frames += len(seen)
        switches += sum(a != b for a, b in zip(seen, seen[1:], strict=False))
        kept += Counter(seen).most_common(1)[0][1] if seen else 0
    return f'{frames} frames, {switches} switches, {kept / max(frames, 1):.3f} with one id'


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


def compare(what: str, rate: float, sequences: list[list[Frame]], judge: Any = measure) -> None:
    """Print a line for each tracker."""
    for name, make in TRACKERS.items():
        try:
            figures = judge(partial(make, rate), sequences)
            print(f'{what:28}  {name:20}  {figures}', flush=True)
        except ImportError as error:
            print(f'{what:28}  {name:20}  not installed: {error}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=6, help='composed sequences of each rate')
    parser.add_argument(
        '--mot', nargs='*', type=Path, default=[], help='folders of sequences of MOTChallenge'
    )
    parser.add_argument('--davis', type=Path, help='DAVIS, with JPEGImages and Annotations')
    options = parser.parse_args()
    for rate in (2.0, 10.0, 30.0):
        sequences = [list(composed(seed, rate)) for seed in range(options.seeds)]
        compare(f'composed, {rate:g} Hz', rate, sequences)
    for folder in options.mot:
        parts = mot_folders(folder)
        for wanted, dropped in ((None, 0.0), (None, DROPPED), (10.0, 0.0), (2.0, 0.0)):
            how = f'{wanted:g} Hz' if wanted else 'own rate'
            sequences = [list(mot(part, wanted, dropped)) for part in parts]
            what = f'{folder.name}, {how}{", dropped" if dropped else ""}'
            compare(what, wanted or 25.0, sequences)
    if options.davis:
        segmenter = Segmenter(refiner='none', confidence_threshold=0.4)
        native = davis(options.davis, segmenter)
        for step in (1, 6, 12):
            sequences = [frames[at::step] for frames in native for at in range(0, step, 6)]
            compare(f'DAVIS, {24 / step:g} Hz', 24 / step, sequences, follow)


if __name__ == '__main__':
    main()
