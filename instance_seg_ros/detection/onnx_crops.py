# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Crops of regions in ONNX: TensorFlow's CropAndResize, which samples from corner to corner.

On the processor each region is resized by itself, all channels of a pixel at a time: a seventh of
the time of RoiAlign, which goes channel by channel. A 2x2 maximum that follows is that of four
crops whose samples lie between each other. Elsewhere it is RoiAlign, which every provider has.
"""

from __future__ import annotations

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_translation import Translation, Value
from instance_seg_ros.detection.text_graph import GraphNode

# Rounding must not bring a sample behind the last pixel, where there would be zeros.
_JUST_INSIDE = 1 - 1e-6


def crop(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Translate CropAndResize of the regions."""
    method = attributes.text('method', 'bilinear')
    if method != 'bilinear':
        t.fail(node, f'has the method {method!r}, expected bilinear')
    height, width = t.constant(node, 2).ravel().tolist()
    if min(height, width) < 4:
        t.fail(node, f'crops to {width}x{height} samples, expected four a side or more')
    features = t.value(node)
    if not t.for_processor:
        name = _aligned(t.graph, t.regions, features.name, (height, width))
        return Value(name, image=True, size=(height, width))
    pooled = _is_pooled(t, node) and height % 2 == width % 2 == 0
    name = _resized(t.graph, t.regions, t.plain(features), (height, width), pooled)
    size = (height // 2, width // 2) if pooled else (height, width)
    return Value(name, image=True, size=size, pooled=pooled)


def _is_pooled(t: Translation, node: GraphNode) -> bool:
    """Whether nothing but a 2x2 maximum reads a crop."""
    users = t.users(node.name)
    if len(users) != 1 or users[0].op != 'MaxPool' or t.is_wanted(node.name):
        return False
    attributes = t.attributes(users[0])
    two = [1, 2, 2, 1]
    return attributes.integers('ksize', []) == attributes.integers(
        'strides', []
    ) == two and attributes.text('padding') in ('VALID', 'SAME')


def _resized(
    graph: OnnxGraph, regions: str, features: str, size: tuple[int, int], pooled: bool
) -> str:
    """Crop a region at a time, from features (1, h, w, channels)."""
    inside = graph.add('Min', regions, graph.constant(_JUST_INSIDE))
    last = graph.constant([size[1] - 1.0, size[0] - 1.0])
    if pooled:
        size = size[0] // 2, size[1] // 2
    sizes, longer = _samples(graph, features, size)
    body = OnnxGraph('crop', prefix='of_region_')
    region = body.input('of_region', 'float32', [4])
    low, high = body.add_many('Split', 2, region, axis=0, num_outputs=2)
    starts, ends = [low], [high]
    if pooled:  # samples 0, 2, 4 ... and 1, 3, 5 ...
        step = body.add('Div', body.add('Sub', high, low), last)
        starts, ends = [low, body.add('Add', low, step)], [body.add('Sub', high, step), high]
    axes = []
    for start, end in zip(starts, ends, strict=True):
        reach = body.add('Mul', body.add('Sub', end, start), longer)
        corners = start, body.add('Add', start, reach)
        axes.append(
            [body.add_many('Split', 2, corner, axis=0, num_outputs=2) for corner in corners]
        )
    zero, one = body.constant([0.0]), body.constant([1.0])
    crops = [
        body.add(
            'Resize',
            features,
            body.add('Concat', zero, y1, x1, zero, one, y2, x2, one, axis=0),
            '',
            sizes,
            mode='linear',
            coordinate_transformation_mode='tf_crop_and_resize',
        )
        for (_, y1), (_, y2) in axes
        for (x1, _), (x2, _) in axes
    ]
    largest = body.add('Max', *crops) if pooled else crops[0]
    wanted = body.add(
        'Slice', largest, body.integers(0, 0), body.integers(*size), body.integers(1, 2)
    )
    planes = body.add('Transpose', wanted, perm=[0, 3, 1, 2])
    name = body.add('Squeeze', planes, body.integers(0))
    body.output('of_region_crop', name, 'float32', ['channels', *size])
    return graph.add('Scan', inside, body=body, num_scan_inputs=1)


def _samples(graph: OnnxGraph, features: str, size: tuple[int, int]) -> tuple[str, str]:
    """Return the shape of a crop, and how much farther it reaches than what is wanted, x and y.

    Where features have as many rows or columns as are wanted, onnxruntime's Resize would take them
    as they are, whatever the region: there it takes one sample more.
    """
    shape = graph.add('Shape', features)
    sides = graph.add('Slice', shape, graph.integers(1), graph.integers(3))
    channels = graph.add('Slice', shape, graph.integers(3), graph.integers(4))
    wanted = graph.integers(*size)
    more = graph.add('Cast', graph.add('Equal', sides, wanted), to=7)
    taken = graph.add('Add', wanted, more)
    steps = graph.add('Cast', graph.add('Sub', taken, graph.integers(1, 1)), to=1)
    longer = graph.add('Div', steps, graph.constant([size[0] - 1.0, size[1] - 1.0]))
    sizes = graph.add('Concat', graph.integers(1), taken, channels, axis=0)
    return sizes, graph.add('Gather', longer, graph.integers(1, 0))


def _aligned(graph: OnnxGraph, regions: str, features: str, size: tuple[int, int]) -> str:
    """Crop by RoiAlign with one sample per cell, of regions half a cell larger on each side."""
    height, width = size
    shape = graph.add('Gather', graph.add('Shape', features), graph.integers(3, 2))
    last = graph.add('Sub', graph.add('Cast', shape, to=1), graph.constant([1.0, 1.0]))
    corners = graph.add_many('Split', 2, regions, axis=1, num_outputs=2)
    low, high = (graph.add('Mul', corner, last) for corner in corners)
    cells = graph.constant([2.0 * (width - 1), 2.0 * (height - 1)])
    half_cell = graph.add('Div', graph.add('Sub', high, low), cells)
    half_pixel = graph.constant(0.5)
    low = graph.add('Add', graph.add('Sub', low, half_cell), half_pixel)
    high = graph.add('Add', graph.add('Add', high, half_cell), half_pixel)
    rois = graph.add('Concat', low, high, axis=1)
    # Of the image that each region is in: there is one.
    zeros = graph.add('Expand', graph.integers(0), graph.add('Shape', rois, start=0, end=1))
    return graph.add(
        'RoiAlign',
        features,
        rois,
        zeros,
        output_height=height,
        output_width=width,
        sampling_ratio=1,
        mode='avg',
        coordinate_transformation_mode='half_pixel',
    )


__all__ = ['crop']
