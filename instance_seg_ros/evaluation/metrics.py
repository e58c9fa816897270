# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Average precision of boxes, masks and boundaries, by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.matching import precision_and_recall
from instance_seg_ros.evaluation.run import Found, Run
from instance_seg_ros.evaluation.shapes import Rle
from instance_seg_ros.evaluation.truth import BOX, KINDS, TrueObject, TruePhoto

_TYPES = {'box': 'bbox', 'mask': 'segm', 'boundary': 'boundary'}
_SIZES = ('all', 'small', 'medium', 'large')  # the evaluator's areas, in its order
CURVE_RECALLS: NDArray[np.float64] = np.linspace(0, 1, 101)


@dataclass
class ClassFigures:
    """Figures of one class, 0 to 1.

    Attributes:
        objects: how many there are to find.
        ap, ap50: averaged over IoU .50 to .95, and at .50; None without an object.
        curve: (101,) highest precision at each recall of CURVE_RECALLS, at IoU .50.
    """

    objects: int
    ap: float | None
    ap50: float | None
    curve: NDArray[np.float64]


@dataclass
class KindFigures:
    """Figures of boxes, masks or boundaries.

    Attributes:
        totals: ``AP``, ``AP50``, ``AP75``, ``AP_small``, ``AP_medium``, ``AP_large`` and ``AR``
            (of up to 100 detections), averaged over the classes; None where there is no object.
        classes: by class id.
    """

    totals: dict[str, float | None]
    classes: dict[int, ClassFigures] = field(default_factory=dict)


@dataclass
class RunFigures:
    """All figures of one run; ``kinds`` lacks those for which there is no object."""

    run: Run
    kinds: dict[str, KindFigures]
    precision: float | None
    recall: float | None


def import_evaluator() -> tuple[type, type]:
    """Return COCO and COCOeval of faster-coco-eval; raises ImportError where it is missing."""
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    return COCO, COCOeval_faster


def figures_of(
    photos: Sequence[TruePhoto],
    runs: Sequence[Run],
    operating_score: float,
    kinds: Sequence[str] = KINDS,
) -> list[RunFigures]:
    """Measure all runs.

    Args:
        photos: with their objects.
        runs: over them. Those of one preset have the same boxes, which are measured once.
        operating_score: for precision and recall.
        kinds: what is measured beside boxes.

    """
    by_preset: dict[str, tuple[KindFigures | None, float | None, float | None]] = {}
    results = []
    for run in runs:
        if run.preset not in by_preset:
            boxes = average_precision(photos, run, BOX)
            by_preset[run.preset] = boxes, *precision_and_recall(photos, run, operating_score)
        boxes, precision, recall = by_preset[run.preset]
        measured = {} if boxes is None else {BOX: boxes}
        for kind in kinds:
            figures = None if kind == BOX else average_precision(photos, run, kind)
            if figures is not None:
                measured[kind] = figures
        results.append(RunFigures(run, measured, precision, recall))
    return results


def average_precision(photos: Sequence[TruePhoto], run: Run, kind: str) -> KindFigures | None:
    """Measure one kind of a run; None where there is no object to count."""
    coco, evaluate = import_evaluator()
    images, truth, rows = [], [], []
    for index, found in run.found.items():
        photo = photos[index]
        images.append({'id': index, 'height': photo.photo.size[0], 'width': photo.photo.size[1]})
        counted = photo.counted(kind)
        truth += [_true_row(index, o) for o in photo.objects if o.class_id in counted]
        rows += _rows(index, found, counted, kind)
    classes = sorted({row['category_id'] for row in truth if not row['iscrowd']})
    if not classes:
        return None
    for number, row in enumerate(truth, 1):
        row['id'] = number
    dataset = coco(
        {'images': images, 'annotations': truth, 'categories': [{'id': c} for c in classes]}
    )
    results = dataset.loadRes([row for row in rows if row['category_id'] in set(classes)])
    run_of = evaluate(dataset, results, _TYPES[kind], print_function=_say_nothing)
    run_of.params.catIds = classes
    run_of.evaluate()
    run_of.accumulate()
    counts = _count(truth)
    return _summary(run_of.eval, classes, counts)


def _say_nothing(*_: Any) -> None:
    """Take what the evaluator reports of its progress."""


def _true_row(index: int, each: TrueObject) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in each.box)
    row: dict[str, Any] = {
        'image_id': index,
        'category_id': each.class_id + 1,
        'iscrowd': int(each.crowd),
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': (x2 - x1) * (y2 - y1),
    }
    if each.rle is not None:
        row['segmentation'] = each.rle
        row['area'] = _area(each.rle)
    return row


def _area(rle: Rle) -> float:
    from pycocotools import mask as coco_mask

    return float(coco_mask.area(rle))


def _rows(index: int, found: Found, counted: Iterable[int], kind: str) -> list[dict[str, Any]]:
    rows = []
    for i in np.flatnonzero(np.isin(found.class_ids, list(counted))):
        row: dict[str, Any] = {
            'image_id': index,
            'category_id': int(found.class_ids[i]) + 1,
            'score': float(found.scores[i]),
        }
        if kind == BOX:
            x1, y1, x2, y2 = (float(value) for value in found.boxes[i])
            row['bbox'] = [x1, y1, x2 - x1, y2 - y1]
        else:  # without a box the evaluator takes the area, and so the size, from the mask
            row['segmentation'] = dict(found.rles[i])
        rows.append(row)
    return rows


def _count(truth: list[dict[str, Any]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for row in truth:
        if not row['iscrowd']:
            counts[row['category_id']] = counts.get(row['category_id'], 0) + 1
    return counts


def _summary(result: dict[str, Any], classes: list[int], counts: dict[int, int]) -> KindFigures:
    # (IoU .50 to .95, recall, class, area, most detections), -1 where there is nothing
    precision = np.asarray(result['precision'])[..., -1]
    recall = np.asarray(result['recall'])[..., -1]
    every = precision[..., 0]
    totals = {'AP': _mean(every), 'AP50': _mean(every[0]), 'AP75': _mean(every[5])}
    for i, size in enumerate(_SIZES[1:], 1):
        totals[f'AP_{size}'] = _mean(precision[..., i])
    totals['AR'] = _mean(recall[..., 0])
    figures = KindFigures(totals)
    for k, category in enumerate(classes):
        own = every[:, :, k]
        figures.classes[category - 1] = ClassFigures(
            counts[category], _mean(own), _mean(own[0]), np.clip(own[0], 0, None)
        )
    return figures


def _mean(values: NDArray[Any]) -> float | None:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else None
