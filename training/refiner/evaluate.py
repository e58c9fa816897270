# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How much a refiner gains over the plain resized mask, as the node would run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from instance_seg_ros.refinement.pasting import clip_rois, paste
from training.detector.dataset import Photo
from training.refiner.crops import usable
from training.refiner.metrics import Scores, compare
from training.refiner.simulate import ALL_FAMILIES, simulate

HARM = 0.02  # of boundary IoU; less is not seen

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
    """

    count: int
    plain: Scores
    refined: Scores
    harmed: float


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
    photos: Sequence[Photo], refine: Refine, family: str, most: int = 0, threshold: float = 0.5
) -> Report:
    """Compare refined masks with plain ones on the coarse masks of a family."""
    plain, refined = [], []
    for case in cases(photos, family, most):
        diagonal = float(np.hypot(*case.truth.shape))
        plain.append(compare(plain_mask(case), case.truth, diagonal))
        refined.append(compare(refined_mask(case, refine, threshold), case.truth, diagonal))
    if not plain:
        raise ValueError('none of the photos has an object with a mask that is large enough')
    harmed = [b.boundary_iou < a.boundary_iou - HARM for a, b in zip(plain, refined, strict=True)]
    return Report(len(plain), Scores.mean(plain), Scores.mean(refined), float(np.mean(harmed)))


def as_table(reports: dict[str, Report]) -> str:
    """Format reports by family as Markdown."""
    lines = [
        '| coarse masks | objects | IoU | boundary IoU | gain | boundary F 2 px | '
        'clutter | harmed |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for family, r in reports.items():
        gain = r.refined.boundary_iou - r.plain.boundary_iou
        lines.append(
            f'| {family} | {r.count} | {r.plain.iou:.3f} to {r.refined.iou:.3f} '
            f'| {r.plain.boundary_iou:.3f} to {r.refined.boundary_iou:.3f} | {gain:+.3f} '
            f'| {r.plain.boundary_f2:.3f} to {r.refined.boundary_f2:.3f} '
            f'| {r.plain.clutter:.3f} to {r.refined.clutter:.3f} | {r.harmed:.1%} |'
        )
    return '\n'.join(lines)
