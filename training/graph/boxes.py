# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Boxes in PyTorch: encoding, overlap, non-maximum suppression, proposals. All boxes are x1 y1 x2
y2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.graph.config import NetworkConfig
from training.graph.seams import BOX_VARIANCES

_VY, _VX, _VH, _VW = BOX_VARIANCES
_MIN_SIDE = 1e-4


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        (boxes[:, 0] + boxes[:, 2]) / 2,
        (boxes[:, 1] + boxes[:, 3]) / 2,
        boxes[:, 2] - boxes[:, 0],
        boxes[:, 3] - boxes[:, 1],
    )


def decode(references: Tensor, encodings: Tensor) -> Tensor:
    """Boxes (N, 4) from reference boxes and encodings (ty, tx, th, tw), as both DetectionOutput
    layers do.
    """
    x, y, w, h = _centre_size(references)
    ty, tx, th, tw = encodings.unbind(1)
    x, y = x + tx * _VX * w, y + ty * _VY * h
    # exp of an untrained encoding may overflow; cv2.dnn clips the box to the image afterwards all
    # the same.
    w, h = w * (tw * _VW).clamp(max=20).exp() / 2, h * (th * _VH).clamp(max=20).exp() / 2
    return torch.stack([x - w, y - h, x + w, y + h], 1)


def encode(references: Tensor, boxes: Tensor) -> Tensor:
    """Inverse of :func:`decode`."""
    x, y, w, h = _centre_size(references)
    bx, by, bw, bh = _centre_size(boxes)
    w, h, bw, bh = (v.clamp(min=_MIN_SIDE) for v in (w, h, bw, bh))
    return torch.stack(
        [(by - y) / h / _VY, (bx - x) / w / _VX, (bh / h).log() / _VH, (bw / w).log() / _VW], 1
    )


def _intersections(a: Tensor, b: Tensor) -> Tensor:
    top_left = torch.max(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.min(a[:, None, 2:], b[None, :, 2:])
    return (bottom_right - top_left).clamp(min=0).prod(-1)


def areas(boxes: Tensor) -> Tensor:
    """Areas (N,)."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (N, M)."""
    both = _intersections(a, b)
    return both / (areas(a)[:, None] + areas(b)[None] - both).clamp(min=1e-9)


def covered(a: Tensor, b: Tensor) -> Tensor:
    """Share (N, M) of each box in ``a`` that lies in each box of ``b``."""
    return _intersections(a, b) / areas(a)[:, None].clamp(min=1e-9)


def suppress(boxes: Tensor, threshold: float, limit: int) -> Tensor:
    """Greedy non-maximum suppression of boxes sorted by falling score; stops at ``limit``
    survivors.

    Returns:
        Indices of the survivors, int64.

    """
    x1, y1, x2, y2 = boxes.cpu().numpy().T
    area = (x2 - x1) * (y2 - y1)
    alive = np.ones(len(area), bool)
    kept: list[int] = []
    for i in range(len(area)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == limit:
            break
        w = np.minimum(x2[i], x2) - np.maximum(x1[i], x1)
        h = np.minimum(y2[i], y2) - np.maximum(y1[i], y1)
        both = np.clip(w, 0, None) * np.clip(h, 0, None)
        alive &= both <= threshold * (area[i] + area - both)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def propose(config: NetworkConfig, references: Tensor, encodings: Tensor, scores: Tensor) -> Tensor:
    """The regions (proposals, 4) that cv2.dnn's first stage hands on for one image.

    Args:
        config: the network.
        references: anchors (A, 4), fractions of the image.
        encodings: (A, 4).
        scores: foreground scores (A,).

    """
    count = min(config.rpn_candidates, len(scores))
    order = scores.argsort(descending=True, stable=True)[:count]
    boxes = decode(references[order], encodings[order]).clamp(0, 1)
    return boxes[suppress(boxes, config.rpn_nms_threshold, config.proposals)]
