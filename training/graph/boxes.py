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
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def decode(references: Tensor, encodings: Tensor, largest_log: float = 20.0) -> Tensor:
    """Boxes (..., 4) from reference boxes and encodings (ty, tx, th, tw), as both DetectionOutput
    layers do.

    Args:
        references: (..., 4).
        encodings: (..., 4).
        largest_log: of a box's growth: exp of an untrained encoding may overflow; cv2.dnn clips
            the box to the image afterwards all the same.

    """
    x, y, w, h = _centre_size(references)
    ty, tx, th, tw = encodings.unbind(-1)
    x, y = x + tx * _VX * w, y + ty * _VY * h
    w = w * (tw * _VW).clamp(max=largest_log).exp() / 2
    h = h * (th * _VH).clamp(max=largest_log).exp() / 2
    return torch.stack([x - w, y - h, x + w, y + h], -1)


def encode(references: Tensor, boxes: Tensor) -> Tensor:
    """Inverse of :func:`decode`."""
    x, y, w, h = _centre_size(references)
    bx, by, bw, bh = _centre_size(boxes)
    w, h, bw, bh = (v.clamp(min=_MIN_SIDE) for v in (w, h, bw, bh))
    return torch.stack(
        [(by - y) / h / _VY, (bx - x) / w / _VX, (bh / h).log() / _VH, (bw / w).log() / _VW], 1
    )


def areas(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def intersections(a: Tensor, b: Tensor) -> Tensor:
    """Areas (..., N, M) that the boxes of ``a`` (..., N, 4) and ``b`` (..., M, 4) share."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return width.clamp(min=0) * height.clamp(min=0)


def overlaps(a: Tensor, b: Tensor, least_union: float = 1e-9) -> Tensor:
    """Intersection over union (..., N, M); a smaller union counts as ``least_union``."""
    both = intersections(a, b)
    union = areas(a)[..., :, None] + areas(b)[..., None, :] - both
    return both / union.clamp(min=least_union)


def covered(a: Tensor, b: Tensor) -> Tensor:
    """Share (N, M) of each box in ``a`` that lies in each box of ``b``."""
    return intersections(a, b) / areas(a)[:, None].clamp(min=1e-9)


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
