# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The end of a mask head in ONNX, for the class that each region has and no other.

The last convolution of the published model computes masks of all 90 classes: 47 million
multiplications a region, of which the one mask that is wanted needs half a million.
"""

from __future__ import annotations

import numpy as np

from instance_seg_ros.detection.onnx_layers import LAYERS
from instance_seg_ros.detection.onnx_resize import shifts
from instance_seg_ros.detection.onnx_shapes import SHAPES
from instance_seg_ros.detection.onnx_translation import Translation
from instance_seg_ros.detection.text_graph import GraphNode

# Of a mask: the shifts of a larger one are a matrix that is no longer small.
_MOST_PIXELS = 400


def masks_of_classes(t: Translation, output: str) -> str | None:
    """Return masks (n, 1, M, M) of the classes in the new input ``class_ids`` int64 (n,).

    Args:
        t: of the nodes of a mask head, none of them translated yet.
        output: the node of the masks of all classes.

    Returns:
        The name of the ONNX value; None for a head that does not end in a convolution, an order of
        axes and a sigmoid, where all masks must be computed.

    """
    found = _last_convolution(t, output)
    if found is None:
        return None
    convolution, bias = found
    t.translate([convolution.inputs[0]], {**LAYERS, **SHAPES})
    x, graph = t.value(convolution), t.graph
    if not x.image or x.size is None or x.enlarged is not None or np.prod(x.size) > _MOST_PIXELS:
        return None
    kernel = t.constant(convolution, 1).astype(np.float32)
    rows, columns, channels, classes = kernel.shape
    taps = rows * columns
    class_ids = graph.input('class_ids', 'int64', ['regions'])
    kernels = graph.constant(kernel.reshape(taps, channels, classes).transpose(2, 0, 1))
    flat = graph.add('Reshape', x.name, graph.integers(0, channels, -1))
    products = graph.add('MatMul', graph.add('Gather', kernels, class_ids), flat)
    pixels = int(np.prod(x.size))
    products = graph.add('Reshape', products, graph.integers(0, 1, taps * pixels))
    shifted = graph.constant(shifts(np.eye(pixels), x.size, rows, columns))
    sums = graph.add('MatMul', products, shifted)
    if bias is not None:
        biases = graph.constant(t.constant(bias, 1).reshape(-1, 1, 1))
        sums = graph.add('Add', sums, graph.add('Gather', biases, class_ids))
    return graph.add('Sigmoid', graph.add('Reshape', sums, graph.integers(0, 1, *x.size)))


def _last_convolution(t: Translation, output: str) -> tuple[GraphNode, GraphNode | None] | None:
    """Return the convolution that ends the head, and its bias."""
    sigmoid = t.node(output)
    order = t.node(sigmoid.inputs[0])
    if (sigmoid.op, order.op) != ('Sigmoid', 'Transpose'):
        return None
    last = t.node(order.inputs[0])
    bias = last if last.op == 'BiasAdd' else None
    convolution = last if bias is None else t.node(bias.inputs[0])
    if convolution.op != 'Conv2D' or t.constant(order, 1).tolist() != [0, 3, 1, 2]:
        return None
    attributes = t.attributes(convolution)
    steps = (attributes.integers(key, [1] * 4) for key in ('strides', 'dilations'))
    plain = attributes.text('padding') == 'SAME' and all(set(step) == {1} for step in steps)
    several = t.constant(convolution, 1).ndim == 4 and t.constant(convolution, 1).shape[3] > 1
    return (convolution, bias) if plain and several else None


__all__ = ['masks_of_classes']
