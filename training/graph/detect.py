# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The whole network in PyTorch, as cv2.dnn runs it: the yardstick of the parity test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.graph.boxes import decode, propose, suppress
from training.graph.torch_module import MaskRcnnModule, anchors, crop_and_resize


@dataclass(frozen=True)
class Detections:
    """What the nodes of the same names give in cv2.dnn, for one image.

    Attributes:
        features: (1, C, H/16, W/16).
        proposals: (P, 4), fractions of the image.
        rows: (N, 6) class id, score, x1, y1, x2, y2 (fractions), falling score.
        masks: (N, classes, 15, 15) probabilities.
    """

    features: Tensor
    proposals: Tensor
    rows: Tensor
    masks: Tensor


@torch.no_grad()
def detect(module: MaskRcnnModule, rgb: Tensor) -> Detections:
    """Run one image (1, 3, H, W), RGB 0 to 255, through a module in evaluation mode."""
    config = module.config
    features = module.backbone(rgb)
    encodings, logits = module.rpn(features)
    references = anchors(config, *features.shape[2:], *rgb.shape[2:])
    proposals = propose(config, references, encodings[0], logits[0].softmax(-1)[:, 1])
    _, boxes, logits = module.box_stage(crop_and_resize(features, proposals))
    scores = logits.softmax(-1)[:, 1:]
    rows = [
        _rows_of_class(module, k, proposals, boxes[:, k], scores[:, k])
        for k in range(config.num_classes)
    ]
    merged = torch.cat(rows)
    merged = merged[merged[:, 1].argsort(descending=True, stable=True)][: config.max_detections]
    if len(merged) == 0:
        return Detections(features, proposals, merged, torch.zeros(0, config.num_classes, 15, 15))
    mixed_5c, _, _ = module.box_stage(crop_and_resize(features, merged[:, 2:]))
    return Detections(features, proposals, merged, module.mask_stage(mixed_5c).sigmoid())


def _rows_of_class(
    module: MaskRcnnModule, class_id: int, proposals: Tensor, encodings: Tensor, scores: Tensor
) -> Tensor:
    config = module.config
    keep = (scores > config.score_threshold).nonzero()[:, 0]
    keep = keep[scores[keep].argsort(descending=True, stable=True)]
    boxes = decode(proposals[keep], encodings[keep]).clamp(0, 1)
    survivors = suppress(boxes, config.nms_threshold, len(keep))
    keep, boxes = keep[survivors], boxes[survivors]
    return torch.cat([torch.full((len(keep), 1), float(class_id)), scores[keep, None], boxes], 1)
