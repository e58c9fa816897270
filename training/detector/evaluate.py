# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Average precision of a model as users run it: its files, through cv2.dnn and the project's own
Segmenter.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from instance_seg_ros import Instances, Segmenter
from training.detector.dataset import Annotation, Photo

LOG = logging.getLogger(__name__)

# Rows of COCOeval.stats.
_STATS = {'AP': 0, 'AP50': 1, 'AP_small': 3, 'AP_medium': 4, 'AP_large': 5}
_LARGE = 2


@dataclass
class Scores:
    """Figures of one group of photos; every AP is None where the group has no object of that size.

    Attributes:
        photos, objects: how many.
        box, mask: AP, AP50, AP by size and AP50_large, each 0 to 1; of masks only photos with
            masks count.
        false_detections: detections over the operating score per photo, in photos without any
            object.
        precision, recall: of boxes at the operating score and IoU 0.5.
    """

    photos: int
    objects: int
    box: dict[str, float | None]
    mask: dict[str, float | None]
    false_detections: float | None
    precision: float | None
    recall: float | None


@dataclass
class _Results:
    numbers: dict[int, int]
    truth: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, Any]] = field(default_factory=list)
    false_counts: dict[int, int] = field(default_factory=dict)
    hits: dict[int, tuple[int, int, int]] = field(default_factory=dict)


def evaluate(
    segmenter: Segmenter,
    photos: list[Photo],
    classes: Sequence[str] = (),
    operating_score: float = 0.5,
    progress: bool = True,
) -> dict[str, Scores]:
    """Measure a segmenter, whose ``confidence_threshold`` is to be low (0.05), on annotated photos.

    Args:
        segmenter: what to measure; it may know more classes than are looked at.
        photos: annotated ones.
        classes: names of the photos' classes in their order; by default the segmenter's own.
        operating_score: for precision, recall and false detections.
        progress: show a bar.

    Raises:
        ValueError: the segmenter knows none of the classes.

    Returns:
        Scores by group: ``all``; ``many`` (photos that the data set calls exhaustive, that is: all
            its categories
        are annotated) and ``one`` (photos with exactly one object); ``none`` (photos without any).

    """
    names = segmenter.class_names
    numbers = {i: classes.index(n) for i, n in names.items() if n in classes}
    if missing := [name for name in classes if name not in names.values()]:
        if not numbers:
            raise ValueError(
                f'classes {", ".join(missing)}: expected classes of the model, which has '
                f'{", ".join(names.values())}'
            )
        LOG.warning('the model has no class %s: its objects count as missed', ', '.join(missing))
    results = _Results(numbers if classes else {i: i for i in names})
    for index, photo in enumerate(tqdm(photos, disable=not progress, unit='photo', mininterval=5)):
        _measure(segmenter, photo, index, operating_score, results)
    groups = {
        'all': range(len(photos)),
        'exhaustive': [i for i, p in enumerate(photos) if p.known is not None and p.known.all()],
        'one': [i for i, p in enumerate(photos) if _count(p) == 1],
        'none': [i for i, p in enumerate(photos) if _count(p) == 0],
    }
    present = sorted({a.class_index for p in photos for a in p.annotations})
    return {
        name: _score(results, photos, list(ids), present)
        for name, ids in groups.items()
        if len(ids)
    }


def _count(photo: Photo) -> int:
    return sum(not a.ignore for a in photo.annotations)


def _measure(
    segmenter: Segmenter, photo: Photo, index: int, operating_score: float, results: _Results
) -> None:
    for annotation in photo.annotations:
        results.truth.append(_truth(annotation, index, len(results.truth) + 1))
    found = segmenter(photo.read())
    found = found[np.isin(found.class_ids, list(results.numbers))]
    found.class_ids[:] = [results.numbers[int(i)] for i in found.class_ids]
    for entry in found.to_coco(image_id=index):
        box = {key: entry[key] for key in ('image_id', 'category_id', 'score', 'bbox')}
        results.boxes.append(box)
        # Without its box COCOeval takes the area, and so the size class, from the mask.
        results.masks.append(
            {key: entry[key] for key in ('image_id', 'category_id', 'score', 'segmentation')}
        )
    sure = found[found.scores >= operating_score]
    objects = [a for a in photo.annotations if not a.ignore]
    if not photo.annotations:
        results.false_counts[index] = len(sure)
    results.hits[index] = (int(correct(sure, objects).sum()), len(sure), len(objects))


def _truth(annotation: Annotation, index: int, identity: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(v) for v in annotation.box)
    entry: dict[str, Any] = {
        'id': identity,
        'image_id': index,
        'category_id': annotation.class_index,
        'iscrowd': int(annotation.ignore),
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': (x2 - x1) * (y2 - y1),
    }
    if annotation.rle is not None:
        entry['segmentation'] = annotation.rle
        entry['area'] = float(coco_mask.area(annotation.rle))
    return entry


def correct(found: Instances, objects: list[Annotation]) -> NDArray[np.bool_]:
    """Tell which detections are right.

    Args:
        found: detections of an image, best first.
        objects: what is in it; crowd regions left out.

    Returns:
        bool (N,): the detection overlaps an object of its class by half or more (IoU), and no
        better detection has taken that object.

    """
    taken: set[int] = set()
    right = np.zeros(len(found), bool)
    for i, (box, class_id) in enumerate(zip(found.boxes, found.class_ids, strict=True)):
        candidates = (
            (_iou(box, o.box), k)
            for k, o in enumerate(objects)
            if k not in taken and o.class_index == class_id
        )
        overlap, best = max(candidates, default=(0.0, -1))
        if overlap >= 0.5:
            taken.add(best)
            right[i] = True
    return right


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - both
    return both / union if union > 0 else 0.0


def _score(results: _Results, photos: list[Photo], ids: list[int], classes: list[int]) -> Scores:
    masked = [i for i in ids if all(a.rle is not None or a.ignore for a in photos[i].annotations)]
    hits, detections, objects = (sum(results.hits[i][k] for i in ids) for k in range(3))
    counts = [results.false_counts[i] for i in ids if i in results.false_counts]
    return Scores(
        len(ids),
        objects,
        _average_precision(results.truth, results.boxes, 'bbox', photos, ids, classes),
        _average_precision(
            [t for t in results.truth if 'segmentation' in t],
            results.masks,
            'segm',
            photos,
            masked,
            classes,
        ),
        sum(counts) / len(counts) if counts else None,
        hits / detections if detections else None,
        hits / objects if objects else None,
    )


def _average_precision(
    truth: list[dict[str, Any]],
    detections: list[dict[str, Any]],
    kind: str,
    photos: list[Photo],
    ids: list[int],
    classes: list[int],
) -> dict[str, float | None]:
    wanted = set(ids)
    images = [{'id': i, 'height': photos[i].size[0], 'width': photos[i].size[1]} for i in ids]
    truth = [t for t in truth if t['image_id'] in wanted]
    if not truth:
        return dict.fromkeys([*_STATS, 'AP50_large'])
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            'info': {},
            'images': images,
            'annotations': truth,
            'categories': [{'id': c} for c in classes],
        }
        dataset.createIndex()
        kept = [dict(d) for d in detections if d['image_id'] in wanted]  # loadRes changes them
        run = COCOeval(dataset, dataset.loadRes(kept) if kept else COCO(), kind)
        run.params.imgIds = ids
        run.params.catIds = classes
        run.evaluate()
        run.accumulate()
        run.summarize()
    figures = {name: float(run.stats[row]) for name, row in _STATS.items()}
    precision = run.eval['precision'][0, :, :, _LARGE, -1]  # IoU 0.5, large, 100 detections
    valid = precision[precision > -1]
    figures['AP50_large'] = float(valid.mean()) if valid.size else -1.0
    return {name: None if value < 0 else value for name, value in figures.items()}


def as_table(scores: dict[str, Scores]) -> str:
    """Return the figures as a Markdown table."""
    columns = ['AP50', 'AP', 'AP_small', 'AP_medium', 'AP_large', 'AP50_large']
    lines = [
        '| photos | n | objects | kind | '
        + ' | '.join(columns)
        + ' | false/photo | precision | recall |',
        '|' + '---|' * (len(columns) + 7),
    ]
    for name, group in scores.items():
        for kind, values in (('box', group.box), ('mask', group.mask)):
            cells = [_cell(values[c]) for c in columns]
            cells += [
                _cell(v) if kind == 'box' else ''
                for v in (group.false_detections, group.precision, group.recall)
            ]
            lines.append(
                f'| {name} | {group.photos} | {group.objects} | {kind} | '
                + ' | '.join(cells)
                + ' |'
            )
    return '\n'.join(lines)


def _cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'
