# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Layers of a text graph in ONNX: convolutions, norms, pooling, and what works number by number.

TensorFlow's SAME pads as little as needed, an odd rest to the right and the bottom: SAME_UPPER.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_resize import convolution_of_enlarged
from instance_seg_ros.detection.onnx_translation import (
    Translation,
    Value,
    renamed,
    swap_box_encodings,
)
from instance_seg_ros.detection.text_graph import GraphNode

_NO_PADDING = [0, 0, 0, 0]


def convolution(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Conv2D: kernels are (height, width, in, out)."""
    kernel = _kernel(t, node)
    swapped = attributes.flag('loc_pred_transposed')
    if swapped:
        kernel = swap_box_encodings(kernel)
    if t.value(node).enlarged is not None:
        return convolution_of_enlarged(t.graph, t.value(node), kernel)
    return _convolution(t, node, attributes, kernel.transpose(3, 2, 0, 1), 1, swapped)


def depthwise_convolution(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """DepthwiseConv2dNative: kernels are (height, width, in, multiplier)."""
    kernel = _kernel(t, node)
    height, width, channels, multiplier = kernel.shape
    grouped = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolution(t, node, attributes, grouped, channels, False)


def _kernel(t: Translation, node: GraphNode) -> NDArray[Any]:
    kernel = t.constant(node, 1)
    if kernel.ndim != 4:
        t.fail(node, f'has weights of the shape {kernel.shape}, expected 4 sides')
    return kernel


def _convolution(
    t: Translation,
    node: GraphNode,
    attributes: NodeAttributes,
    kernel: NDArray[Any],
    groups: int,
    swapped: bool,
) -> Value:
    x = _image(t, node, attributes)
    strides = attributes.integers('strides', [1, 1, 1, 1])[1:3]
    dilations = attributes.integers('dilations', [1, 1, 1, 1])[1:3]
    if x.spread is not None:
        dilations, padding = x.spread
        if strides != [1, 1] or attributes.text('padding') != 'VALID':
            t.fail(node, 'is spread by SpaceToBatchND, and has strides or a padding of its own')
        padded: dict[str, Any] = {'pads': padding}
    else:
        padded = _padding(t, node, attributes, list(kernel.shape[2:]), strides, dilations)
    name = t.graph.add(
        'Conv',
        x.name,
        t.graph.constant(kernel),
        strides=strides,
        dilations=dilations,
        group=groups,
        **padded,
    )
    size = _size_after(x.size, list(kernel.shape[2:]), strides, dilations, padded)
    return Value(name, image=True, boxes_swapped=swapped, size=size)


def _size_after(
    size: tuple[int, int] | None,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    padding: dict[str, Any],
) -> tuple[int, int] | None:
    """Return height and width behind a layer."""
    if size is None:
        return None
    after = []
    for axis in (0, 1):
        if 'pads' in padding:
            padded = size[axis] + padding['pads'][axis] + padding['pads'][axis + 2]
            free = padded - dilations[axis] * (kernel[axis] - 1) - 1
            after.append(free // strides[axis] + 1)
        else:
            after.append(-(-size[axis] // strides[axis]))
    return after[0], after[1]


def _padding(
    t: Translation,
    node: GraphNode,
    attributes: NodeAttributes,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
) -> dict[str, Any]:
    kind = attributes.text('padding')
    if kind == 'VALID':
        return {'pads': _NO_PADDING}
    if kind == 'EXPLICIT':
        _, _, top, bottom, left, right, *_ = attributes.integers('explicit_paddings', [0] * 8)
        return {'pads': [top, left, bottom, right]}
    if kind != 'SAME':
        t.fail(node, f'has the padding {kind!r}, expected SAME, VALID or EXPLICIT')
    if strides == [1, 1]:  # then it does not depend on the size of the image
        total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        begin = [n // 2 for n in total]
        return {'pads': begin + [n - b for n, b in zip(total, begin, strict=True)]}
    if dilations != [1, 1]:
        t.fail(node, f'has strides {strides} and dilations {dilations}, expected one of both')
    return {'auto_pad': 'SAME_UPPER'}


def _image(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Return the input of a node that works on images."""
    layout = attributes.text('data_format', 'NHWC')
    if layout != 'NHWC':
        t.fail(node, f'has the data_format {layout}, expected NHWC')
    x = t.value(node)
    if not x.image:
        name = t.graph.add('Transpose', x.name, perm=[0, 3, 1, 2])
        return Value(name, image=True)
    return x


def space_to_batch(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """SpaceToBatchND, a convolution and BatchToSpaceND are one convolution with a dilation."""
    convolutions = t.users(node.name)
    ends = t.users(convolutions[0].name) if len(convolutions) == 1 else []
    if len(ends) != 1 or ends[0].op != 'BatchToSpaceND':
        t.fail(node, 'is expected before a convolution and BatchToSpaceND')
    block, paddings, crops = t.constant(node, 1), t.constant(node, 2), t.constant(ends[0], 2)
    padding = (paddings - crops).T.ravel().tolist()
    x = t.value(node)
    return Value(x.name, x.image, spread=(block.tolist(), padding))


def same(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Pass on what does not change: Identity, or the end of a dilated convolution."""
    return t.value(node)


def batch_norm(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """FusedBatchNorm: part of the convolution before it, if nothing else reads that."""
    x = _image(t, node, attributes)
    gamma, beta, mean, variance = (
        t.constant(node, position).astype(np.float32) for position in (1, 2, 3, 4)
    )
    if attributes.flag('is_training'):
        t.fail(node, 'is one of training')
    with np.errstate(all='ignore'):  # broken weights are noticed at the first forward
        scale = gamma / np.sqrt(variance + np.float32(attributes.number('epsilon', 1e-4)))
        shift = beta - scale * mean
    layer = t.layer_before(node, 'Conv')
    if layer is None:
        scaled = t.graph.add('Mul', x.name, t.graph.constant(scale[:, None, None]))
        return renamed(x, t.graph.add('Add', scaled, t.graph.constant(shift[:, None, None])))
    kernel = t.graph.constants[layer.inputs[1]]
    if len(scale) != len(kernel):
        t.fail(node, f'has {len(scale)} channels, and the convolution before it {len(kernel)}')
    if len(layer.inputs) == 3:
        shift = shift + scale * t.graph.constants[layer.inputs[2]]
    layer.inputs[1:] = [
        t.graph.constant(kernel * scale[:, None, None, None]),
        t.graph.constant(shift),
    ]
    return x


def bias(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """BiasAdd: part of the layer before it, if nothing else reads that."""
    x = t.value(node)
    values = t.constant(node, 1).astype(np.float32)
    if x.boxes_swapped:
        values = swap_box_encodings(values)
    layer = t.layer_before(node, 'Conv', 'Gemm')
    if layer is not None and len(layer.inputs) == 2:
        layer.inputs.append(t.graph.constant(values))
        return x
    if x.image:
        values = values[:, None, None]
    return renamed(x, t.graph.add('Add', x.name, t.graph.constant(values)))


def matrix_product(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Translate MatMul with a constant matrix."""
    if attributes.flag('transpose_a'):
        t.fail(node, 'has transpose_a, expected none')
    matrix = t.constant(node, 1)
    if matrix.ndim != 2:
        t.fail(node, f'has weights of the shape {matrix.shape}, expected 2 sides')
    if attributes.flag('transpose_b'):
        matrix = matrix.T
    swapped = attributes.flag('loc_pred_transposed')
    if swapped:
        matrix = swap_box_encodings(matrix)
    name = t.graph.add('Gemm', t.plain(t.value(node)), t.graph.constant(matrix))
    return Value(name, boxes_swapped=swapped)


def pool(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Translate MaxPool and AvgPool, which does not count the padding."""
    if t.value(node).pooled:  # as a crop already
        return replace(t.value(node), pooled=False)
    x = _image(t, node, attributes)
    kernel = attributes.integers('ksize', [1, 1, 1, 1])[1:3]
    strides = attributes.integers('strides', [1, 1, 1, 1])[1:3]
    padding = _padding(t, node, attributes, kernel, strides, [1, 1])
    op = {'MaxPool': 'MaxPool', 'AvgPool': 'AveragePool'}[node.op]
    name = t.graph.add(op, x.name, kernel_shape=kernel, strides=strides, **padding)
    size = _size_after(x.size, kernel, strides, [1, 1], padding)
    return Value(name, image=True, size=size)


def relu(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Relu."""
    x = t.value(node)
    return renamed(x, t.graph.add('Relu', x.name))


def relu6(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Relu6."""
    x = t.value(node)
    limits = t.graph.constant(0.0), t.graph.constant(6.0)
    return renamed(x, t.graph.add('Clip', x.name, *limits))


def sigmoid(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Sigmoid."""
    x = t.value(node)
    return renamed(x, t.graph.add('Sigmoid', x.name))


def softmax(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Softmax, by default over the last axis."""
    x = t.plain(t.value(node))
    return Value(t.graph.add('Softmax', x, axis=attributes.integer('axis', -1)))


def power(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Power, a layer of OpenCV's own: (shift + scale * x) ** power."""
    x = t.value(node)
    name = x.name
    for op, key, neutral in (('Mul', 'scale', 1.0), ('Add', 'shift', 0.0), ('Pow', 'power', 1.0)):
        number = attributes.number(key, neutral)
        if number != neutral:
            name = t.graph.add(op, name, t.graph.constant(number))
    return renamed(x, name)


_ARITHMETIC = {'Add': 'Add', 'AddV2': 'Add', 'Sub': 'Sub', 'Mul': 'Mul', 'RealDiv': 'Div'}


def arithmetic(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Add, Sub, Mul and RealDiv of two values, or of a value and a constant."""
    constant = [t.is_constant(node, position) for position in (0, 1)]
    if all(constant):
        t.fail(node, 'has constants only')
    values = [None if c else t.value(node, i) for i, c in enumerate(constant)]
    layouts = {value.image for value in values if value is not None}
    image = layouts == {True}
    names = []
    for position, value in enumerate(values):
        if value is not None:
            names.append(value.name if image else t.plain(value))
        else:
            names.append(t.graph.constant(_broadcast(t, node, position, image)))
    size = next(value.size for value in values if value is not None)
    return Value(t.graph.add(_ARITHMETIC[node.op], *names), image, size=size)


def _broadcast(t: Translation, node: GraphNode, position: int, image: bool) -> NDArray[Any]:
    """Return a constant whose last axes are those of TensorFlow's NHWC in NCHW."""
    array = t.constant(node, position)
    if not image or array.ndim == 0:
        return array
    if array.ndim > 1 and array.size != array.shape[-1]:
        t.fail(node, f'has a constant of the shape {array.shape}, expected one number per channel')
    return array.reshape(-1, 1, 1)


LAYERS = {
    'Add': arithmetic,
    'AddV2': arithmetic,
    'AvgPool': pool,
    'BatchToSpaceND': same,
    'BiasAdd': bias,
    'Conv2D': convolution,
    'DepthwiseConv2dNative': depthwise_convolution,
    'FusedBatchNorm': batch_norm,
    'FusedBatchNormV2': batch_norm,
    'FusedBatchNormV3': batch_norm,
    'Identity': same,
    'MatMul': matrix_product,
    'MaxPool': pool,
    'Mul': arithmetic,
    'Power': power,
    'RealDiv': arithmetic,
    'Relu': relu,
    'Relu6': relu6,
    'Sigmoid': sigmoid,
    'Softmax': softmax,
    'SpaceToBatchND': space_to_batch,
    'Sub': arithmetic,
}
