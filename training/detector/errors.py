# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a model does wrong: how objects are missed, and what false detections are of.

The kinds are those of TIDE (Bolya et al., ECCV 2020), in its words where they are plain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros import Instances, Segmenter
from training.detector.dataset import Annotation, Photo

FOUND, UNSURE, MISPLACED, OTHER_CLASS, MISSED = (
    'found',
    'unsure',
    'misplaced',
    'other class',
    'missed',
)
DUPLICATE, NOTHING = 'duplicate', 'nothing there'
OBJECT_KINDS = (FOUND, UNSURE, MISPLACED, OTHER_CLASS, MISSED)
DETECTION_KINDS = (FOUND, DUPLICATE, MISPLACED, OTHER_CLASS, NOTHING)
SIZES = {'< 32 px': 32.0, '32 to 96 px': 96.0, '> 96 px': float('inf')}
_RIGHT, _NEAR = 0.5, 0.1  # intersection over union


def kinds_of_objects(
    found: Instances, objects: Sequence[Annotation], operating_score: float = 0.5
) -> list[str]:
    """Say of each object how it is found or missed.

    Args:
        found: all detections of an image, also those of low score.
        objects: what is in it; crowd regions left out.
        operating_score: from which on a detection counts.

    Returns:
        For each object ``found``; ``unsure`` (a right box, with too low a score); ``misplaced`` (of
        its class, with an intersection over union from 0.1 to 0.5); ``other class`` (a right box);
        or ``missed``. Of several the first.

    """
    if not len(found):
        return [MISSED] * len(objects)
    overlaps = _overlaps(found, objects)
    same = _same_class(found, objects)
    sure = found.scores >= operating_score
    kinds = []
    for k in range(len(objects)):
        right, near = overlaps[:, k] >= _RIGHT, overlaps[:, k] >= _NEAR
        cases = {
            FOUND: right & same[:, k] & sure,
            UNSURE: right & same[:, k],
            MISPLACED: near & same[:, k],
            OTHER_CLASS: right & ~same[:, k],
        }
        kinds.append(next((kind for kind, case in cases.items() if case.any()), MISSED))
    return kinds


def kinds_of_detections(found: Instances, annotations: Sequence[Annotation]) -> list[str]:
    """Say of each detection whether it is right, and if not, what it is of.

    Args:
        found: detections that count, best first.
        annotations: what is in the image, with crowd regions.

    Returns:
        For each detection ``found``; ``duplicate`` (a better one has the object); ``misplaced``;
        ``other class``; ``nothing there``; or '' where it lies in a crowd region and counts as
        neither.

    """
    objects = [a for a in annotations if not a.ignore]
    crowds = [a for a in annotations if a.ignore]
    overlaps, same = _overlaps(found, objects), _same_class(found, objects)
    inside = _shares_inside(found, crowds) * _same_class(found, crowds)
    taken = np.zeros(len(objects), bool)
    kinds = []
    for i in range(len(found)):
        right, near = overlaps[i] >= _RIGHT, overlaps[i] >= _NEAR
        free = right & same[i] & ~taken
        if free.any():
            taken[np.argmax(overlaps[i] * free)] = True
            kinds.append(FOUND)
        elif (inside[i] > _RIGHT).any():
            kinds.append('')
        elif (right & same[i]).any():
            kinds.append(DUPLICATE)
        elif (near & same[i]).any():
            kinds.append(MISPLACED)
        else:
            kinds.append(OTHER_CLASS if right.any() else NOTHING)
    return kinds


def count_errors(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    classes: Sequence[str] = (),
    operating_score: float = 0.5,
    progress: bool = True,
) -> tuple[dict[str, Counter[str]], Counter[str]]:
    """Count the kinds of errors on annotated photos.

    Args:
        segmenter: what to look at; its ``confidence_threshold`` is to be low (0.05).
        photos: annotated ones.
        classes: names of the photos' classes in their order; by default the segmenter's own.
        operating_score: from which on a detection counts.
        progress: show a bar.

    Returns:
        Objects by size and kind, and detections by kind.

    """
    names = segmenter.class_names
    wanted = list(classes) or list(names.values())
    numbers = {i: wanted.index(name) for i, name in names.items() if name in wanted}
    of_objects: dict[str, Counter[str]] = {size: Counter() for size in SIZES}
    of_detections: Counter[str] = Counter()
    for photo in tqdm(photos, disable=not progress, unit='photo', mininterval=5):
        found = segmenter(photo.read(), masks=False)
        found = found[np.isin(found.class_ids, list(numbers))]
        found.class_ids[:] = [numbers[int(i)] for i in found.class_ids]
        objects = [a for a in photo.annotations if not a.ignore]
        for thing, kind in zip(
            objects, kinds_of_objects(found, objects, operating_score), strict=True
        ):
            side = float(np.prod(thing.box[2:] - thing.box[:2])) ** 0.5
            of_objects[next(name for name, limit in SIZES.items() if side < limit)][kind] += 1
        sure = found[found.scores >= operating_score]
        of_detections.update(kind for kind in kinds_of_detections(sure, photo.annotations) if kind)
    return of_objects, of_detections


def as_table(of_objects: dict[str, Counter[str]], of_detections: Counter[str]) -> str:
    """Return the counts as two Markdown tables."""
    lines = [_row('objects', 'all', *OBJECT_KINDS), '|' + '---|' * (2 + len(OBJECT_KINDS))]
    for size, counts in of_objects.items():
        lines.append(_row(size, counts.total(), *(counts[kind] for kind in OBJECT_KINDS)))
    lines += ['', _row('detections', *DETECTION_KINDS), '|' + '---|' * (1 + len(DETECTION_KINDS))]
    counts = of_detections
    lines.append(_row(counts.total(), *(counts[kind] for kind in DETECTION_KINDS)))
    return '\n'.join(lines)


def _row(*cells: object) -> str:
    return '| ' + ' | '.join(str(cell) for cell in cells) + ' |'


def _same_class(found: Instances, things: Sequence[Annotation]) -> NDArray[np.bool_]:
    classes = np.array([each.class_index for each in things], int)
    same: NDArray[np.bool_] = found.class_ids[:, None] == classes
    return same


def _overlaps(found: Instances, things: Sequence[Annotation]) -> NDArray[np.float64]:
    both, areas, other_areas = _areas(found, things)
    overlaps: NDArray[np.float64] = both / np.maximum(areas[:, None] + other_areas - both, 1e-9)
    return overlaps


def _shares_inside(found: Instances, things: Sequence[Annotation]) -> NDArray[np.float64]:
    both, areas, _ = _areas(found, things)
    shares: NDArray[np.float64] = both / np.maximum(areas[:, None], 1e-9)
    return shares


def _areas(found: Instances, things: Sequence[Annotation]) -> tuple[NDArray[np.float64], ...]:
    """Common areas (N, M), and the areas of detections (N,) and things (M,)."""
    a = found.boxes.astype(float)
    b = np.array([each.box for each in things], float).reshape(-1, 4)
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    both = np.clip(sides, 0, None).prod(2)
    return both, (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
