# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Crops of regions in ONNX: TensorFlow's CropAndResize, which samples from corner to corner.

On the processor each region is resized by itself, all channels of a pixel at a time: a seventh of
the time of RoiAlign, which goes channel by channel. A 2x2 maximum or average that follows is that
of four crops whose samples lie between each other. Elsewhere it is RoiAlign, which every provider
has.
"""

from __future__ import annotations

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_translation import Translation, Value
from instance_seg_ros.detection.text_graph import GraphNode

# Rounding must not bring a sample behind the last pixel, where there would be zeros.
_JUST_INSIDE = 1 - 1e-6
# What takes a pool's place among crops.
_OF_CROPS = {'MaxPool': 'Max', 'AvgPool': 'Mean'}


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
    pool = _pool_of(t, node) if height % 2 == width % 2 == 0 else None
    name = _resized(t.graph, t.regions, t.plain(features), (height, width), pool)
    size = (height // 2, width // 2) if pool else (height, width)
    return Value(name, image=True, size=size, pooled=pool is not None)


def _pool_of(t: Translation, node: GraphNode) -> str | None:
    """Return what is taken of crops that nothing but a 2x2 pool reads: Max, Mean, or None."""
    users = t.users(node.name)
    if len(users) != 1 or users[0].op not in _OF_CROPS or t.is_wanted(node.name):
        return None
    attributes = t.attributes(users[0])
    sides = attributes.integers('ksize', []), attributes.integers('strides', [])
    is_2x2 = sides == ([1, 2, 2, 1], [1, 2, 2, 1])
    if not is_2x2 or attributes.text('padding') not in ('VALID', 'SAME'):
        return None
    return _OF_CROPS[users[0].op]


def _resized(
    graph: OnnxGraph, regions: str, features: str, size: tuple[int, int], pool: str | None
) -> str:
    """Crop a region at a time, from features (1, h, w, channels)."""
    if pool:
        size = size[0] // 2, size[1] // 2
    sizes, longer = _samples(graph, features, size)
    rois = _rois(graph, regions, size, longer, pool is not None)
    # What is computed of all regions at once costs nothing; each operation in the loop does.
    body = OnnxGraph('crop', prefix='of_region_')
    crops = [
        body.add(
            'Resize',
            features,
            body.input(f'of_region_roi_{number}', 'float32', [4]),
            '',
            sizes,
            axes=[1, 2],
            mode='linear',
            coordinate_transformation_mode='tf_crop_and_resize',
        )
        for number in range(len(rois))
    ]
    pooled = body.add(pool, *crops) if pool else crops[0]
    wanted = body.add(
        'Slice', pooled, body.integers(0, 0), body.integers(*size), body.integers(1, 2)
    )
    planes = body.add('Transpose', wanted, perm=[0, 3, 1, 2])
    name = body.add('Squeeze', planes, body.integers(0))
    body.output('of_region_crop', name, 'float32', ['channels', *size])
    return graph.add('Scan', *rois, body=body, num_scan_inputs=len(rois))


def _rois(
    graph: OnnxGraph, regions: str, size: tuple[int, int], longer: str, pooled: bool
) -> list[str]:
    """Return the corners y1, x1, y2, x2 of what each region's crop, or four of them, sample."""
    inside = graph.add('Min', regions, graph.constant(_JUST_INSIDE))
    low, high = graph.add_many('Split', 2, inside, axis=1, num_outputs=2)
    starts, ends = [low], [high]
    if pooled:  # samples 0, 2, 4 ... and 1, 3, 5 ...
        last = graph.constant([2.0 * size[1] - 1.0, 2.0 * size[0] - 1.0])
        step = graph.add('Div', graph.add('Sub', high, low), last)
        starts, ends = [low, graph.add('Add', low, step)], [graph.add('Sub', high, step), high]
    axes = []
    for start, end in zip(starts, ends, strict=True):
        reach = graph.add('Mul', graph.add('Sub', end, start), longer)
        corners = start, graph.add('Add', start, reach)
        axes.append(
            [graph.add_many('Split', 2, corner, axis=1, num_outputs=2) for corner in corners]
        )
    return [
        graph.add('Concat', y1, x1, y2, x2, axis=1)
        for (_, y1), (_, y2) in axes
        for (x1, _), (x2, _) in axes
    ]


def _samples(graph: OnnxGraph, features: str, size: tuple[int, int]) -> tuple[str, str]:
    """Return the sides of a crop, and how much farther it reaches than what is wanted, x and y.

    Where features have as many rows or columns as are wanted, onnxruntime's Resize would take them
    as they are, whatever the region: there it takes one sample more.
    """
    shape = graph.add('Shape', features)
    sides = graph.add('Slice', shape, graph.integers(1), graph.integers(3))
    wanted = graph.integers(*size)
    more = graph.add('Cast', graph.add('Equal', sides, wanted), to=7)
    taken = graph.add('Add', wanted, more)
    steps = graph.add('Cast', graph.add('Sub', taken, graph.integers(1, 1)), to=1)
    longer = graph.add('Div', steps, graph.constant([size[0] - 1.0, size[1] - 1.0]))
    return taken, graph.add('Gather', longer, graph.integers(1, 0))


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
