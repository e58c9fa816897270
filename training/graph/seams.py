# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The parts of a Mask R-CNN that are not convolutions, and where cv2.dnn runs it in pieces.

Names and attributes are those of the published model's text graph: it is split there, and run like
that, whatever the network is in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from training.graph.nodes import NodeList, Tensor

PROPOSALS = 'detection_out'
DETECTIONS = 'detection_out_final'
MASKS = 'detection_masks'
CROP_SIZE = 14
BOX_VARIANCES = (0.1, 0.1, 0.2, 0.2)  # of y, x, height, width


class Selection(Protocol):
    """How boxes are selected; the configs of the networks have it."""

    @property
    def proposals(self) -> int: ...
    @property
    def rpn_candidates(self) -> int: ...
    @property
    def rpn_nms_threshold(self) -> float: ...
    @property
    def nms_threshold(self) -> float: ...
    @property
    def score_threshold(self) -> float: ...
    @property
    def max_detections(self) -> int: ...


def prior_boxes(
    g: NodeList, features: str, anchors: Sequence[tuple[float, float]], stride: int
) -> str:
    """Add the anchors, (width, height) in pixels, at every cell of some features."""
    return g.add(
        'proposals',
        'PriorBox',
        features,
        'image_tensor',
        attributes={
            'clip': True,
            'flip': False,
            'offset': 0.0,
            'step': float(stride),
            'width': Tensor('float32', tuple(w for w, _ in anchors)),
            'height': Tensor('float32', tuple(h for _, h in anchors)),
            'variance': Tensor('float32', BOX_VARIANCES),
        },
    )


def proposals(g: NodeList, boxes: str, scores: str, priors: str, selection: Selection) -> str:
    """Add the first stage's output: its best boxes after non-maximum suppression."""
    return g.add(
        PROPOSALS,
        'DetectionOutput',
        boxes,
        scores,
        priors,
        attributes={
            'background_label_id': 0,
            'clip': True,
            'code_type': 'CENTER_SIZE',
            'keep_top_k': selection.proposals,
            'nms_threshold': selection.rpn_nms_threshold,
            'num_classes': 2,
            'share_location': True,
            'top_k': selection.rpn_candidates,
        },
    )


def crops(g: NodeList, features: str, boxes: str, suffix: str) -> str:
    """Add 14x14 samples of the features in every box."""
    name = f'CropAndResize{suffix}'
    return g.add(
        name,
        'CropAndResize',
        features,
        boxes,
        constants={f'{name}/crop_size': (CROP_SIZE, CROP_SIZE)},
        attributes={'extrapolation_value': 0.0, 'method': 'bilinear'},
    )


def detections(
    g: NodeList,
    boxes: str,
    scores: str,
    classes: int,
    selection: Selection,
    *,
    share_location: bool,
) -> str:
    """Add the second stage's output.

    Args:
        g: the graph.
        boxes: encodings (1, n, 4).
        scores: (1, n * classes), without background.
        classes: numbers that have a score.
        selection: of the boxes.
        share_location: whether a region has one box for all classes.

    """
    begins = g.constant('detection_out/slice/begins', 'int32', 0, 0, 0, 3)
    sizes = g.constant('detection_out/slice/sizes', 'int32', -1, -1, -1, 4)
    priors = g.add('detection_out/slice', 'Slice', PROPOSALS, begins, sizes)
    variance = g.constant('proposals/variance', 'float32', *BOX_VARIANCES)
    encoded = g.add('variance_encoded', 'Mul', boxes, variance, attributes={'axis': 2})
    shape = g.constant('detection_out/slice/reshape/shape', 'int32', 1, 1, -1)
    priors = g.add('detection_out/slice/reshape', 'Reshape', priors, shape)
    encoded = g.add('variance_encoded/flatten', 'Flatten', encoded)
    return g.add(
        DETECTIONS,
        'DetectionOutput',
        encoded,
        scores,
        priors,
        attributes={
            'background_label_id': classes + 1,
            'clip': True,
            'code_type': 'CENTER_SIZE',
            'confidence_threshold': selection.score_threshold,
            'group_by_classes': False,
            'keep_top_k': selection.max_detections,
            'nms_threshold': selection.nms_threshold,
            'num_classes': classes,
            'share_location': share_location,
            'variance_encoded_in_target': True,
        },
    )
