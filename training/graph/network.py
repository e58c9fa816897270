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

import math
from dataclasses import dataclass, field
from typing import Any

FEATURES = 'FirstStageFeatureExtractor/InceptionV2/InceptionV2/Mixed_4e/concat'
PROPOSALS = 'detection_out'
DETECTIONS = 'detection_out_final'
MASKS = 'detection_masks'

FEATURE_STRIDE = 16
CROP_SIZE = 14
MASK_SIZE = 15
BATCH_NORM_EPSILON = 0.001
BOX_VARIANCES = (0.1, 0.1, 0.2, 0.2)

# slim's Inception V2 at depth multiplier 1.0: one tuple per branch, one number per convolution.
CHANNELS: dict[str, tuple[tuple[int, ...], ...]] = {
    'Mixed_3b': ((64,), (64, 64), (64, 96, 96), (32,)),
    'Mixed_3c': ((64,), (64, 96), (64, 96, 96), (64,)),
    'Mixed_4a': ((128, 160), (64, 96, 96)),
    'Mixed_4b': ((224,), (64, 96), (96, 128, 128), (128,)),
    'Mixed_4c': ((192,), (96, 128), (96, 128, 128), (128,)),
    'Mixed_4d': ((160,), (128, 160), (128, 160, 160), (96,)),
    'Mixed_4e': ((96,), (128, 192), (160, 192, 192), (96,)),
    'Mixed_5a': ((128, 192), (192, 256, 256)),
    'Mixed_5b': ((352,), (192, 320), (160, 224, 224), (128,)),
    'Mixed_5c': ((352,), (192, 320), (192, 224, 224), (128,)),
}
REDUCTIONS = ('Mixed_4a', 'Mixed_5a')
STEM_CHANNELS = (64, 64, 192)
RPN_CHANNELS, MASK_CHANNELS = 512, 256
MIN_CHANNELS = 16


@dataclass(frozen=True)
class NetworkConfig:
    """What may differ between two networks of this structure.

    Attributes:
        width: depth multiplier of Inception V2 and of the heads; 1.0 is the published model.
        num_classes: foreground classes.
        anchor_sizes: square root of the anchor's area, pixels of the network's input.
        anchor_ratios: width over height.
        proposals: regions that the first stage hands on (always exactly so many).
        rpn_candidates: anchors that enter the first stage's NMS, best first.
        rpn_nms_threshold, nms_threshold: IoU of the two NMS.
        score_threshold: detections below are dropped inside the graph.
        max_detections: rows of ``detection_out_final``.
    """

    width: float = 1.0
    num_classes: int = 90
    anchor_sizes: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals: int = 100
    rpn_candidates: int = 6000
    rpn_nms_threshold: float = 0.7
    nms_threshold: float = 0.6
    score_threshold: float = 0.3
    max_detections: int = 100

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        if not 0.05 <= self.width <= 2.0:
            raise ValueError(f'width is {self.width}: expected 0.05 to 2.0')
        for name in ('num_classes', 'proposals', 'rpn_candidates', 'max_detections'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}: expected at least 1')
        for name in ('anchor_sizes', 'anchor_ratios'):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise ValueError(f'{name} is {values}: expected one or more positive numbers')

    @property
    def anchors(self) -> list[tuple[float, float]]:
        """(width, height) of every anchor in pixels, in the network's order: ratio by ratio."""
        return [
            (size * math.sqrt(ratio), size / math.sqrt(ratio))
            for ratio in self.anchor_ratios
            for size in self.anchor_sizes
        ]

    def channels(self, depth: int) -> int:
        """Channels of a layer that has ``depth`` at width 1.0 (slim's rule)."""
        return depth if self.width == 1.0 else max(int(depth * self.width), MIN_CHANNELS)

    @property
    def stem_multiplier(self) -> int:
        """Depthwise multiplier of the separable 7x7 stem (slim's rule)."""
        return min(self.channels(STEM_CHANNELS[0]) // 3, 8)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Read what dataclasses.asdict gives, also from JSON; an unknown key raises TypeError."""
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**arguments)


@dataclass(frozen=True)
class Weight:
    """One trained array of the network, in TensorFlow's layout (kernels are HWIO)."""

    name: str
    shape: tuple[int, ...]
    role: str  # 'kernel', 'depthwise', 'matrix', 'bias', 'gamma', 'beta', 'mean', 'variance'


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        inputs: names of the nodes it reads; weights and constants follow in the text graph, in
            that order.
        weights: trained arrays.
        constants: name to Python value, untrained inputs that the frozen graph holds.
        attributes: the text graph's attributes as Python values.
        channels: channels of the result, 0 where that means nothing.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    channels: int = 0


@dataclass(frozen=True)
class Tensor:
    """A constant that stands in the text graph itself."""

    dtype: str  # 'int32' or 'float32'
    values: tuple[float, ...]


class _Builder:
    """Collects nodes; every method adds one or a few and returns the name of the last."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, op: str, inputs: tuple[str, ...] = (), **rest: Any) -> str:
        rest.setdefault('channels', self.nodes[inputs[0]].channels if inputs else 0)
        self.nodes[name] = Node(name, op, inputs, **rest)
        return name

    def channels_of(self, name: str) -> int:
        return self.nodes[name].channels

    def constant(self, name: str, dtype: str, *values: float) -> str:
        return self.add(name, 'Const', attributes={'value': Tensor(dtype, values)})

    # ---- convolutions
    def conv(
        self,
        name: str,
        x: str,
        weights: str,
        out: int,
        kernel: int,
        stride: int = 1,
        **attributes: Any,
    ) -> str:
        shape = (kernel, kernel, self.channels_of(x), out)
        return self.add(
            name,
            'Conv2D',
            (x,),
            weights=(Weight(weights, shape, 'kernel'),),
            channels=out,
            attributes=_conv_attributes('SAME', stride) | attributes,
        )

    def bias(self, name: str, x: str, weights: str) -> str:
        return self.add(
            name,
            'BiasAdd',
            (x,),
            weights=(Weight(weights, (self.channels_of(x),), 'bias'),),
            attributes={'data_format': 'NHWC'},
        )

    def norm_relu(self, op_scope: str, weight_scope: str, x: str) -> str:
        depth = (self.channels_of(x),)
        weights = tuple(
            Weight(f'{weight_scope}/BatchNorm/{name}', depth, role)
            for name, role in (
                ('gamma', 'gamma'),
                ('beta', 'beta'),
                ('moving_mean', 'mean'),
                ('moving_variance', 'variance'),
            )
        )
        x = self.add(
            f'{op_scope}/BatchNorm/FusedBatchNorm',
            'FusedBatchNorm',
            (x,),
            weights=weights,
            attributes={'data_format': 'NHWC', 'epsilon': BATCH_NORM_EPSILON},
        )
        return self.add(f'{op_scope}/Relu', 'Relu', (x,))

    def conv_norm_relu(
        self, op_scope: str, weight_scope: str, x: str, depth: int, kernel: int, stride: int = 1
    ) -> str:
        x = self.conv(
            f'{op_scope}/Conv2D',
            x,
            f'{weight_scope}/weights',
            self.config.channels(depth),
            kernel,
            stride,
        )
        return self.norm_relu(op_scope, weight_scope, x)

    def pool(
        self, name: str, op: str, x: str, kernel: int, stride: int, padding: str = 'SAME'
    ) -> str:
        return self.add(
            name,
            op,
            (x,),
            attributes={
                'data_format': 'NHWC',
                'ksize': [1, kernel, kernel, 1],
                'padding': padding,
                'strides': [1, stride, stride, 1],
            },
        )

    def concat(self, name: str, inputs: list[str]) -> str:
        return self.add(
            name,
            'ConcatV2',
            tuple(inputs),
            constants={f'{name}/axis': 3},
            channels=sum(self.channels_of(i) for i in inputs),
        )

    # ---- Inception modules
    def stem(self, op_scope: str, weight_scope: str, x: str) -> str:
        ops, weights = f'{op_scope}/Conv2d_1a_7x7', f'{weight_scope}/Conv2d_1a_7x7'
        multiplier = self.config.stem_multiplier
        channels = self.channels_of(x)
        x = self.add(
            f'{ops}/separable_conv2d/depthwise',
            'DepthwiseConv2dNative',
            (x,),
            weights=(
                Weight(f'{weights}/depthwise_weights', (7, 7, channels, multiplier), 'depthwise'),
            ),
            channels=channels * multiplier,
            attributes=_conv_attributes('SAME', 2),
        )
        out = self.config.channels(STEM_CHANNELS[0])
        x = self.add(
            f'{ops}/separable_conv2d',
            'Conv2D',
            (x,),
            channels=out,
            weights=(
                Weight(f'{weights}/pointwise_weights', (1, 1, self.channels_of(x), out), 'kernel'),
            ),
            attributes=_conv_attributes('VALID', 1),
        )
        x = self.norm_relu(ops, weights, x)
        x = self.pool(f'{op_scope}/MaxPool_2a_3x3/MaxPool', 'MaxPool', x, 3, 2)
        for scope, depth, kernel in (
            ('Conv2d_2b_1x1', STEM_CHANNELS[1], 1),
            ('Conv2d_2c_3x3', STEM_CHANNELS[2], 3),
        ):
            x = self.conv_norm_relu(
                f'{op_scope}/{scope}', f'{weight_scope}/{scope}', x, depth, kernel
            )
        return self.pool(f'{op_scope}/MaxPool_3a_3x3/MaxPool', 'MaxPool', x, 3, 2)

    def inception(self, module: str, op_scope: str, weight_scope: str, x: str) -> str:
        ops, weights = f'{op_scope}/{module}', f'{weight_scope}/{module}'
        reduction = module in REDUCTIONS
        ends = []
        for index, depths in enumerate(CHANNELS[module]):
            branch, y = f'Branch_{index}', x
            if not reduction and index == 3:
                # slim's only irregularity: the last module pools by maximum.
                kind = 'MaxPool' if module == 'Mixed_5c' else 'AvgPool'
                y = self.pool(f'{ops}/{branch}/{kind}_0a_3x3/{kind}', kind, y, 3, 1)
                scopes = [('Conv2d_0b_1x1', 1, 1)]
            else:
                scopes = _branch_scopes(len(depths), reduction)
            for (scope, kernel, stride), depth in zip(scopes, depths, strict=True):
                y = self.conv_norm_relu(
                    f'{ops}/{branch}/{scope}',
                    f'{weights}/{branch}/{scope}',
                    y,
                    depth,
                    kernel,
                    stride,
                )
            ends.append(y)
        if reduction:
            ends.append(self.pool(f'{ops}/Branch_2/MaxPool_1a_3x3/MaxPool', 'MaxPool', x, 3, 2))
        return self.concat(f'{ops}/concat', ends)


def _conv_attributes(padding: str, stride: int) -> dict[str, Any]:
    return {
        'data_format': 'NHWC',
        'dilations': [1, 1, 1, 1],
        'padding': padding,
        'strides': [1, stride, stride, 1],
    }


def _branch_scopes(count: int, reduction: bool) -> list[tuple[str, int, int]]:
    """Scope name, kernel and stride of the convolutions of one branch."""
    scopes = [('Conv2d_0a_1x1', 1, 1), ('Conv2d_0b_3x3', 3, 1), ('Conv2d_0c_3x3', 3, 1)][:count]
    if reduction:
        scopes[-1] = ('Conv2d_1a_3x3', 3, 2)
    return scopes


def describe(config: NetworkConfig) -> list[Node]:
    """Return every operation of the network, in the order in which a frame runs through it."""
    b = _Builder(config)
    features = _backbone(b)
    _region_proposals(b, features)
    _box_stage(b, features)
    _mask_stage(b, features)
    return list(b.nodes.values())


def _backbone(b: _Builder) -> str:
    x = b.add(
        'image_tensor',
        'Placeholder',
        channels=3,
        attributes={'dtype': 'uint8', 'shape': [-1, -1, -1, 3]},
    )
    x = b.add('Preprocessor/mul', 'Mul', (x,), constants={'Preprocessor/mul/x': 2.0 / 255.0})
    x = b.add('Preprocessor/sub', 'Sub', (x,), constants={'Preprocessor/sub/y': 1.0})
    op_scope = 'FirstStageFeatureExtractor/InceptionV2/InceptionV2'
    weight_scope = 'FirstStageFeatureExtractor/InceptionV2'
    x = b.stem(op_scope, weight_scope, x)
    for module in CHANNELS:
        if not module.startswith('Mixed_5'):
            x = b.inception(module, op_scope, weight_scope, x)
    return x


def _region_proposals(b: _Builder, features: str) -> None:
    config = b.config
    anchors = config.anchors
    x = b.conv('Conv/Conv2D', features, 'Conv/weights', config.channels(RPN_CHANNELS), 3)
    x = b.bias('Conv/BiasAdd', x, 'Conv/biases')
    x = b.add('Conv/Relu6', 'Relu6', (x,))
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
    y = b.add(f'{scope}/reshape_1', 'Reshape', (outputs['ClassPredictor'], shape))
    y = b.add(f'{scope}/softmax', 'Softmax', (y,), attributes={'axis': -1})
    scores = b.add(f'{scope}/softmax/flatten', 'Flatten', (y,))
    boxes = b.add(
        'FirstStageBoxPredictor/BoxEncodingPredictor/flatten',
        'Flatten',
        (outputs['BoxEncodingPredictor'],),
    )
    priors = b.add(
        'proposals',
        'PriorBox',
        (outputs['BoxEncodingPredictor'], 'image_tensor'),
        attributes={
            'clip': True,
            'flip': False,
            'offset': 0.0,
            'step': float(FEATURE_STRIDE),
            'width': Tensor('float32', tuple(w for w, _ in anchors)),
            'height': Tensor('float32', tuple(h for _, h in anchors)),
            'variance': Tensor('float32', BOX_VARIANCES),
        },
    )
    b.add(
        PROPOSALS,
        'DetectionOutput',
        (boxes, scores, priors),
        attributes={
            'background_label_id': 0,
            'clip': True,
            'code_type': 'CENTER_SIZE',
            'keep_top_k': config.proposals,
            'nms_threshold': config.rpn_nms_threshold,
            'num_classes': 2,
            'share_location': True,
            'top_k': config.rpn_candidates,
        },
    )


def _crop(b: _Builder, suffix: str, features: str, boxes: str) -> str:
    x = b.add(
        f'CropAndResize{suffix}',
        'CropAndResize',
        (features, boxes),
        constants={f'CropAndResize{suffix}/crop_size': (CROP_SIZE, CROP_SIZE)},
        attributes={'extrapolation_value': 0.0, 'method': 'bilinear'},
    )
    x = b.pool(f'MaxPool2D{suffix}/MaxPool', 'MaxPool', x, 2, 2, 'VALID')
    for module in ('Mixed_5a', 'Mixed_5b', 'Mixed_5c'):
        x = b.inception(
            module,
            f'SecondStageFeatureExtractor{suffix}/InceptionV2',
            'SecondStageFeatureExtractor/InceptionV2',
            x,
        )
    return x


def _box_stage(b: _Builder, features: str) -> None:
    config = b.config
    x = _crop(b, '', features, PROPOSALS)
    scope = 'SecondStageBoxPredictor'
    x = b.add(
        f'{scope}/AvgPool',
        'Mean',
        (x,),
        constants={f'{scope}/AvgPool/reduction_indices': (1, 2)},
        attributes={'keep_dims': True},
    )
    x = b.add(f'{scope}/Flatten/flatten/Reshape', 'Flatten', (x,))
    heads = {}
    for head, out, attributes in (
        ('BoxEncodingPredictor', 4 * config.num_classes, {'loc_pred_transposed': True}),
        ('ClassPredictor', config.num_classes + 1, {}),
    ):
        weight = Weight(f'{scope}/{head}/weights', (b.channels_of(x), out), 'matrix')
        y = b.add(
            f'{scope}/{head}/MatMul',
            'MatMul',
            (x,),
            weights=(weight,),
            channels=out,
            attributes={'transpose_a': False, 'transpose_b': False} | attributes,
        )
        heads[head] = b.bias(f'{scope}/{head}/BiasAdd', y, f'{scope}/{head}/biases')
    shape = b.constant(f'{scope}/Reshape/shape2', 'int32', 1, -1, 4)
    boxes = b.add(f'{scope}/Reshape', 'Reshape', (heads['BoxEncodingPredictor'], shape))
    scores = b.add(
        f'{scope}/Reshape_1',
        'Reshape',
        (heads['ClassPredictor'],),
        constants={f'{scope}/Reshape_1/shape': (-1, 1, config.num_classes + 1)},
    )
    scores = b.add(f'{scope}/Reshape_1/softmax', 'Softmax', (scores,), attributes={'axis': -1})
    begins = b.constant(f'{scope}/Reshape_1/slice/begins', 'int32', 0, 0, 1)
    sizes = b.constant(f'{scope}/Reshape_1/slice/sizes', 'int32', -1, -1, -1)
    scores = b.add(f'{scope}/Reshape_1/slice', 'Slice', (scores, begins, sizes))
    shape = b.constant(f'{scope}/Reshape_1/Reshape/shape', 'int32', 1, -1)
    scores = b.add(f'{scope}/Reshape_1/Reshape', 'Reshape', (scores, shape))
    begins = b.constant('detection_out/slice/begins', 'int32', 0, 0, 0, 3)
    sizes = b.constant('detection_out/slice/sizes', 'int32', -1, -1, -1, 4)
    priors = b.add('detection_out/slice', 'Slice', (PROPOSALS, begins, sizes))
    variance = b.constant('proposals/variance', 'float32', *BOX_VARIANCES)
    encoded = b.add('variance_encoded', 'Mul', (boxes, variance), attributes={'axis': 2})
    shape = b.constant('detection_out/slice/reshape/shape', 'int32', 1, 1, -1)
    priors = b.add('detection_out/slice/reshape', 'Reshape', (priors, shape))
    encoded = b.add('variance_encoded/flatten', 'Flatten', (encoded,))
    b.add(
        DETECTIONS,
        'DetectionOutput',
        (encoded, scores, priors),
        attributes={
            'background_label_id': config.num_classes + 1,
            'clip': True,
            'code_type': 'CENTER_SIZE',
            'confidence_threshold': config.score_threshold,
            'group_by_classes': False,
            'keep_top_k': config.max_detections,
            'nms_threshold': config.nms_threshold,
            'num_classes': config.num_classes,
            'share_location': False,
            'variance_encoded_in_target': True,
        },
    )


def _mask_stage(b: _Builder, features: str) -> None:
    config = b.config
    x = _crop(b, '_1', features, DETECTIONS)
    scope, weights = 'SecondStageBoxPredictor_1', 'SecondStageBoxPredictor'
    x = b.add(
        f'{scope}/ResizeBilinear',
        'ResizeBilinear',
        (x,),
        constants={f'{scope}/ResizeBilinear/size': (MASK_SIZE, MASK_SIZE)},
        attributes={'align_corners': True},
    )
    x = b.conv(
        f'{scope}/Conv/Conv2D', x, f'{weights}/Conv/weights', config.channels(MASK_CHANNELS), 3
    )
    x = b.bias(f'{scope}/Conv/BiasAdd', x, f'{weights}/Conv/biases')
    x = b.add(f'{scope}/Conv/Relu', 'Relu', (x,))
    x = b.conv(f'{scope}/Conv_1/Conv2D', x, f'{weights}/Conv_1/weights', config.num_classes, 3)
    x = b.bias(f'{scope}/Conv_1/BiasAdd', x, f'{weights}/Conv_1/biases')
    x = b.add(
        f'{scope}/transpose', 'Transpose', (x,), constants={f'{scope}/transpose/perm': (0, 3, 1, 2)}
    )
    b.add(MASKS, 'Sigmoid', (x,))
