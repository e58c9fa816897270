# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNNs of other backbones than Inception V2, with random weights, as files for cv2.dnn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorboard.compat.proto import attr_value_pb2, graph_pb2, types_pb2

PROPOSALS, DETECTIONS, MASKS = 'detection_out', 'detection_out_final', 'detection_masks'
_DTYPES = {'float32': types_pb2.DT_FLOAT, 'int32': types_pb2.DT_INT32}


class GraphBuilder:
    """Puts a text graph and its weights together; every method returns the name of a node."""

    def __init__(self, seed: int = 0, dilations: bool = False) -> None:
        self._dilations = dilations
        self._rng = np.random.default_rng(seed)
        self._text, self._weights = graph_pb2.GraphDef(), graph_pb2.GraphDef()
        self._channels: dict[str, int] = {}
        self._constants: dict[str, np.ndarray] = {}

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write model.pb and model.pbtxt."""
        for name, array in self._constants.items():
            node = self._weights.node.add(name=name, op='Const')
            node.attr['dtype'].type = _DTYPES[array.dtype.name]
            _fill(node.attr['value'].tensor, array)
        paths = folder / 'model.pb', folder / 'model.pbtxt'
        paths[0].write_bytes(self._weights.SerializeToString())
        paths[1].write_text(text_format.MessageToString(self._text))
        return paths

    def add(self, name: str, op: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        node = self._text.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(_attribute(value))
        self._channels[name] = channels or (self._channels.get(inputs[0], 0) if inputs else 0)
        return name

    def weight(self, name: str, array: Any, dtype: str = 'float32') -> str:
        """Store a constant in the frozen graph, once."""
        self._constants.setdefault(name, np.asarray(array, dtype))
        return name

    def listed(self, name: str, *values: float, dtype: str = 'int32') -> str:
        """Store a constant in the text graph itself."""
        node = self._text.node.add(name=name, op='Const')
        tensor = node.attr['value'].tensor
        tensor.dtype = _DTYPES[dtype]
        tensor.tensor_shape.dim.add(size=len(values))
        (tensor.int_val if dtype == 'int32' else tensor.float_val).extend(values)
        return name

    # ---- layers
    def conv(
        self,
        name: str,
        x: str,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        weights: str = '',
        act: str = 'Relu6',
        norm: bool = True,
        padding: str = 'SAME',
        scale: float = 1.0,
        **attributes: Any,
    ) -> str:
        weights = weights or name
        channels = self._channels[x]
        deviation = scale * np.sqrt(2 / (kernel * kernel * channels))
        shape = (kernel, kernel, channels, out)
        self.weight(f'{weights}/w', self._rng.standard_normal(shape) * deviation)
        x = self.add(
            f'{name}/Conv2D',
            'Conv2D',
            x,
            f'{weights}/w',
            channels=out,
            strides=[1, stride, stride, 1],
            padding=padding,
            data_format='NHWC',
            **attributes,
        )
        return self._end(name, weights, x, norm, act)

    def atrous_conv(
        self, name: str, x: str, out: int, dilation: int, *, weights: str, act: str
    ) -> str:
        """A 3x3 convolution with holes, as slim writes it."""
        block = self.weight(f'{weights}/block', [dilation] * 2, 'int32')
        paddings = self.weight(f'{weights}/paddings', [[dilation] * 2] * 2, 'int32')
        crops = self.weight(f'{weights}/crops', [[0, 0], [0, 0]], 'int32')
        channels = self._channels[x]
        kernel = self._rng.standard_normal((3, 3, channels, out)) * np.sqrt(2 / (9 * channels))
        self.weight(f'{weights}/w', kernel)
        if not self._dilations:
            x = self.add(f'{name}/SpaceToBatchND', 'SpaceToBatchND', x, block, paddings)
        x = self.add(
            f'{name}/Conv2D',
            'Conv2D',
            x,
            f'{weights}/w',
            channels=out,
            strides=[1, 1, 1, 1],
            dilations=[1, dilation, dilation, 1] if self._dilations else [1, 1, 1, 1],
            padding='SAME' if self._dilations else 'VALID',
            data_format='NHWC',
        )
        if not self._dilations:
            x = self.add(f'{name}/BatchToSpaceND', 'BatchToSpaceND', x, block, crops)
        return self._end(name, weights, x, True, act)

    def depthwise(
        self,
        name: str,
        x: str,
        kernel: int,
        stride: int = 1,
        *,
        weights: str = '',
        multiplier: int = 1,
    ) -> str:
        weights = weights or name
        channels = self._channels[x]
        kernels = self._rng.standard_normal((kernel, kernel, channels, multiplier))
        self.weight(f'{weights}/w', kernels * np.sqrt(2) / kernel)
        x = self.add(
            f'{name}/depthwise',
            'DepthwiseConv2dNative',
            x,
            f'{weights}/w',
            channels=channels * multiplier,
            strides=[1, stride, stride, 1],
            padding='SAME',
            data_format='NHWC',
        )
        return self._end(name, weights, x, True, 'Relu6')

    def _end(self, name: str, weights: str, x: str, norm: bool, act: str) -> str:
        depth = self._channels[x]
        if norm:
            draw = self._rng.standard_normal
            roles = {
                'gamma': 1 + 0.1 * draw(depth),
                'beta': 0.2 * draw(depth),
                'mean': 0.2 * draw(depth),
                'variance': 0.5 + self._rng.random(depth),
            }
            names = [self.weight(f'{weights}/{role}', value) for role, value in roles.items()]
            x = self.add(f'{name}/bn', 'FusedBatchNorm', x, *names, epsilon=0.001)
        else:
            self.weight(f'{weights}/b', 0.1 * self._rng.standard_normal(depth))
            x = self.add(f'{name}/BiasAdd', 'BiasAdd', x, f'{weights}/b', data_format='NHWC')
        return self.add(f'{name}/act', act, x) if act else x

    def pool(self, name: str, op: str, x: str, kernel: int, stride: int, padding: str) -> str:
        return self.add(
            name,
            op,
            x,
            ksize=[1, kernel, kernel, 1],
            strides=[1, stride, stride, 1],
            padding=padding,
            data_format='NHWC',
        )

    def inverted_residual(
        self, name: str, x: str, out: int, kernel: int, stride: int = 1, *, weights: str = ''
    ) -> str:
        """EfficientNet-Lite's block."""
        weights, start = weights or name, x
        channels = self._channels[x]
        x = self.conv(f'{name}/expand', x, 4 * channels, weights=f'{weights}/expand')
        x = self.depthwise(f'{name}/dw', x, kernel, stride, weights=f'{weights}/dw')
        x = self.conv(f'{name}/project', x, out, weights=f'{weights}/project', act='')
        if stride == 1 and out == channels:
            x = self.add(f'{name}/add', 'AddV2', start, x)
        return x

    def bottleneck(
        self, name: str, x: str, out: int, stride: int = 1, dilation: int = 1, *, weights: str = ''
    ) -> str:
        """ResNet's block."""
        weights, start = weights or name, x
        y = self.conv(f'{name}/c1', x, out // 4, weights=f'{weights}/c1', act='Relu')
        options = {'weights': f'{weights}/c2', 'act': 'Relu'}
        if dilation == 1:
            y = self.conv(f'{name}/c2', y, out // 4, 3, stride, **options)
        else:
            y = self.atrous_conv(f'{name}/c2', y, out // 4, dilation, **options)
        y = self.conv(f'{name}/c3', y, out, weights=f'{weights}/c3', act='')
        if stride != 1 or self._channels[start] != out:
            start = self.conv(f'{name}/sc', start, out, 1, stride, weights=f'{weights}/sc', act='')
        return self.add(f'{name}/Relu', 'Relu', self.add(f'{name}/add', 'Add', start, y))

    # ---- the stages of a Mask R-CNN
    def image(self) -> str:
        x = self.add('image_tensor', 'Placeholder', channels=3, dtype='uint8')
        x = self.add('pre/mul', 'Mul', x, self.weight('pre/mul/x', 2 / 255))
        return self.add('pre/sub', 'Sub', x, self.weight('pre/sub/y', 1.0))

    def region_proposals(self, features: str, stride: int, sizes: list[float], count: int) -> None:
        x = self.conv('rpn', features, 32, 3, norm=False)
        boxes = self.conv(
            'rpn/boxes', x, 4 * len(sizes), norm=False, act='', scale=0.3, loc_pred_transposed=True
        )
        scores = self.conv('rpn/scores', x, 2 * len(sizes), norm=False, act='')
        shape = self.listed('rpn/scores/shape', 0, -1, 2)
        scores = self.add('rpn/scores/reshape', 'Reshape', scores, shape)
        scores = self.add('rpn/scores/softmax', 'Softmax', scores, axis=-1)
        scores = self.add('rpn/scores/flatten', 'Flatten', scores)
        flat = self.add('rpn/boxes/flatten', 'Flatten', boxes)
        priors = self.add(
            'proposals',
            'PriorBox',
            boxes,
            'image_tensor',
            clip=True,
            flip=False,
            offset=0.5,
            step=float(stride),
            width=np.array(sizes, np.float32),
            height=np.array(sizes[::-1], np.float32),
            variance=np.array([0.1, 0.1, 0.2, 0.2], np.float32),
        )
        self.add(
            PROPOSALS,
            'DetectionOutput',
            flat,
            scores,
            priors,
            background_label_id=0,
            clip=True,
            code_type='CENTER_SIZE',
            keep_top_k=count,
            nms_threshold=0.7,
            num_classes=2,
            share_location=True,
            top_k=500,
        )

    def box_stage(
        self, features: str, head: Callable[[str, str], str], classes: int, per_class: bool
    ) -> None:
        x = self._crop('', features, PROPOSALS)
        x = head('Head', x)
        axes = self.weight('avg/axes', (1, 2), 'int32')
        x = self.add('avg', 'Mean', x, axes, keep_dims=True)
        x = self.add('flatten', 'Flatten', x)
        boxes = self._matrix('boxes', x, 4 * classes if per_class else 4, 0.3, transposed=True)
        scores = self._matrix('scores', x, classes + 1, 3.0)
        boxes = self.add('boxes/reshape', 'Reshape', boxes, self.listed('boxes/shape', 1, -1, 4))
        shape = self.weight('scores/shape', (-1, 1, classes + 1), 'int32')
        scores = self.add('scores/reshape', 'Reshape', scores, shape)
        scores = self.add('scores/softmax', 'Softmax', scores, axis=-1)
        begins, sizes = (
            self.listed('scores/begins', 0, 0, 1),
            self.listed('scores/sizes', -1, -1, -1),
        )
        scores = self.add('scores/slice', 'Slice', scores, begins, sizes)
        scores = self.add(
            'scores/flatten', 'Reshape', scores, self.listed('scores/flatten/shape', 1, -1)
        )
        begins, sizes = (
            self.listed('priors/begins', 0, 0, 0, 3),
            self.listed('priors/sizes', -1, -1, -1, 4),
        )
        priors = self.add('priors/slice', 'Slice', PROPOSALS, begins, sizes)
        variance = self.listed('variance', 0.1, 0.1, 0.2, 0.2, dtype='float32')
        encoded = self.add('encoded', 'Mul', boxes, variance, axis=2)
        priors = self.add('priors', 'Reshape', priors, self.listed('priors/shape', 1, 1, -1))
        encoded = self.add('encoded/flatten', 'Flatten', encoded)
        self.add(
            DETECTIONS,
            'DetectionOutput',
            encoded,
            scores,
            priors,
            background_label_id=classes + 1,
            clip=True,
            code_type='CENTER_SIZE',
            confidence_threshold=0.3,
            group_by_classes=False,
            keep_top_k=50,
            nms_threshold=0.6,
            num_classes=classes,
            share_location=not per_class,
            variance_encoded_in_target=True,
        )

    def mask_stage(
        self, features: str, head: Callable[[str, str], str], classes: int, resize: str
    ) -> None:
        x = self._crop('_1', features, DETECTIONS)
        x = head('Head_1', x)
        size = self.weight('masks/size', (15, 15), 'int32')
        x = self.add('masks/resize', resize, x, size, align_corners=resize == 'ResizeBilinear')
        x = self.conv('masks/c1', x, 24, 3, norm=False, act='Relu')
        x = self.conv('masks/c2', x, classes, 3, norm=False, act='')
        order = self.weight('masks/order', (0, 3, 1, 2), 'int32')
        self.add(MASKS, 'Sigmoid', self.add('masks/transpose', 'Transpose', x, order))

    def _crop(self, suffix: str, features: str, regions: str) -> str:
        size = self.weight('crop/size', (14, 14), 'int32')
        x = self.add(
            f'Crop{suffix}',
            'CropAndResize',
            features,
            regions,
            size,
            method='bilinear',
            extrapolation_value=0.0,
        )
        return self.pool(f'CropPool{suffix}', 'MaxPool', x, 2, 2, 'VALID')

    def _matrix(self, name: str, x: str, out: int, scale: float, transposed: bool = False) -> str:
        shape = (self._channels[x], out)
        matrix = self._rng.standard_normal(shape) * scale / np.sqrt(shape[0])
        if not transposed:
            matrix[:, 0] = 0  # background is seldom the best
        self.weight(f'{name}/w', matrix)
        self.weight(f'{name}/b', 0.1 * self._rng.standard_normal(out))
        attributes = {'loc_pred_transposed': True} if transposed else {}
        x = self.add(f'{name}/MatMul', 'MatMul', x, f'{name}/w', channels=out, **attributes)
        return self.add(f'{name}/BiasAdd', 'BiasAdd', x, f'{name}/b')


def depthwise_model(folder: Path, classes: int = 3, per_class: bool = False) -> tuple[Path, Path]:
    """A Mask R-CNN like EfficientNet-Lite, with one feature map fused from two strides."""
    b = GraphBuilder(1)
    x = b.conv('stem', b.image(), 16, 3, 2)
    x = b.inverted_residual('b1', x, 16, 3)
    x = b.inverted_residual('b2', x, 24, 3, 2)
    x = b.inverted_residual('b3', x, 24, 5)
    x = b.inverted_residual('b4', x, 32, 5, 2)
    fine = b.inverted_residual('b5', x, 48, 3, 2)
    coarse = b.inverted_residual('b6', fine, 64, 5, 2)
    coarse = b.conv('lateral32', coarse, 40, act='', norm=False)
    factors = b.weight('up/y', [2.0]), b.weight('up/x', [2.0])
    coarse = b.add('up', 'ResizeNearestNeighbor', coarse, *factors)
    fine = b.conv('lateral16', fine, 40, act='', norm=False)
    fused = b.add('fused/add', 'AddV2', fine, coarse)
    features = b.conv('fused', b.add('fused/same', 'Identity', fused), 40, 3)

    def head(scope: str, x: str) -> str:
        x = b.inverted_residual(f'{scope}/h1', x, 48, 5, 2, weights='head/h1')
        return b.inverted_residual(f'{scope}/h2', x, 48, 3, weights='head/h2')

    b.region_proposals(features, 16, [48.0, 96.0, 160.0], 30)
    b.box_stage(features, head, classes, per_class)
    b.mask_stage(features, head, classes, 'ResizeNearestNeighbor')
    return b.write(folder)


def residual_model(folder: Path, classes: int = 3, dilations: bool = False) -> tuple[Path, Path]:
    """A Mask R-CNN like ResNet: residual additions, explicit padding, atrous convolutions.

    Args:
        folder: for the files.
        classes: foreground classes.
        dilations: whether atrous convolutions have the attribute ``dilations``, which cv2.dnn pads
            wrongly, in place of SpaceToBatchND around them.

    """
    b = GraphBuilder(2, dilations)
    paddings = b.weight('pad/paddings', [[0, 0], [3, 3], [3, 3], [0, 0]], 'int32')
    x = b.add('pad', 'Pad', b.image(), paddings)
    x = b.conv('stem', x, 32, 7, 2, act='Relu', padding='VALID')
    x = b.pool('stem/pool', 'MaxPool', x, 3, 2, 'SAME')
    for number, (out, stride, dilation) in enumerate(
        [(32, 1, 1), (32, 2, 1), (48, 2, 1), (48, 1, 2), (48, 1, 2)]
    ):
        x = b.bottleneck(f'block{number}', x, out, stride, dilation)
    features = x

    def head(scope: str, x: str) -> str:
        x = b.bottleneck(f'{scope}/h1', x, 64, 1, 2, weights='head/h1')
        return b.bottleneck(f'{scope}/h2', x, 64, weights='head/h2')

    b.region_proposals(features, 16, [48.0, 96.0, 160.0], 30)
    b.box_stage(features, head, classes, True)
    b.mask_stage(features, head, classes, 'ResizeBilinear')
    return b.write(folder)


def _fill(tensor: Any, array: np.ndarray) -> None:
    tensor.dtype = _DTYPES[array.dtype.name]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.size > 1:
        tensor.tensor_content = array.tobytes()
    elif array.dtype == np.int32:
        tensor.int_val.append(int(array.reshape(-1)[0]))
    else:
        tensor.float_val.append(float(array.reshape(-1)[0]))


def _attribute(value: Any) -> attr_value_pb2.AttrValue:
    attribute = attr_value_pb2.AttrValue()
    if isinstance(value, bool):
        attribute.b = value
    elif isinstance(value, int):
        attribute.i = value
    elif isinstance(value, float):
        attribute.f = value
    elif isinstance(value, np.ndarray):
        attribute.tensor.dtype = _DTYPES[value.dtype.name]
        attribute.tensor.tensor_shape.dim.add(size=len(value))
        attribute.tensor.float_val.extend(value.tolist())
    elif isinstance(value, list):
        attribute.list.i.extend(value)
    elif value == 'uint8':
        attribute.type = types_pb2.DT_UINT8
    else:
        attribute.s = value.encode()
    return attribute
