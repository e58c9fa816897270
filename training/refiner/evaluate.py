# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How much a refiner gains over the plain resized mask, as the node would run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from instance_seg_ros.refinement.parts import without_crumbs
from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.rois import clip_rois
from training.detector.dataset import Photo
from training.refiner.crops import read_detected, usable
from training.refiner.metrics import Scores, compare
from training.refiner.simulate import ALL_FAMILIES, simulate

HARM = 0.02  # of boundary IoU or IoU; less is not seen
_SAME_OBJECT = 0.5  # intersection over union of the boxes

# As MaskRefiner and MaskSmoother: image, boxes and coarse masks to ROIs and probabilities.
Refine = Callable[
    [NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]],
    tuple[NDArray[np.int32], Iterable[NDArray[np.float32]]],
]


@dataclass(frozen=True)
class Report:
    """Means over all objects.

    Attributes:
        count: of the objects.
        plain: figures of the plain resized mask.
        refined: figures of the refined mask.
        harmed: share of the objects whose boundary IoU fell by more than 0.02.
        harmed_iou: share of the objects whose IoU fell by more than 0.02.
        plain_parts: connected parts of a plain mask.
        refined_parts: connected parts of a refined mask.
    """

    count: int
    plain: Scores
    refined: Scores
    harmed: float
    harmed_iou: float
    plain_parts: float
    refined_parts: float


@dataclass(frozen=True)
class Case:
    """One object with a simulated coarse mask.

    Attributes:
        photo: uint8 (H, W, 3), BGR.
        truth: uint8 (H, W), 0 or 1.
        box: float32 (4,), x1, y1, x2, y2 in pixels.
        coarse: float32 (15, 15).
        image_id: of the photo.
    """

    photo: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    box: NDArray[np.float32]
    coarse: NDArray[np.float32]
    image_id: int


def cases(photos: Sequence[Photo], family: str, most: int = 0, seed: int = 0) -> Iterable[Case]:
    """Yield an object of every photo with a coarse mask of a family, the same ones each time.

    Args:
        photos: with masks.
        family: one of ALL_FAMILIES.
        most: photos that are drawn; 0 is all.
        seed: of everything that is drawn.

    """
    order = np.random.default_rng(seed).permutation(len(photos))
    count = 0
    for index in order:
        photo = photos[index]
        objects = [a for a in photo.annotations if a.rle is not None and not a.ignore]
        eligible = [a for a in objects if usable(a)]
        if not eligible:
            continue
        rng = np.random.default_rng((seed, photo.image_id, list(ALL_FAMILIES).index(family)))
        chosen = eligible[int(rng.integers(len(eligible)))]
        image, truth = photo.read(), coco_mask.decode(chosen.rle)
        everything = np.maximum.reduce([coco_mask.decode(a.rle) for a in objects])
        others = ((everything > 0) & (truth == 0)).astype(np.uint8)
        box, coarse = simulate(family, image, truth, others, rng)
        if box[2] - box[0] < 4 or box[3] - box[1] < 4:
            continue
        yield Case(image, truth, box, coarse, photo.image_id)
        count += 1
        if count == most:
            return


def detected_cases(photos: Iterable[Photo], coarse: Path) -> Iterable[Case]:
    """Yield the detections that lie on an object whose mask is known.

    Args:
        photos: with masks.
        coarse: what ``instance-seg image FOLDER --json FILE --coarse`` wrote of them.

    """
    found = read_detected(coarse)
    for photo in photos:
        objects = [a for a in photo.annotations if not a.ignore and a.rle and usable(a)]
        detected = found.get(photo.path.name, [])
        if not objects or not detected:
            continue
        overlaps = coco_mask.iou(
            _xywh([box for box, _ in detected]), _xywh([a.box for a in objects]), [0] * len(objects)
        )
        for (box, mask), row in zip(detected, overlaps, strict=True):
            if row.max() >= _SAME_OBJECT:
                truth = coco_mask.decode(objects[int(row.argmax())].rle)
                yield Case(photo.read(), truth, box, mask, photo.image_id)


def _xywh(boxes: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    return np.array([[*box[:2], *(box[2:] - box[:2])] for box in boxes], np.float64)


def plain_mask(case: Case, threshold: float = 0.5) -> NDArray[np.uint8]:
    """Return the resized coarse mask over the whole photo, uint8 (H, W)."""
    height, width = case.truth.shape
    full = np.zeros((height, width), np.uint8)
    x, y, w, h = clip_rois(case.box[None], height, width)[0].tolist()
    alpha = paste(case.coarse, case.box, (x, y), (1, 1), (h, w), outside=True)
    full[y : y + h, x : x + w] = alpha >= threshold
    return full


def refined_mask(case: Case, refine: Refine, threshold: float = 0.5) -> NDArray[np.uint8]:
    """Return the refined mask over the whole photo, uint8 (H, W)."""
    full = np.zeros(case.truth.shape, np.uint8)
    rois, alphas = refine(case.photo, case.box[None], case.coarse[None])
    x, y, w, h = (int(v) for v in rois[0])
    full[y : y + h, x : x + w] = next(iter(alphas)) >= threshold
    return full


def evaluate(
    measured: Iterable[Case], refine: Refine, threshold: float = 0.5, min_part: float = 0.0
) -> Report:
    """Compare refined masks with plain ones.

    Args:
        measured: the objects with their coarse masks.
        refine: the refiner.
        threshold: probability from which on a pixel belongs to the object.
        min_part: of both masks; see :func:`instance_seg_ros.refinement.parts.without_crumbs`.

    Raises:
        ValueError: there is no object.

    """
    plain, refined, parts = [], [], []
    for case in measured:
        diagonal = float(np.hypot(*case.truth.shape))
        masks = plain_mask(case), refined_mask(case, refine, threshold)
        before, after = (without_crumbs(mask, min_part) for mask in masks)
        plain.append(compare(before, case.truth, diagonal))
        refined.append(compare(after, case.truth, diagonal))
        parts.append([cv2.connectedComponents(mask)[0] - 1 for mask in (before, after)])
    if not plain:
        raise ValueError('none of the photos has an object with a mask that is large enough')
    pairs = list(zip(plain, refined, strict=True))
    plain_parts, refined_parts = np.mean(parts, 0).tolist()
    return Report(
        len(plain),
        Scores.mean(plain),
        Scores.mean(refined),
        float(np.mean([b.boundary_iou < a.boundary_iou - HARM for a, b in pairs])),
        float(np.mean([b.iou < a.iou - HARM for a, b in pairs])),
        plain_parts,
        refined_parts,
    )


def as_table(reports: dict[str, Report]) -> str:
    """Format reports by family as Markdown."""
    lines = [
        '| coarse masks | objects | IoU | boundary IoU | gain | boundary F 3 px | clutter | parts '
        '| harmed | harmed by IoU |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    for family, r in reports.items():
        gain = r.refined.boundary_iou - r.plain.boundary_iou
        lines.append(
            f'| {family} | {r.count} | {r.plain.iou:.3f} to {r.refined.iou:.3f} '
            f'| {r.plain.boundary_iou:.3f} to {r.refined.boundary_iou:.3f} | {gain:+.3f} '
            f'| {r.plain.boundary_f3:.3f} to {r.refined.boundary_f3:.3f} '
            f'| {r.plain.clutter:.3f} to {r.refined.clutter:.3f} '
            f'| {r.plain_parts:.2f} to {r.refined_parts:.2f} | {r.harmed:.1%} '
            f'| {r.harmed_iou:.1%} |'
        )
    return '\n'.join(lines)
