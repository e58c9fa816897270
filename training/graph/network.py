# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The one description of the network: Mask R-CNN with Inception V2, as the TF Object Detection API
builds it.

From the list of nodes that :func:`describe` returns come the PyTorch module (``torch_module``),
the frozen graph and the OpenCV text graph (``tensorflow_files``). Node and weight names are those
of the published model ``mask_rcnn_inception_v2_coco_2018_01_28``, so its text graph loads with our
frozen graph and ours with its.

Sources: channel table of slim's Inception V2 (Ioffe and Szegedy 2015, arXiv 1502.03167); heads and
post-processing of the TF Object Detection API's Faster R-CNN meta-architecture; node names and
OpenCV-only nodes (PriorBox, DetectionOutput) of OpenCV's ``tf_text_graph_mask_rcnn.py`` output.
"""

from __future__ import annotations

from training.graph.config import NetworkConfig
from training.graph.inception import CHANNELS, InceptionNodes
from training.graph.nodes import Node, Weight
from training.graph.seams import (
    DETECTIONS,
    MASKS,
    PROPOSALS,
    crops,
    detections,
    prior_boxes,
    proposals,
)

FEATURES = 'FirstStageFeatureExtractor/InceptionV2/InceptionV2/Mixed_4e/concat'
FEATURE_STRIDE = 16
MASK_SIZE = 15
RPN_CHANNELS, MASK_CHANNELS = 512, 256


def describe(config: NetworkConfig) -> list[Node]:
    """Return every operation of the network, in the order in which a frame runs through it."""
    b = InceptionNodes(config)
    features = _backbone(b)
    _region_proposals(b, features)
    _box_stage(b, features)
    _mask_stage(b, features)
    return list(b.nodes.values())


def _backbone(b: InceptionNodes) -> str:
    x = b.add(
        'image_tensor',
        'Placeholder',
        channels=3,
        attributes={'dtype': 'uint8', 'shape': [-1, -1, -1, 3]},
    )
    x = b.add('Preprocessor/mul', 'Mul', x, constants={'Preprocessor/mul/x': 2.0 / 255.0})
    x = b.add('Preprocessor/sub', 'Sub', x, constants={'Preprocessor/sub/y': 1.0})
    op_scope = 'FirstStageFeatureExtractor/InceptionV2/InceptionV2'
    weight_scope = 'FirstStageFeatureExtractor/InceptionV2'
    x = b.stem(op_scope, weight_scope, x)
    for module in CHANNELS:
        if not module.startswith('Mixed_5'):
            x = b.inception(module, op_scope, weight_scope, x)
    return x


def _region_proposals(b: InceptionNodes, features: str) -> None:
    config = b.config
    anchors = config.anchors
    x = b.conv('Conv/Conv2D', features, 'Conv/weights', config.channels(RPN_CHANNELS), 3)
    x = b.bias('Conv/BiasAdd', x, 'Conv/biases')
    x = b.add('Conv/Relu6', 'Relu6', x)
    outputs = {}
    for head, per_anchor, attributes in (
        ('BoxEncodingPredictor', 4, {'loc_pred_transposed': True}),
        ('ClassPredictor', 2, {}),
    ):
        scope = f'FirstStageBoxPredictor/{head}'
        y = b.conv(
            f'{scope}/Conv2D', x, f'{scope}/weights', per_anchor * len(anchors), 1, **attributes
        )
        outputs[head] = b.bias(f'{scope}/BiasAdd', y, f'{scope}/biases')
    scope = 'FirstStageBoxPredictor/ClassPredictor'
    shape = b.constant(f'{scope}/reshape_1/shape', 'int32', 0, -1, 2)
    y = b.add(f'{scope}/reshape_1', 'Reshape', outputs['ClassPredictor'], shape)
    y = b.add(f'{scope}/softmax', 'Softmax', y, attributes={'axis': -1})
    scores = b.add(f'{scope}/softmax/flatten', 'Flatten', y)
    boxes = b.add(
        'FirstStageBoxPredictor/BoxEncodingPredictor/flatten',
        'Flatten',
        outputs['BoxEncodingPredictor'],
    )
    priors = prior_boxes(b, outputs['BoxEncodingPredictor'], anchors, FEATURE_STRIDE)
    proposals(b, boxes, scores, priors, config)


def _crop(b: InceptionNodes, suffix: str, features: str, boxes: str) -> str:
    x = crops(b, features, boxes, suffix)
    x = b.pool(f'MaxPool2D{suffix}/MaxPool', 'MaxPool', x, 2, 2, 'VALID')
    for module in ('Mixed_5a', 'Mixed_5b', 'Mixed_5c'):
        x = b.inception(
            module,
            f'SecondStageFeatureExtractor{suffix}/InceptionV2',
            'SecondStageFeatureExtractor/InceptionV2',
            x,
        )
    return x


def _box_stage(b: InceptionNodes, features: str) -> None:
    config = b.config
    x = _crop(b, '', features, PROPOSALS)
    scope = 'SecondStageBoxPredictor'
    x = b.add(
        f'{scope}/AvgPool',
        'Mean',
        x,
        constants={f'{scope}/AvgPool/reduction_indices': (1, 2)},
        attributes={'keep_dims': True},
    )
    x = b.add(f'{scope}/Flatten/flatten/Reshape', 'Flatten', x)
    heads = {}
    for head, out, attributes in (
        ('BoxEncodingPredictor', 4 * config.num_classes, {'loc_pred_transposed': True}),
        ('ClassPredictor', config.num_classes + 1, {}),
    ):
        weight = Weight(f'{scope}/{head}/weights', (b.channels_of(x), out), 'matrix')
        y = b.add(
            f'{scope}/{head}/MatMul',
            'MatMul',
            x,
            weights=(weight,),
            channels=out,
            attributes={'transpose_a': False, 'transpose_b': False} | attributes,
        )
        heads[head] = b.bias(f'{scope}/{head}/BiasAdd', y, f'{scope}/{head}/biases')
    shape = b.constant(f'{scope}/Reshape/shape2', 'int32', 1, -1, 4)
    boxes = b.add(f'{scope}/Reshape', 'Reshape', heads['BoxEncodingPredictor'], shape)
    scores = b.add(
        f'{scope}/Reshape_1',
        'Reshape',
        heads['ClassPredictor'],
        constants={f'{scope}/Reshape_1/shape': (-1, 1, config.num_classes + 1)},
    )
    scores = b.add(f'{scope}/Reshape_1/softmax', 'Softmax', scores, attributes={'axis': -1})
    begins = b.constant(f'{scope}/Reshape_1/slice/begins', 'int32', 0, 0, 1)
    sizes = b.constant(f'{scope}/Reshape_1/slice/sizes', 'int32', -1, -1, -1)
    scores = b.add(f'{scope}/Reshape_1/slice', 'Slice', scores, begins, sizes)
    shape = b.constant(f'{scope}/Reshape_1/Reshape/shape', 'int32', 1, -1)
    scores = b.add(f'{scope}/Reshape_1/Reshape', 'Reshape', scores, shape)
    detections(b, boxes, scores, config.num_classes, config, share_location=False)


def _mask_stage(b: InceptionNodes, features: str) -> None:
    config = b.config
    x = _crop(b, '_1', features, DETECTIONS)
    scope, weights = 'SecondStageBoxPredictor_1', 'SecondStageBoxPredictor'
    x = b.add(
        f'{scope}/ResizeBilinear',
        'ResizeBilinear',
        x,
        constants={f'{scope}/ResizeBilinear/size': (MASK_SIZE, MASK_SIZE)},
        attributes={'align_corners': True},
    )
    x = b.conv(
        f'{scope}/Conv/Conv2D', x, f'{weights}/Conv/weights', config.channels(MASK_CHANNELS), 3
    )
    x = b.bias(f'{scope}/Conv/BiasAdd', x, f'{weights}/Conv/biases')
    x = b.add(f'{scope}/Conv/Relu', 'Relu', x)
    x = b.conv(f'{scope}/Conv_1/Conv2D', x, f'{weights}/Conv_1/weights', config.num_classes, 3)
    x = b.bias(f'{scope}/Conv_1/BiasAdd', x, f'{weights}/Conv_1/biases')
    x = b.add(
        f'{scope}/transpose', 'Transpose', x, constants={f'{scope}/transpose/perm': (0, 3, 1, 2)}
    )
    b.add(MASKS, 'Sigmoid', x)
