# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A detector that has seen more, to learn from: YOLOX (Ge et al. 2021, arXiv 2107.08430) in ncnn's
format.

It says for every view what its features of three strides are and which classes it sees where, and
for photos that are labelled in part what is likely there beside the labels. Nothing of its weights
gets into the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from training.everyday.boxes import overlaps, survivors
from training.everyday.ncnn_reader import NcnnModule
from training.everyday.views import ANY_CATEGORY, IGNORED, OBJECT, Labels, whole_view
from training.graph.boxes import areas, intersections

STRIDES = (8, 16, 32)
CHANNELS = 64
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_SURE, _HALF_SURE = 0.4, 0.12


@dataclass(frozen=True)
class Vision:
    """What the teacher makes of a batch.

    Attributes:
        features: (B, 64, S / stride, S / stride) for each stride, of what its heads read.
        scores: (B, K, ...) for each stride, 0 to 1.
        boxes: (B, A, 4) pixels, all strides.
    """

    features: list[Tensor]
    scores: list[Tensor]
    boxes: Tensor


class Teacher:
    """The network and how it is fed."""

    def __init__(self, description: Path, weights: Path, device: torch.device) -> None:
        self._network = NcnnModule(description, weights).to(device).eval()
        self._stems = _stem_outputs(self._network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Vision:
        """Look at images (B, 3, S, S), RGB 0 to 255, S a multiple of 32."""
        mean = torch.tensor(_MEAN, device=images.device)[:, None, None]
        deviation = torch.tensor(_DEVIATION, device=images.device)[:, None, None]
        x = (images / 255 - mean) / deviation
        x = torch.cat(
            [x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]], 1
        )
        output, *features = self._network(x, ['output', *self._stems])
        output = output.float()
        scores, boxes, start = [], [], 0
        for stride, feature in zip(STRIDES, features, strict=True):
            rows, columns = feature.shape[2:]
            part = output[:, start : start + rows * columns]
            start += rows * columns
            likely = part[..., 4:5] * part[..., 5:]
            scores.append(likely.transpose(1, 2).unflatten(2, (rows, columns)))
            cells = torch.stack(
                torch.meshgrid(
                    torch.arange(columns, device=images.device),
                    torch.arange(rows, device=images.device),
                    indexing='xy',
                ),
                -1,
            ).reshape(-1, 2)
            centre = (part[..., :2] + cells) * stride
            half = part[..., 2:4].clamp(max=8).exp() * stride / 2
            boxes.append(torch.cat([centre - half, centre + half], -1))
        return Vision(features, scores, torch.cat(boxes, 1))

    def count_classes(self, device: torch.device) -> int:
        """Return how many classes it knows."""
        return self(torch.zeros(1, 3, 64, 64, device=device)).scores[0].shape[1]


def _stem_outputs(network: NcnnModule) -> list[str]:
    """Names of what the heads of each stride read: two depthwise convolutions of the head follow
    the same blob.
    """
    readers: dict[str, list[str]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer.kind)
    split = {layer.inputs[0]: layer.outputs for layer in network.layers if layer.kind == 'Split'}
    found = [
        name
        for name, outputs in split.items()
        if [readers[o][0] for o in outputs] == ['ConvolutionDepthWise'] * 2
    ]
    if len(found) != len(STRIDES):
        raise ValueError(f'the teacher has {len(found)} heads: expected {len(STRIDES)}')
    return found


@torch.no_grad()
def completed_labels(
    teacher: Teacher, photos: Tensor, sizes: Tensor, labels: Labels, room: int, batch: int = 64
) -> Labels:
    """Labels with what the teacher sees beside them, in the classes that are not complete.

    What it is sure of counts as an object, with its score as the weight; what it half sees is
    ignored; of the rest it is taken that it is not there. It looks at each photo at two scales and
    in a mirror, and a score is the mean of the three.

    Args:
        teacher: the teacher.
        photos: uint8 (N, 3, S, S).
        sizes: (N, 2).
        labels: of the photos.
        room: objects that a photo has at most; labels come before what the teacher sees.
        batch: photos at a time.

    """
    parts = []
    for start in range(0, len(photos), batch):
        index = torch.arange(start, min(start + batch, len(photos)), device=photos.device)
        boxes, category, score = _seen(teacher, photos, sizes, index)
        parts.append(_beside(labels[index], boxes, category, score, room))
    return Labels(**{name: torch.cat([getattr(p, name) for p in parts]) for name in vars(parts[0])})


def _seen(
    teacher: Teacher, photos: Tensor, sizes: Tensor, index: Tensor, most: int = 100
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, 3 * most, 4) in fractions of the photos, categories and mean scores (B, .)."""
    looks = []
    for longest, mirrored in ((416, False), (416, True), (576, False)):
        image = whole_view(photos, sizes, index, longest, longest)
        vision = teacher(image.flip(3) if mirrored else image)
        scores = torch.cat([s.flatten(2) for s in vision.scores], 2).transpose(1, 2)
        best, category = scores.max(2)
        top, order = best.topk(4 * most, 1)
        boxes = vision.boxes.gather(1, order[..., None].expand(-1, -1, 4))
        if mirrored:
            boxes = torch.stack(
                [longest - boxes[..., 2], boxes[..., 1], longest - boxes[..., 0], boxes[..., 3]], -1
            )
        height, width = sizes[index].float().unbind(1)
        scale = longest / torch.maximum(height, width)
        shape = torch.stack([width, height, width, height], 1) * scale[:, None]
        boxes = (boxes / shape[:, None]).clamp(0, 1)
        category = category.gather(1, order)
        keep = survivors(boxes + category[..., None] * 2.0, 0.6)
        top = torch.where(keep, top, 0.0)
        top, order = top.topk(most, 1)
        looks.append(
            (boxes.gather(1, order[..., None].expand(-1, -1, 4)), category.gather(1, order), top)
        )
    boxes, category, score = (torch.cat([look[i] for look in looks], 1) for i in range(3))
    same = (overlaps(boxes, boxes) > 0.5) & (category[:, :, None] == category[:, None, :])
    agreeing = torch.where(same, score[:, None, :], 0.0).unflatten(2, (len(looks), most))
    # A poor box beside a good one gets no more than a little of its score.
    mean = torch.minimum(agreeing.max(3).values.mean(2), 1.2 * score)
    order = mean.argsort(dim=1, descending=True)
    boxes, category = boxes.gather(1, order[..., None].expand(-1, -1, 4)), category.gather(1, order)
    mean = mean.gather(1, order)
    keep = survivors(boxes + category[..., None] * 2.0, 0.55)
    return boxes, category, torch.where(keep, mean, 0.0)


def _beside(labels: Labels, boxes: Tensor, category: Tensor, score: Tensor, room: int) -> Labels:
    known = labels.known.gather(1, category)
    there = (labels.kind != 0)[:, None, :]
    same = (labels.category[:, None, :] == category[..., None]) | (
        labels.category[:, None, :] == ANY_CATEGORY
    )
    iou = overlaps(boxes, labels.boxes) * there
    inside = intersections(boxes, labels.boxes) / areas(boxes).clamp(min=1e-6)[..., None] * there
    labelled = ((iou > 0.4) & same).any(2) | (iou > 0.75).any(2)
    labelled |= ((inside > 0.6) & same & (labels.kind == IGNORED)[:, None, :]).any(2)
    useful = ~known & ~labelled & (score >= _HALF_SURE)
    kind = torch.where(score >= _SURE, OBJECT, IGNORED) * useful
    count = boxes.shape[:2]
    added = Labels(
        boxes=boxes,
        whole=boxes,
        category=category,
        kind=kind,
        weight=(score * 1.25).clamp(max=1),
        mask=torch.full(count, -1, device=boxes.device),
        flipped=torch.zeros(count, dtype=torch.bool, device=boxes.device),
        known=labels.known,
    )
    joined = {
        name: torch.cat([getattr(labels, name), getattr(added, name)], 1)
        for name in vars(labels)
        if name != 'known'
    }
    order = (joined['kind'] == 0).int().argsort(dim=1, stable=True)[:, :room]
    cut = {
        name: value.gather(1, order if value.dim() == 2 else order[..., None].expand(-1, -1, 4))
        for name, value in joined.items()
    }
    # Whatever else there was, the teacher would have seen it.
    return replace(Labels(**cut, known=labels.known), known=torch.ones_like(labels.known))


class ImitationHeads(torch.nn.Module):
    """Say from the network's features what the teacher's are, and which classes it sees; for
    training alone.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = torch.nn.ModuleList(torch.nn.Conv2d(channels, CHANNELS, 1) for _ in STRIDES)
        self.classes = torch.nn.ModuleList(torch.nn.Conv2d(channels, classes, 1) for _ in STRIDES)
        for layer in self.classes:
            torch.nn.init.normal_(layer.weight, std=0.01)
            torch.nn.init.constant_(layer.bias, -5.0)

    def losses(self, levels: tuple[Tensor, ...], vision: Vision) -> tuple[Tensor, Tensor]:
        """Return the error of the features relative to their variance, more of it where there are
        objects, and that of the class scores.
        """
        wrong = levels[0].new_zeros((), dtype=torch.float32)
        unseen = levels[0].new_zeros((), dtype=torch.float32)
        for i, level in enumerate(levels):
            wanted, scores = vision.features[i].float(), vision.scores[i].float()
            weight = 0.5 + 3 * scores.amax(1, keepdim=True)
            variance = wanted.var((0, 2, 3), keepdim=True).clamp(min=1e-4)
            error = (self.features[i](level).float() - wanted) ** 2 / variance
            wrong = wrong + (error * weight).mean() / weight.mean() / len(levels)
            logits = self.classes[i](level).float()
            loss = functional.binary_cross_entropy_with_logits(logits, scores, reduction='none')
            loss = loss * (scores - logits.detach().sigmoid()) ** 2
            unseen = unseen + loss.sum() / scores.sum().clamp(min=1) / len(levels)
        return wrong, unseen
