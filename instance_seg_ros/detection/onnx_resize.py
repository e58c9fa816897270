# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Images of another size in ONNX, and the convolution that follows.

A mask head makes regions larger and then convolves them. Both are linear, so the convolution's
products with its channels can be taken before, where there are few pixels: for the published model
46 million multiplications a mask in place of 531 million.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_translation import Translation, Value
from instance_seg_ros.detection.text_graph import GraphNode


def resize(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Translate ResizeBilinear and ResizeNearestNeighbor.

    To a constant size, or, as OpenCV has it, by a constant factor for the height and one for the
    width.
    """
    x = t.value(node)
    if not x.image:
        t.fail(node, 'resizes what is no image')
    options = _options(node.op, attributes)
    if len(node.inputs) == 3:
        factors = [float(t.constant(node, position).ravel()[0]) for position in (1, 2)]
        # All four axes: with the attribute axes, onnxruntime's layout of int8 graphs is wrong.
        scales = t.graph.constant([1.0, 1.0, *factors])
        del options['axes']
        return Value(t.graph.add('Resize', x.name, '', scales, **options), image=True)
    height, width = t.constant(node, 1).ravel().tolist()
    if x.size is not None and _is_worth_it(t, node, x.size, (height, width)):
        matrices = [
            _matrix(node.op, attributes, before, after)
            for before, after in zip(x.size, (height, width), strict=True)
        ]
        return Value(
            x.name, image=True, size=(height, width), enlarged=np.asarray(np.kron(*matrices))
        )
    name = t.graph.add('Resize', x.name, '', '', t.graph.integers(height, width), **options)
    return Value(name, image=True, size=(height, width))


def _options(op: str, attributes: NodeAttributes) -> dict[str, Any]:
    linear, corners = op == 'ResizeBilinear', attributes.flag('align_corners')
    centres = attributes.flag('half_pixel_centers')
    options: dict[str, Any] = {
        'mode': 'linear' if linear else 'nearest',
        'coordinate_transformation_mode': (
            'align_corners' if corners else 'half_pixel' if centres else 'asymmetric'
        ),
        'axes': [2, 3],
    }
    if not linear:
        options['nearest_mode'] = 'round_prefer_ceil' if corners else 'floor'
    return options


def _matrix(op: str, attributes: NodeAttributes, before: int, after: int) -> NDArray[np.float64]:
    """Return (after, before): how much of each sample is in each one of the resized side."""
    places = np.arange(after, dtype=np.float64)
    corners = attributes.flag('align_corners')
    if corners:
        places *= (before - 1) / (after - 1) if after > 1 else 0
    elif attributes.flag('half_pixel_centers'):
        places = (places + 0.5) * before / after - 0.5
    else:
        places *= before / after
    if op != 'ResizeBilinear':
        places = np.floor(places + 0.5) if corners else np.floor(places + 1e-9)
    places = places.clip(0, before - 1)
    return (1 - np.abs(places[:, None] - np.arange(before))).clip(0)


def _is_worth_it(
    t: Translation, node: GraphNode, size: tuple[int, int], larger: tuple[int, int]
) -> bool:
    """Whether one convolution follows, and has less to do on the smaller image."""
    users = t.users(node.name)
    if len(users) != 1 or users[0].op != 'Conv2D' or t.is_wanted(node.name):
        return False
    attributes, kernel = t.attributes(users[0]), t.constant(users[0], 1)
    plain = attributes.text('padding') == 'SAME' and kernel.ndim == 4
    strides, dilations = (attributes.integers(k, [1] * 4) for k in ('strides', 'dilations'))
    if not plain or {*strides, *dilations} != {1}:
        return False
    (before, after), (rows, columns, channels, out) = (np.prod(size), np.prod(larger)), kernel.shape
    taps = rows * columns
    return bool(taps * before * (channels + after) * out < 0.7 * taps * after * channels * out)


def convolution_of_enlarged(graph: OnnxGraph, x: Value, kernel: NDArray[np.float32]) -> Value:
    """Convolve an image that is yet to be enlarged.

    Args:
        graph: receives the operations.
        x: of :func:`resize`.
        kernel: (height, width, in, out), of a convolution with the padding SAME.

    """
    assert x.enlarged is not None and x.size is not None
    rows, columns, channels, out = kernel.shape
    # (out, taps, in): what each tap takes from the channels, in every pixel before the enlargement.
    taps = kernel.reshape(rows * columns, channels, out).transpose(2, 0, 1)
    products = graph.add(
        'Conv', x.name, graph.constant(taps.reshape(-1, channels, 1, 1)), kernel_shape=[1, 1]
    )
    shifted = shifts(x.enlarged, x.size, rows, columns)
    rest = graph.add('Reshape', products, graph.integers(0, out, len(shifted)))
    summed = graph.add('MatMul', rest, graph.constant(shifted))
    name = graph.add('Reshape', summed, graph.integers(0, 0, *x.size))
    return Value(name, image=True, size=x.size)


def shifts(
    enlarged: NDArray[np.float64], size: tuple[int, int], rows: int, columns: int
) -> NDArray[np.float64]:
    """Return (taps * pixels before, pixels after) of an enlargement (pixels after, before)."""
    height, width = size
    top, left = (rows - 1) // 2, (columns - 1) // 2
    padded = np.pad(
        enlarged.reshape(height, width, -1),
        ((top, rows - 1 - top), (left, columns - 1 - left), (0, 0)),
    )
    taps = [
        padded[y : y + height, x : x + width].reshape(height * width, -1).T
        for y in range(rows)
        for x in range(columns)
    ]
    return np.concatenate(taps)


__all__ = ['convolution_of_enlarged', 'resize', 'shifts']
