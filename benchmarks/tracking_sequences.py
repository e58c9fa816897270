# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Sequences for benchmarks/tracking.py: composed ones, and those of MOTChallenge and DAVIS."""

from __future__ import annotations

import configparser
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from instance_seg_ros import Segmenter
from instance_seg_ros.images import read_image
from instance_seg_ros.instances import Instances

WIDTH, HEIGHT = 640, 480
SECONDS, OBJECTS = 12, 8
MISSED, JITTER, CLUTTER, DROPPED = 0.1, 0.03, 0.3, 0.03  # chances; jitter is a part of the size
LEAST_SEEN = 0.3  # part of an object that a detector needs
LONGEST = 30.0  # seconds of a real sequence
LOWEST_SCORE, SURE_SCORE = 20.0, 60.0  # of MOT15's detector

Truth = dict[int, np.ndarray]
Frame = tuple[float, Truth, Instances]


def instances_of(boxes: list[np.ndarray], scores: list[float]) -> Instances:
    """Return instances of one class, without masks."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(array)
    return Instances(
        array,
        np.array(scores, np.float32),
        np.zeros(count, np.int32),
        ['person'] * count,
        np.zeros((count, 4), np.int32),
        None,
        np.zeros(count, bool),
        (HEIGHT, WIDTH),
    )


class Detector:
    """Sees what is to be seen, as detectors do: misses, jitter, false alarms."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self._rng, self._size = np.random.default_rng(seed), np.array(size)

    def look(self, boxes: list[np.ndarray]) -> list[np.ndarray]:
        rng = self._rng
        found = [
            box + rng.normal(0, JITTER, 4) * np.tile(box[2:] - box[:2], 2)
            for box in boxes
            if rng.random() > MISSED
        ]
        if rng.random() < CLUTTER:
            size = self._size * rng.uniform(0.05, 0.15)
            corner = rng.uniform(0, 1, 2) * (self._size - size)
            found.append(np.concatenate([corner, corner + size]))
        return found


def composed(seed: int, rate: float) -> Iterator[Frame]:
    """Yield time, true boxes and instances: people who walk, turn and hide each other."""
    rng = np.random.default_rng(seed)
    widths = rng.uniform(40, 110, OBJECTS)
    sizes = np.stack([widths, np.minimum(300, widths * rng.uniform(1, 2.6, OBJECTS))], 1)
    places = rng.uniform(0, 1, (OBJECTS, 2)) * ([WIDTH, HEIGHT] - sizes)
    speeds = rng.uniform(-90, 90, (OBJECTS, 2)) * [1, 0.3]
    detector = Detector(seed, (WIDTH, HEIGHT))
    dropped = 0
    for index in range(int(rate * SECONDS)):
        truth = visible_boxes(places, sizes)
        boxes = detector.look([box for box, seen in truth.values() if seen > LEAST_SEEN])
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
        instances = instances_of(boxes, [0.9] * len(boxes))
        yield index / rate, {key: box for key, (box, _) in truth.items()}, instances


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


def mot(folder: Path, rate: float | None, dropped: float) -> Iterator[Frame]:
    """Yield a sequence of MOTChallenge: det/det.txt where it is there, else annotated boxes.

    Args:
        folder: with gt/gt.txt and seqinfo.ini.
        rate: Hz; None for the sequence's own.
        dropped: chance that one to three frames are missing.

    """
    about = configparser.ConfigParser()
    about.read(folder / 'seqinfo.ini')
    info = about['Sequence']
    own, size = float(info['frameRate']), (int(info['imWidth']), int(info['imHeight']))
    truth, seen = _annotated(np.loadtxt(folder / 'gt/gt.txt', delimiter=',', ndmin=2))
    detected = folder / 'det/det.txt'
    found = _detected(np.loadtxt(detected, delimiter=',')) if detected.is_file() else None
    detector, rng = Detector(0, size), np.random.default_rng(0)
    count = min(int(info['seqLength']), int(LONGEST * own))
    missing = 0
    for step in range(int(count / own * (rate or own))):
        number = 1 + round(step * own / (rate or own))
        if found is None:
            boxes = detector.look([truth[number][key] for key in seen[number]])
            instances = instances_of(boxes, [0.9] * len(boxes))
        else:
            instances = instances_of(*found[number])
        if rng.random() < dropped:
            missing = int(rng.integers(1, 4))
        if missing:
            missing -= 1
            continue
        yield (number - 1) / own, truth[number], instances


def _annotated(rows: np.ndarray) -> tuple[dict[int, Truth], dict[int, list[int]]]:
    """Return the boxes of each frame's people, and which are seen well enough to be found."""
    truth: dict[int, Truth] = defaultdict(dict)
    seen: dict[int, list[int]] = defaultdict(list)
    for number, key, x, y, width, height, counts, kind, part in rows[:, :9]:
        if counts != 1 or kind not in (1, -1) or 0 <= part < LEAST_SEEN / 2:
            continue
        truth[int(number)][int(key)] = np.array([x, y, x + width, y + height])
        if part > LEAST_SEEN or kind == -1:
            seen[int(number)].append(int(key))
    return truth, seen


def _detected(rows: np.ndarray) -> dict[int, tuple[list[np.ndarray], list[float]]]:
    found: dict[int, tuple[list[np.ndarray], list[float]]] = defaultdict(lambda: ([], []))
    for number, _, x, y, width, height, score in rows[:, :7]:
        if score >= LOWEST_SCORE:
            boxes, scores = found[int(number)]
            boxes.append(np.array([x, y, x + width, y + height]))
            scores.append(min(1.0, score / SURE_SCORE))
    return found


def mot_folders(folder: Path) -> list[Path]:
    """Return the sequences of a folder: those with detections where there are some, each once."""
    parts = sorted(path.parent for path in folder.glob('*/seqinfo.ini'))
    detected = [part for part in parts if (part / 'det/det.txt').is_file()]
    by_name = {part.name[:8] if part.name.startswith('MOT') else part.name: part for part in parts}
    return detected or list(by_name.values())


def davis(folder: Path, segmenter: Segmenter) -> list[list[Frame]]:
    """Return the sequences of DAVIS with what a segmenter finds; the truth is the annotated object.

    Args:
        folder: with JPEGImages/480p and Annotations/480p; a mask is one object.
        segmenter: that looks at every image.

    """
    sequences = []
    for images in sorted((folder / 'JPEGImages/480p').iterdir()):
        frames = []
        for number, path in enumerate(sorted(images.glob('*.jpg'))):
            mask = cv2.imread(
                str(folder / 'Annotations/480p' / images.name / f'{path.stem}.png'),
                cv2.IMREAD_GRAYSCALE,
            )
            x, y, width, height = cv2.boundingRect(mask)
            truth = {1: np.array([x, y, x + width, y + height], float)} if width else {}
            frames.append((number / 24, truth, segmenter(read_image(path))))
        sequences.append(frames)
    return sequences
