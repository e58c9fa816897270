# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Average precision of boxes while training; the figures that count come from
``training.detector evaluate``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.everyday.boxes import decode, propose, survivors
from training.everyday.network import SCORE_EXPONENT, EverydayNetwork, anchor_boxes, crop
from training.everyday.views import OBJECT, Labels, whole_view

_MATCH = 0.5


@dataclass(frozen=True)
class Found:
    """Detections of a batch, falling score: boxes (B, N, 4) fractions, categories and scores
    (B, N), 0 where there is none.
    """

    boxes: Tensor
    category: Tensor
    score: Tensor


@torch.no_grad()
def detect(network: EverydayNetwork, images: Tensor, proposals: int, most: int = 100) -> Found:
    """Detect in images (B, 3, H, W), as the graph does."""
    config = network.config
    features = network.levels(images)[0]
    encodings, logits = network.first_stage(features)
    references = anchor_boxes(config, *features.shape[2:]).to(images.device)
    regions, region_scores = propose(
        references,
        encodings,
        logits.softmax(-1)[..., 1],
        min(config.rpn_candidates, len(references)),
        proposals,
        config.rpn_nms_threshold,
    )
    boxes, logits = network.second_stage(network.regions(crop(features, regions)))
    scores = logits.softmax(-1)[:, 1:].reshape(*region_scores.shape, -1)
    scores = (scores * region_scores[..., None]).pow(SCORE_EXPONENT).flatten(1)
    boxes = decode(regions, boxes.reshape(regions.shape)).clamp(0, 1)
    top, order = scores.topk(min(2 * most, scores.shape[1]), 1)
    category = order % config.num_classes
    region = (order // config.num_classes)[..., None].expand(-1, -1, 4)
    boxes = boxes.gather(1, region)
    keep = survivors(boxes + category[..., None] * 2.0, config.nms_threshold)
    return Found(boxes, category, torch.where(keep & (top > 0.02), top, 0.0))


@torch.no_grad()
def score_photos(
    network: EverydayNetwork,
    photos: Tensor,
    sizes: Tensor,
    labels: Labels,
    index: Tensor,
    longest: int = 544,
    proposals: int = 40,
    batch: int = 32,
) -> NDArray[np.float64]:
    """AP50 (K,) of boxes by category on photos where all is labelled, NaN where there is nothing.

    Args:
        network: in evaluation mode.
        photos, sizes, labels: all of them.
        index: the photos to look at.
        longest: longest side in pixels, a multiple of 32.
        proposals: regions of the first stage.
        batch: photos at a time.

    """
    rows: list[tuple[int, float, bool]] = []
    objects = np.zeros(network.config.num_classes, int)
    for part in index.split(batch) if len(index) else ():
        images = whole_view(photos, sizes, part, longest, longest)
        found = detect(network, images, proposals)
        height, width = sizes[part].float().unbind(1)
        shape = torch.stack([width, height, width, height], 1)
        shape = shape / torch.maximum(height, width)[:, None]
        boxes = (found.boxes / shape[:, None]).clamp(0, 1).cpu().numpy()
        category, score = found.category.cpu().numpy(), found.score.float().cpu().numpy()
        wanted = labels[part].to(torch.device('cpu'))
        for i in range(len(part)):
            kind = wanted.kind[i].numpy()
            _match(
                boxes[i],
                category[i],
                score[i],
                wanted.boxes[i].numpy(),
                wanted.category[i].numpy(),
                kind,
                rows,
            )
            objects += np.bincount(
                wanted.category[i].numpy()[kind == OBJECT], minlength=len(objects)
            )
    return np.array([_average_precision(rows, k, n) for k, n in enumerate(objects)])


def _match(
    boxes: NDArray[np.float32],
    category: NDArray[np.int64],
    score: NDArray[np.float32],
    wanted: NDArray[np.float32],
    wanted_category: NDArray[np.int64],
    kind: NDArray[np.int64],
    rows: list[tuple[int, float, bool]],
) -> None:
    taken = np.zeros(len(wanted), bool)
    for box, k, value in zip(boxes, category, score, strict=True):
        if value <= 0:
            continue
        low = np.maximum(box[:2], wanted[:, :2])
        high = np.minimum(box[2:], wanted[:, 2:])
        both = np.clip(high - low, 0, None).prod(1)
        area = max((box[2:] - box[:2]).prod(), 1e-9)
        iou = both / (area + (wanted[:, 2:] - wanted[:, :2]).prod(1) - both + 1e-9)
        free = (kind == OBJECT) & (wanted_category == k) & ~taken
        best = int(np.argmax(iou * free))
        if free[best] and iou[best] >= _MATCH:
            taken[best] = True
            rows.append((int(k), float(value), True))
        elif not ((both / area > _MATCH) & (kind == 2) & (wanted_category == k)).any():
            rows.append((int(k), float(value), False))


def _average_precision(rows: list[tuple[int, float, bool]], category: int, count: int) -> float:
    if count == 0:
        return float('nan')
    right = np.array([r for k, _, r in sorted(rows, key=lambda row: -row[1]) if k == category])
    if len(right) == 0:
        return 0.0
    hits = right.cumsum()
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = hits / count
    steps = np.linspace(0, 1, 101)
    at = np.searchsorted(recall, steps)
    return float(
        np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0).mean()
    )
