# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What changes the shape of values, in ONNX: reshaping, slices, crops, other sizes."""

from __future__ import annotations

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_crops import crop
from instance_seg_ros.detection.onnx_resize import resize
from instance_seg_ros.detection.onnx_translation import Translation, Value, renamed
from instance_seg_ros.detection.text_graph import GraphNode

_TO_NCHW = [0, 2, 3, 1]  # position of each axis of NHWC in NCHW
_LARGEST = 2**31 - 1


def concat(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """ConcatV2: the last input is the axis."""
    count = len(node.inputs) - 1
    values = [t.value(node, position) for position in range(count)]
    axis = int(t.constant(node, count).ravel()[0])
    if all(value.image for value in values):
        names = [value.name for value in values]
        name = t.graph.add('Concat', *names, axis=_TO_NCHW[axis])
        return Value(name, image=True, size=values[0].size if axis in (3, -1) else None)
    return Value(t.graph.add('Concat', *(t.plain(value) for value in values), axis=axis))


def reshape(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Reshape to a constant shape."""
    shape = t.constant(node, 1).ravel().tolist()
    x = t.plain(t.value(node))
    return Value(t.graph.add('Reshape', x, t.graph.integers(*shape)))


def flatten(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Flatten all but the first axis."""
    return Value(t.graph.add('Flatten', t.plain(t.value(node)), axis=1))


def squeeze(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Squeeze axes of one element."""
    axes = attributes.integers('squeeze_dims', attributes.integers('axis', []))
    if not axes:
        t.fail(node, 'names no squeeze_dims')
    return Value(t.graph.add('Squeeze', t.plain(t.value(node)), t.graph.integers(*axes)))


def transpose(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Transpose by a constant order."""
    order = t.constant(node, 1).ravel().tolist()
    x = t.value(node)
    if x.image and order == [0, 3, 1, 2]:
        return Value(x.name)
    return Value(t.graph.add('Transpose', t.plain(x), perm=order))


def cut(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Slice by constant begins and sizes; -1 is up to the end."""
    begins, sizes = (t.constant(node, position).ravel().tolist() for position in (1, 2))
    ends = [
        _LARGEST if size < 0 else begin + size for begin, size in zip(begins, sizes, strict=True)
    ]
    x = t.plain(t.value(node))
    axes = t.graph.integers(*range(len(begins)))
    name = t.graph.add('Slice', x, t.graph.integers(*begins), t.graph.integers(*ends), axes)
    return Value(name)


def mean(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Mean over constant axes."""
    axes = t.constant(node, 1).ravel().tolist()
    keep = attributes.flag('keep_dims', attributes.flag('keepdims'))
    x = t.value(node)
    if x.image and sorted(axes) == [1, 2]:
        pooled = t.graph.add('GlobalAveragePool', x.name)
        if keep:
            return Value(pooled, image=True, size=(1, 1))
        return Value(t.graph.add('Squeeze', pooled, t.graph.integers(2, 3)))
    name = t.graph.add('ReduceMean', t.plain(x), t.graph.integers(*axes), keepdims=int(keep))
    return Value(name)


def pad(t: Translation, node: GraphNode, _: NodeAttributes) -> Value:
    """Pad with zeros."""
    x = t.value(node)
    paddings = t.constant(node, 1)
    if x.image:
        paddings = paddings[[0, 3, 1, 2]]
    return renamed(x, t.graph.add('Pad', x.name, t.graph.integers(*paddings.T.ravel().tolist())))


SHAPES = {
    'ConcatV2': concat,
    'CropAndResize': crop,
    'Flatten': flatten,
    'Mean': mean,
    'Pad': pad,
    'Reshape': reshape,
    'ResizeBilinear': resize,
    'ResizeNearestNeighbor': resize,
    'Slice': cut,
    'Squeeze': squeeze,
    'Transpose': transpose,
}

__all__ = ['SHAPES']
