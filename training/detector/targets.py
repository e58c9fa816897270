# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What anchors and regions are to become: batches with their objects, assignment, sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.graph.boxes import covered, overlaps, propose
from training.graph.network import MASK_SIZE
from training.graph.torch_module import MaskRcnnModule


@dataclass(frozen=True)
class LossSettings:
    """Thresholds (IoU), counts and weights.

    Attributes:
        anchor_positive, anchor_negative: an anchor is an object above the one, background below
            the other.
        region_positive: the same for the regions of the second stage.
        regions: regions per image in the second stage, of which at most ``positive_share`` are
            objects.
        ignore_coverage: a negative that lies so far within an ignored region is left out.
        dropout: share of the features' channels that the second stage has to do without.
    """

    anchor_positive: float = 0.5
    anchor_negative: float = 0.4
    region_positive: float = 0.5
    regions: int = 24
    positive_share: float = 0.34
    ignore_coverage: float = 0.5
    dropout: float = 0.1
    rpn_box_weight: float = 0.25
    rpn_score_weight: float = 1.0
    box_weight: float = 1.0
    class_weight: float = 1.0
    mask_weight: float = 1.0
    semantic_weight: float = 0.5
    imitation_weight: float = 2.0


@dataclass
class Objects:
    """Targets of one image: boxes as fractions of the image, masks as (N, H / 2, W / 2) uint8."""

    boxes: Tensor
    classes: Tensor
    masks: Tensor
    has_mask: Tensor
    ignored: Tensor
    complete: bool


@dataclass
class Batch:
    """Images (B, 3, H, W) uint8 RGB and their targets; semantic (B, h, w) uint8, known (B,
    categories, h, w) bool.
    """

    images: Tensor
    objects: list[Objects]
    semantic: Tensor
    known: Tensor


def assign_anchors(
    references: Tensor, target: Objects, settings: LossSettings
) -> tuple[Tensor, Tensor]:
    """Label (1 object, 0 background, -1 neither) and index of the matched object for every
    anchor.
    """
    labels = torch.zeros(len(references), dtype=torch.long, device=references.device)
    matches = torch.zeros_like(labels)
    if not target.complete:
        labels[:] = -1
    if len(target.boxes):
        iou = overlaps(references, target.boxes)
        best, matches = iou.max(1)
        labels[best >= settings.anchor_negative] = -1
        labels[best >= settings.anchor_positive] = 1
        # Every object keeps its best anchors, as in the published assigner.
        top = iou.max(0).values
        forced = (iou >= top - 1e-4) & (top > 0.15)
        rows, columns = forced.nonzero(as_tuple=True)
        labels[rows], matches[rows] = 1, columns
    labels[(labels == 0) & _within(references, target.ignored, settings)] = -1
    return labels, matches


def _within(boxes: Tensor, ignored: Tensor, settings: LossSettings) -> Tensor:
    if len(ignored) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return covered(boxes, ignored).max(1).values > settings.ignore_coverage


@dataclass
class Regions:
    """Sampled regions of one image: objects first."""

    boxes: Tensor
    positives: int
    matches: Tensor


@torch.no_grad()
def sample_regions(
    module: MaskRcnnModule,
    references: Tensor,
    encodings: Tensor,
    logits: Tensor,
    target: Objects,
    settings: LossSettings,
    generator: torch.Generator,
) -> Regions:
    regions = propose(module.config, references, encodings, logits[:, 1] - logits[:, 0])
    if len(target.boxes):
        regions = torch.cat(
            [target.boxes, _jittered(target.boxes.repeat(2, 1), generator), regions]
        )
        best, matches = overlaps(regions, target.boxes).max(1)
    else:
        best = torch.zeros(len(regions), device=regions.device)
        matches = torch.zeros(len(regions), dtype=torch.long, device=regions.device)
    positive = best >= settings.region_positive
    negative = ~positive & ~_within(regions, target.ignored, settings)
    if not target.complete:
        negative &= False
    most = int(settings.regions * settings.positive_share)
    chosen_positive = _choose(positive, most, generator)
    chosen_negative = _choose(negative, settings.regions - len(chosen_positive), generator)
    boxes = regions[torch.cat([chosen_positive, chosen_negative])]
    return Regions(boxes, len(chosen_positive), matches[chosen_positive])


def _jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator).to(boxes.device)
    return (boxes + 0.07 * sides * noise).clamp(0, 1)


def _choose(candidates: Tensor, most: int, generator: torch.Generator) -> Tensor:
    indices = candidates.nonzero()[:, 0]
    return indices[torch.randperm(len(indices), generator=generator).to(indices.device)[:most]]


def mask_targets(masks: Tensor, matches: Tensor, boxes: Tensor) -> Tensor:
    """Sample the matched masks on the 15x15 grid of each box: probabilities (R, 15, 15)."""
    if len(boxes) == 0:
        return boxes.new_zeros(0, MASK_SIZE, MASK_SIZE)
    steps = (torch.arange(MASK_SIZE, device=boxes.device) + 0.5) / MASK_SIZE
    x = boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    shape = len(boxes), MASK_SIZE, MASK_SIZE
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1) * 2 - 1
    return functional.grid_sample(masks[matches, None].float() / 255, grid, align_corners=False)[
        :, 0
    ].clamp(0, 1)
