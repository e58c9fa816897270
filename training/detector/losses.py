# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Losses of the three stages; ``targets`` assigns and samples.

Box encodings and assignments follow the published pipeline config of mask_rcnn_inception_v2_coco.
Because the graph always hands on a fixed number of proposals however bad they are, the first stage
learns from all anchors with the focal loss (Lin et al. 2017, arXiv 1708.02002) instead of from 256
random ones, and the second sees the very proposals that cv2.dnn would make. The losses weigh the
same: with the published weights (2, 1, 2, 1, 4) the noise of the masks drowned the rest in a
training from scratch (ranking of regions after 11,000 images: AUC 0.70). An auxiliary per-category
map on the backbone's features (dropped at export) gives every pixel of the data a say.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.detector.dataset import UNKNOWN
from training.detector.targets import (
    Batch,
    LossSettings,
    Objects,
    Regions,
    assign_anchors,
    mask_targets,
    sample_regions,
)
from training.detector.teacher import ImitationHeads
from training.graph.boxes import encode
from training.graph.torch_module import MaskRcnnModule, anchors, crop_and_resize


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
        sample_regions(
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
        labels, matches = assign_anchors(references, target, settings)
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


def _focal_loss(margin: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(margin, target, reduction='none')
    wrong = (target - margin.sigmoid()).abs()
    return ((alpha * target + (1 - alpha) * (1 - target)) * wrong**gamma * loss).sum()


def _second_stage(
    module: MaskRcnnModule,
    regions: list[Regions],
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
        masks.append(mask_targets(target.masks, region.matches, positive))
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
