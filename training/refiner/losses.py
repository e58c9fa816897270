# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a refined mask is judged by in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LossSettings:
    """Weights of the parts.

    Attributes:
        sizes: of the logits at full size, 1/2 and 1/4.
        boundary: how much more pixels near the true outline count.
        clutter: of what is taken in away from the object, relative to its area.
        adversarial: of the discriminator's verdict.
        matching: of the difference between the discriminator's features.
    """

    sizes: tuple[float, float, float] = (1.0, 0.3, 0.2)
    boundary: float = 4.0
    clutter: float = 0.5
    adversarial: float = 0.02
    matching: float = 0.5


def mask_loss(logits: Sequence[Tensor], truth: Tensor, settings: LossSettings) -> Tensor:
    """Return cross-entropy and Dice loss of all sizes, and clutter at full size.

    Args:
        logits: float32 (N, 1, H, W), and of 1/2 and 1/4 of that size.
        truth: float32 (N, 1, H, W), 0 to 1.
        settings: the weights.

    """
    total = settings.clutter * _clutter(torch.sigmoid(logits[0]), truth)
    for i, (weight, logit) in enumerate(zip(settings.sizes, logits, strict=True)):
        wanted = functional.avg_pool2d(truth, 2**i) if i else truth
        total = total + weight * _overlap(logit, wanted, settings.boundary)
    return total


def _overlap(logit: Tensor, truth: Tensor, boundary: float) -> Tensor:
    weight = 1 + boundary * functional.avg_pool2d(_band(truth, 3), 5, 1, 2)
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, reduction='none')
    mask = torch.sigmoid(logit)
    common = (mask * truth * weight).sum((1, 2, 3))
    both = ((mask + truth) * weight).sum((1, 2, 3))
    dice = 1 - (2 * common + 1) / (both + 1)
    return (entropy * weight).sum() / weight.sum() + dice.mean()


def _clutter(mask: Tensor, truth: Tensor) -> Tensor:
    """Area outside the object and its outline, over the area of the object."""
    near = functional.max_pool2d((truth > 0.1).float(), 5, 1, 2)
    outside = (mask * (1 - near)).sum((1, 2, 3))
    return (outside / truth.sum((1, 2, 3)).clamp(min=16.0)).clamp(max=2.0).mean()


def _band(truth: Tensor, radius: int) -> Tensor:
    """1 within ``radius`` pixels of the outline, else 0."""
    inside = (truth > 0.5).float()
    size = 2 * radius + 1
    return functional.max_pool2d(inside, size, 1, radius) + functional.max_pool2d(
        -inside, size, 1, radius
    )


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss (Lim and Ye 2017) of its verdicts."""
    return torch.stack(
        [functional.relu(1 - r).mean() + functional.relu(1 + f).mean()
         for r, f in zip(real, fake, strict=True)]
    ).mean()  # fmt: skip


def generator_loss(
    verdicts: Sequence[Tensor],
    features: Sequence[Tensor],
    real_features: Sequence[Tensor],
    settings: LossSettings,
) -> Tensor:
    """Return what the discriminator has against the generator's masks."""
    verdict = -torch.stack([v.mean() for v in verdicts]).mean()
    matching = torch.stack(
        [
            functional.l1_loss(ours, theirs.detach())
            for ours, theirs in zip(features, real_features, strict=True)
        ]
    ).mean()
    return settings.adversarial * verdict + settings.matching * matching
