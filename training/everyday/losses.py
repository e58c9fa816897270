# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Losses of both stages on whole batches, for photos that are labelled in part.

A region without an object is a negative for the classes that are known in its photo and, where a
class is known but for some places (half seen by the teacher, a crowd), for no class that may be
there. The first stage's negatives lie outside of everything that may be an object. Masks learn
where there are masks and, if wanted, from boxes.

The first stage's score is the overlap of its box with the object (Li et al. 2020, arXiv
2006.04388), learnt from all anchors; the second sees the proposals that cv2.dnn would make, because
there always is the same number of them, however bad they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.everyday.box_masks import box_mask_losses
from training.everyday.boxes import decode, paired_overlaps, propose
from training.everyday.network import MASK_SIZE, EverydayNetwork, anchor_boxes, crop
from training.everyday.views import ANY_CATEGORY, IGNORED, OBJECT, Labels, mask_targets
from training.graph.boxes import areas, intersections

_FORBIDDEN = -1e4


@dataclass(frozen=True)
class LossSettings:
    """Thresholds (IoU), counts and weights.

    Attributes:
        anchor_positive, anchor_negative: an anchor is an object above the one, background below
            the other.
        anchor_best: an anchor also is an object's where its overlap is this share of the best.
        region_positive: the same for the regions of the second stage.
        ignore_coverage: a negative that lies so far within an ignored region is left out.
        anchors_in_full: an object with more anchors counts as the root of their number, or large
            objects would count for all.
        jittered: regions per image that are objects' boxes, moved a little.
        masks: regions of an image, on average, that learn masks at most.
        box_masks: the same where the object has a box alone; 0: none does.
        proposed: categories whose objects the first stage proposes; others are background to it.
            Empty: all.
        refined: whether a region's class is that of its refined box, which is what is reported.
    """

    anchor_positive: float = 0.5
    anchor_negative: float = 0.4
    anchor_best: float = 0.9
    region_positive: float = 0.5
    ignore_coverage: float = 0.5
    jittered: int = 12
    anchors_in_full: float = 8.0
    jitter: float = 0.08
    masks: int = 7
    box_masks: int = 0
    rpn_score_weight: float = 1.0
    rpn_box_weight: float = 1.0
    class_weight: float = 1.5
    box_weight: float = 1.0
    mask_weight: float = 1.0
    box_mask_weight: float = 0.5
    proposed: tuple[int, ...] = ()
    refined: bool = False


def loss_names(settings: LossSettings) -> tuple[str, ...]:
    """Return the names of the losses that :func:`compute_losses` gives."""
    names = 'rpn_score', 'rpn_box', 'class', 'box', 'mask'
    return (*names, 'projection', 'affinity') if settings.box_masks else names


def compute_losses(
    network: EverydayNetwork,
    levels: tuple[Tensor, ...],
    labels: Labels,
    masks: Tensor,
    settings: LossSettings,
    generator: torch.Generator,
    images: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the weighted losses by name.

    Args:
        network: the network.
        levels: its features of the images.
        labels: of the images.
        masks: table of masks (M, 1, s, s), 0 to 1 or 0 to 255 as :func:`mask_targets` takes them.
        settings: how.
        generator: of the device.
        images: RGB (B, 3, H, W), 0 to 255; needed where masks learn from boxes.

    """
    features = levels[0]
    losses, proposals = first_stage_losses_and_proposals(network, features, labels, settings)
    regions, usable = _with_objects(proposals, labels, settings, generator)
    inner = network.regions(crop(features, regions))
    boxes, scores = network.second_stage(inner)
    losses |= second_stage_losses(
        network, regions, usable, inner, boxes, scores, labels, masks, settings, generator, images
    )
    return losses


def first_stage_losses_and_proposals(
    network: EverydayNetwork, features: Tensor, labels: Labels, settings: LossSettings
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the weighted losses of the first stage, and its proposals (B, R, 4).

    Args:
        network: the network.
        features: of stride 8 (B, C, H, W).
        labels: of the images.
        settings: how.

    """
    encodings, logits = network.first_stage(features)
    references = anchor_boxes(network.config, *features.shape[2:]).to(features.device)
    margin = logits[..., 1] - logits[..., 0]
    proposed = labels.of_categories(settings.proposed) if settings.proposed else labels
    score_loss, box_loss = first_stage_losses(references, encodings, margin, proposed, settings)
    config = network.config
    proposals, _ = propose(
        references,
        encodings.detach(),
        margin.detach(),
        min(config.rpn_candidates, margin.shape[1]),
        config.proposals,
        config.rpn_nms_threshold,
    )
    return {
        'rpn_score': settings.rpn_score_weight * score_loss,
        'rpn_box': settings.rpn_box_weight * box_loss,
    }, proposals


def first_stage_losses(
    references: Tensor, encodings: Tensor, margin: Tensor, labels: Labels, settings: LossSettings
) -> tuple[Tensor, Tensor]:
    """Losses of scores and boxes of the anchors (A, 4): encodings (B, A, 4), margin (B, A)."""
    positive, usable, matches, weight = _assigned(references, labels, settings)
    image, anchor = positive.nonzero(as_tuple=True)
    target = torch.zeros_like(margin)
    matched = matches[image, anchor]
    wanted = labels.boxes[image, matched]
    decoded = decode(references[anchor], encodings[image, anchor])
    iou, giou = paired_overlaps(decoded, wanted)
    target[image, anchor] = iou.detach().clamp(0.05, 1)
    loss = functional.binary_cross_entropy_with_logits(margin, target, reduction='none')
    loss = loss * (target - margin.detach().sigmoid()) ** 2 * usable * weight
    certain = weight[image, anchor]
    count = certain.sum().clamp(min=1)
    return loss.sum() / count, ((1 - giou) * certain).sum() / count


def _assigned(
    references: Tensor, labels: Labels, settings: LossSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do ``assign_anchors``, on a processor image by image: most have few objects, and a batch is
    padded to the one with the most.
    """
    if references.device.type != 'cpu':
        return assign_anchors(references, labels, settings)
    each = [
        assign_anchors(references, labels.of_image(i), settings) for i in range(len(labels.kind))
    ]
    positive, usable, matches, weight = (torch.cat(parts) for parts in zip(*each, strict=True))
    return positive, usable, matches, weight


@torch.no_grad()
def assign_anchors(
    references: Tensor, labels: Labels, settings: LossSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which anchors (B, A) are objects, which may be used at all, whose they are, and how much
    they count.
    """
    objects = (labels.kind == OBJECT)[:, None, :]
    both = intersections(references[None], labels.boxes)
    area = areas(references)[None, :, None]
    iou = both / (area + areas(labels.boxes)[:, None, :] - both).clamp(min=1e-6) * objects
    best, matches = iou.max(2)
    top = iou.max(1, keepdim=True).values
    own = ((iou >= settings.anchor_best * top) & (top > 0.1) & objects).float() * iou
    best_own, own_matches = own.max(2)
    positive = (best >= settings.anchor_positive) | (best_own > 0)
    matches = torch.where(best_own > 0, own_matches, matches)
    ignored = (labels.kind == IGNORED)[:, None, :]
    within = (both / area.clamp(min=1e-6) * ignored).amax(2) > settings.ignore_coverage
    alike = (both / (area + areas(labels.boxes)[:, None, :] - both).clamp(min=1e-6) * ignored).amax(
        2
    ) > 0.3
    negative = (best < settings.anchor_negative) & ~within & ~alike
    # Where not every class is known, whatever is not labelled may be an object.
    negative &= labels.known.all(1)[:, None]
    anchors = torch.zeros_like(labels.weight).scatter_add_(1, matches, positive.float())
    of_each = labels.weight * (settings.anchors_in_full / anchors.clamp(min=1)).sqrt().clamp(max=1)
    weight = torch.where(positive, of_each.gather(1, matches), 1.0)
    return positive, positive | negative, matches, weight


@torch.no_grad()
def _with_objects(
    proposals: Tensor, labels: Labels, settings: LossSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Regions (B, R, 4): proposals and some objects' boxes, moved; and which of them count."""
    device = proposals.device
    draw = torch.rand(labels.kind.shape, device=device, generator=generator)
    draw = draw + (labels.kind != OBJECT) * 2
    chosen = draw.argsort(1)[:, : settings.jittered]
    there = labels.kind.gather(1, chosen) == OBJECT
    boxes = labels.boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    noise = torch.randn(boxes.shape, device=device, generator=generator) * settings.jitter
    moved = (boxes + noise * sides).clamp(0, 1)
    regions = torch.cat([proposals, moved], 1)
    usable = torch.cat([torch.ones(proposals.shape[:2], dtype=torch.bool, device=device), there], 1)
    return regions, usable & (areas(regions) > 0)


def second_stage_losses(
    network: EverydayNetwork,
    regions: Tensor,
    usable: Tensor,
    inner: Tensor,
    boxes: Tensor,
    scores: Tensor,
    labels: Labels,
    masks: Tensor,
    settings: LossSettings,
    generator: torch.Generator,
    images: Tensor | None = None,
) -> dict[str, Tensor]:
    """Losses of classes, boxes and masks of regions (B, R, 4); inner, boxes and scores have a row
    for each.
    """
    target, allowed, counts, matches = assign_regions(regions, labels, settings)
    counts = (counts * usable).flatten()
    called, called_counts = target, counts
    if settings.refined:
        refined = decode(regions, boxes.detach().reshape(regions.shape)).clamp(0, 1)
        called, allowed, called_counts, _ = assign_regions(refined, labels, settings)
        called_counts = (called_counts * usable).flatten()
    scores = scores.masked_fill(~allowed.flatten(0, 1), _FORBIDDEN)
    loss = functional.cross_entropy(scores, called.flatten(), reduction='none')
    class_loss = (loss * called_counts).sum() / called_counts.sum().clamp(min=1)
    rows = ((target.flatten() > 0) & (counts > 0)).nonzero()[:, 0]
    image = rows // regions.shape[1]
    matched = matches.flatten()[rows]
    flat = regions.flatten(0, 1)[rows]
    certain = labels.weight[image, matched]
    _, giou = paired_overlaps(decode(flat, boxes[rows]), labels.boxes[image, matched])
    box_loss = ((1 - giou) * certain).sum() / certain.sum().clamp(min=1)
    losses = {
        'class': settings.class_weight * class_loss,
        'box': settings.box_weight * box_loss,
        'mask': scores.new_zeros(()),
    }
    # Masks: some of the regions whose object has one.
    table_rows = labels.mask[image, matched]
    picked = _some(table_rows >= 0, settings.masks * len(regions), generator)
    if len(picked):
        predicted = network.masks(inner[rows[picked]])
        wanted = mask_targets(
            masks,
            table_rows[picked],
            labels.flipped[image, matched][picked],
            labels.whole[image, matched][picked],
            flat[picked],
            MASK_SIZE,
        )
        mask_loss = functional.binary_cross_entropy_with_logits(predicted, wanted)
        losses['mask'] = settings.mask_weight * mask_loss
    if settings.box_masks and images is not None:
        losses |= {'projection': scores.new_zeros(()), 'affinity': scores.new_zeros(())}
        # What the teacher alone saw has no exact box.
        labelled = (table_rows < 0) & (certain == 1)
        picked = _some(labelled, settings.box_masks * len(regions), generator)
        if len(picked):
            projection, affinity = box_mask_losses(
                network.masks(inner[rows[picked]]),
                flat[picked],
                labels.boxes[image, matched][picked],
                images,
                image[picked],
            )
            losses['projection'] = settings.box_mask_weight * projection
            losses['affinity'] = settings.box_mask_weight * affinity
    return losses


def _some(usable: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return random positions of usable entries, ``most`` at most; on a GPU always as many, some of
    them twice, because other sizes cost it time.
    """
    positions = usable.nonzero()[:, 0]
    if not len(positions):
        return positions
    order = torch.randperm(len(positions), device=usable.device, generator=generator)
    if usable.device.type == 'cuda':
        order = order.repeat(-(-most // len(order)))
    return positions[order[:most]]


@torch.no_grad()
def assign_regions(
    regions: Tensor, labels: Labels, settings: LossSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What regions (B, R, 4) are to become.

    Returns:
        Class (B, R), 0 for background; which classes it may be called (B, R, 1 + K), the others
        are left out of the sum that scores are shares of; how much it counts (B, R); the matched
        object (B, R).

    """
    both = intersections(regions, labels.boxes)
    area = areas(regions)[..., None]
    iou = both / (area + areas(labels.boxes)[:, None, :] - both).clamp(min=1e-6)
    inside = both / area.clamp(min=1e-6)
    best, matches = (iou * (labels.kind == OBJECT)[:, None, :]).max(2)
    positive = best >= settings.region_positive
    category = labels.category.gather(1, matches)
    target = torch.where(positive, category + 1, 0)
    ignored = (labels.kind == IGNORED)[:, None, :] & (
        (inside > settings.ignore_coverage) | (iou > 0.3)
    )
    anything = (ignored & (labels.category == ANY_CATEGORY)[:, None, :]).any(2)
    possible = torch.zeros(*target.shape, labels.known.shape[1], device=regions.device)
    at = labels.category.clamp(min=0)[:, None, :].expand_as(ignored)
    possible.scatter_add_(2, at, (ignored & (labels.category >= 0)[:, None, :]).float())
    allowed = (possible == 0) & labels.known[:, None, :]
    allowed = allowed | positive[..., None]
    allowed = torch.cat([torch.ones_like(allowed[..., :1]), allowed], 2)
    weight = torch.where(positive, labels.weight.gather(1, matches), 1.0)
    return target, allowed, weight * (positive | ~anything), matches
