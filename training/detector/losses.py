# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Assignments, sampling and losses of the three stages.

Box encodings and assignments follow the published pipeline config of mask_rcnn_inception_v2_coco.
Because the graph always hands on a fixed number of proposals however bad they are, the first stage
learns from all anchors with the focal loss (Lin et al. 2017, arXiv 1708.02002) instead of from 256
random ones, and the second sees the very proposals that cv2.dnn would make. The losses weigh the
same: with the published weights (2, 1, 2, 1, 4) the noise of the masks drowned the rest in a
training from scratch (ranking of regions after 11,000 images: AUC 0.70). An auxiliary per-category
map on the backbone's features (dropped at export) gives every pixel of the data a say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.detector.dataset import UNKNOWN
from training.detector.teacher import ImitationHeads
from training.graph.boxes import covered, encode, overlaps, propose
from training.graph.network import MASK_SIZE
from training.graph.torch_module import MaskRcnnModule, anchors, crop_and_resize


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


class SemanticHead(nn.Module):
    """Per-category logits on the backbone's features, for training alone."""

    def __init__(self, channels: int, categories: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, categories, 1)
        nn.init.normal_(self.conv.weight, std=0.01)
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, -4.0)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, categories, h, w)."""
        return self.conv(features)


class AuxiliaryHeads(nn.Module):
    """All that is trained beside the network and dropped at export.

    Args:
        module: the network.
        categories: of the auxiliary map.
        imitated: channels of the teacher, 0 where there is none.

    """

    def __init__(self, module: MaskRcnnModule, categories: int, imitated: int = 0) -> None:
        super().__init__()
        self.semantic = SemanticHead(module.feature_channels, categories)
        self.imitation = (
            ImitationHeads(module.feature_channels, module.region_channels, imitated)
            if imitated
            else None
        )


def compute_losses(
    module: MaskRcnnModule,
    heads: AuxiliaryHeads,
    batch: Batch,
    settings: LossSettings,
    generator: torch.Generator,
    wanted: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the weighted losses by name; their sum is to be minimised.

    ``wanted`` are the teacher's features of the images, where the heads are made for them.
    """
    height, width = batch.images.shape[2:]
    features = module.backbone(batch.images.float())
    semantic = settings.semantic_weight * _semantic_loss(heads.semantic(features).float(), batch)
    encodings, logits = module.rpn(features)
    rows, columns = features.shape[2:]
    references = anchors(module.config, rows, columns, height, width).to(features.device)
    rpn_score, rpn_box = _first_stage(references, encodings, logits, batch.objects, settings)
    regions = [
        _sample_regions(
            module,
            references,
            encodings[i].detach(),
            logits[i].detach(),
            objects,
            settings,
            generator,
        )
        for i, objects in enumerate(batch.objects)
    ]
    crops = torch.cat(
        [crop_and_resize(features[i : i + 1], r.boxes) for i, r in enumerate(regions)]
    )
    crops = crops * _kept_channels(crops, settings.dropout, generator)
    crops = crops.contiguous(memory_format=torch.channels_last)
    mixed_5c, boxes, scores = module.box_stage(crops)
    class_loss, box_loss, mask_loss = _second_stage(
        module, regions, batch.objects, mixed_5c, boxes, scores
    )
    losses = {
        'rpn_score': settings.rpn_score_weight * rpn_score,
        'rpn_box': settings.rpn_box_weight * rpn_box,
        'class': settings.class_weight * class_loss,
        'box': settings.box_weight * box_loss,
        'mask': settings.mask_weight * mask_loss,
        'semantic': semantic,
    }
    if heads.imitation is not None and wanted is not None:
        losses['imitation'] = settings.imitation_weight * heads.imitation.loss(
            features, mixed_5c, wanted, [region.boxes for region in regions]
        )
    return losses


def _kept_channels(crops: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """Factors (R, C, 1, 1) of dropout by channels, drawn from the step's own generator so that a
    resumed run draws the same.
    """
    drawn = torch.rand((*crops.shape[:2], 1, 1), generator=generator).to(crops)
    return (drawn >= dropout) / (1 - dropout)


def _semantic_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy of each category over the cells where that category is known."""
    categories = torch.arange(1, logits.shape[1] + 1, device=logits.device)[None, :, None, None]
    target = batch.semantic[:, None].long()
    usable = batch.known & (target != UNKNOWN)
    positive = (target == categories) & (target != UNKNOWN)
    usable = usable | positive
    loss = functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction='none')
    # Summed over categories, averaged over cells: rare categories are not drowned by the number of
    # categories.
    return (loss * usable).sum() / usable.any(1).sum().clamp(min=1)


def _first_stage(
    references: Tensor,
    encodings: Tensor,
    logits: Tensor,
    objects: list[Objects],
    settings: LossSettings,
) -> tuple[Tensor, Tensor]:
    score_loss = logits.new_zeros(())
    box_loss = logits.new_zeros(())
    positives = 0
    for i, target in enumerate(objects):
        labels, matches = _assign_anchors(references, target, settings)
        margin = logits[i, :, 1] - logits[i, :, 0]
        usable = labels >= 0
        score_loss = score_loss + _focal_loss(margin[usable], (labels[usable] == 1).float())
        positive = (labels == 1).nonzero()[:, 0]
        positives += len(positive)
        if len(positive):
            wanted = encode(references[positive], target.boxes[matches[positive]])
            box_loss = box_loss + functional.smooth_l1_loss(
                encodings[i, positive], wanted, reduction='sum'
            )
    return score_loss / max(positives, 1), box_loss / max(positives, 1)


def _assign_anchors(
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


def _focal_loss(margin: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(margin, target, reduction='none')
    wrong = (target - margin.sigmoid()).abs()
    return ((alpha * target + (1 - alpha) * (1 - target)) * wrong**gamma * loss).sum()


@dataclass
class _Regions:
    """Sampled regions of one image: objects first."""

    boxes: Tensor
    positives: int
    matches: Tensor


@torch.no_grad()
def _sample_regions(
    module: MaskRcnnModule,
    references: Tensor,
    encodings: Tensor,
    logits: Tensor,
    target: Objects,
    settings: LossSettings,
    generator: torch.Generator,
) -> _Regions:
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
    return _Regions(boxes, len(chosen_positive), matches[chosen_positive])


def _jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator).to(boxes.device)
    return (boxes + 0.07 * sides * noise).clamp(0, 1)


def _choose(candidates: Tensor, most: int, generator: torch.Generator) -> Tensor:
    indices = candidates.nonzero()[:, 0]
    return indices[torch.randperm(len(indices), generator=generator).to(indices.device)[:most]]


def _second_stage(
    module: MaskRcnnModule,
    regions: list[_Regions],
    objects: list[Objects],
    mixed_5c: Tensor,
    boxes: Tensor,
    scores: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    device = scores.device
    labels, encodings, masks, masked = [], [], [], []
    for region, target in zip(regions, objects, strict=True):
        label = torch.zeros(len(region.boxes), dtype=torch.long, device=device)
        positive = region.boxes[: region.positives]
        label[: region.positives] = target.classes[region.matches] + 1
        labels.append(label)
        encodings.append(
            encode(positive, target.boxes[region.matches]) if len(positive) else positive
        )
        masked.append(target.has_mask[region.matches])
        masks.append(_mask_targets(target.masks, region.matches, positive))
    label = torch.cat(labels)
    class_loss = functional.cross_entropy(scores, label) if len(label) else scores.sum() * 0
    positive = (label > 0).nonzero()[:, 0]
    zero = scores.sum() * 0
    if len(positive) == 0:
        return class_loss, zero, zero
    classes = label[positive] - 1
    box_loss = functional.smooth_l1_loss(
        boxes[positive, classes], torch.cat(encodings), reduction='sum'
    ) / len(label)
    with_mask = torch.cat(masked).nonzero()[:, 0]
    if len(with_mask) == 0:
        return class_loss, box_loss, zero
    logits = module.mask_stage(mixed_5c[positive[with_mask]])[
        torch.arange(len(with_mask)), classes[with_mask]
    ]
    mask_loss = functional.binary_cross_entropy_with_logits(logits, torch.cat(masks)[with_mask])
    return class_loss, box_loss, mask_loss


def _mask_targets(masks: Tensor, matches: Tensor, boxes: Tensor) -> Tensor:
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
