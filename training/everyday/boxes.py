# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Boxes of whole batches at a time, x1 y1 x2 y2: a loop over images would keep a GPU waiting."""

from __future__ import annotations

import torch
from torch import Tensor

from training.graph.boxes import areas
from training.graph.boxes import decode as decode_boxes
from training.graph.boxes import overlaps as intersection_over_union

_LARGEST_LOG = 4.0
_TINY = 1e-6


def decode(references: Tensor, encodings: Tensor) -> Tensor:
    """Boxes (..., 4) of encodings (ty, tx, th, tw), as cv2.dnn's DetectionOutput decodes them."""
    return decode_boxes(references, encodings, _LARGEST_LOG)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (..., N, M)."""
    return intersection_over_union(a, b, _TINY)


def paired_overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of pairs (N, 4), and its generalised form (arXiv 1902.09630)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    union = (areas(a) + areas(b) - both).clamp(min=_TINY)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    iou = both / union
    return iou, iou - (hull - union) / hull.clamp(min=_TINY)


def survivors(boxes: Tensor, threshold: float, rounds: int = 12) -> Tensor:
    """Which boxes (B, N, 4), sorted by falling score, greedy non-maximum suppression keeps.

    Each round is exact for one more link in chains of boxes that suppress one another; chains of
    more than a dozen do not matter.
    """
    conflicts = (overlaps(boxes, boxes) > threshold).triu(1)
    keep = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    for _ in range(rounds):
        keep = ~(conflicts & keep[:, :, None]).any(1)
    return keep


@torch.no_grad()
def propose(
    references: Tensor,
    encodings: Tensor,
    scores: Tensor,
    candidates: int,
    count: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """Proposals (B, count, 4) of a batch and their scores (B, count), as cv2.dnn's first stage
    makes them.

    Args:
        references: anchors (A, 4).
        encodings: (B, A, 4).
        scores: (B, A).
        candidates: anchors that enter the suppression.
        count: proposals of each image.
        threshold: IoU of the suppression.

    """
    scores, order = scores.topk(candidates, 1)
    index = order[..., None].expand(-1, -1, 4)
    boxes = decode(references[order], encodings.gather(1, index)).clamp(0, 1)
    rank = torch.arange(candidates, 0, -1.0, device=scores.device).repeat(len(boxes), 1)
    images = torch.arange(len(boxes), device=scores.device)
    chosen = []
    for _ in range(count):
        best = rank.argmax(1)
        chosen.append(best)
        suppressed = overlaps(boxes, boxes[images, best][:, None])[..., 0] > threshold
        # Where too few survive, the best of the others follow.
        rank = torch.where(suppressed & (rank > 0), rank - candidates, rank)
        rank[images, best] = -torch.inf
    kept = torch.stack(chosen, 1)
    return boxes[images[:, None], kept], scores.gather(1, kept)
