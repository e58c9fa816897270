# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Convolutions of an ONNX graph in int8 or in half floats.

What decides about boxes stays in float32: the last layer of each head and all that follows it.

For int8 each value between convolutions is written as eight bits of its range, which was observed
on photos (see ``onnx_calibration``), and read again: QuantizeLinear and DequantizeLinear, from
which onnxruntime makes convolutions of integers. Weights get seven bits, for each output channel on
its own: with eight, processors without VNNI would overflow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.onnx_file import OnnxGraph, OnnxNode

# Lowest and highest number of each value, by its name.
Ranges = Mapping[str, tuple[float, float]]

_LARGEST_WEIGHT = 63
_ACTIVATIONS = ('Relu', 'Clip')
# What keeps its range, and what may join convolutions.
_SAME_RANGE = ('MaxPool', 'Resize')
_BETWEEN = (*_SAME_RANGE, 'Add', 'AveragePool', 'Concat', 'GlobalAveragePool')
_FLOAT, _HALF = 1, 10  # ONNX's numbers of the types


class _Readers:
    """Who reads the values of a graph."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._readers: defaultdict[str, list[OnnxNode]] = defaultdict(list)
        self.made_by = {name: node for node in graph.nodes for name in node.outputs}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name].append(node)

    def end(self, node: OnnxNode) -> str:
        """Return the value of a node, behind the activation that follows it."""
        readers = self._readers[node.outputs[0]]
        if len(readers) == 1 and readers[0].op in _ACTIVATIONS:
            return readers[0].outputs[0]
        return node.outputs[0]

    def joins(self, value: str) -> bool:
        """Whether a value is read by convolutions or by what joins them."""
        return any(reader.op in ('Conv', *_BETWEEN) for reader in self._readers[value])


def values_to_observe(graph: OnnxGraph) -> list[str]:
    """Return the values whose ranges an int8 graph needs."""
    readers = _Readers(graph)
    wanted: dict[str, None] = {}
    for node in graph.nodes:
        if node.op == 'Conv' and readers.joins(readers.end(node)):
            wanted[node.inputs[0]] = wanted[readers.end(node)] = None
        elif node.op in _BETWEEN and _data(node, graph) <= set(wanted):
            end = readers.end(node)
            if readers.joins(end):
                wanted[end] = None
    return list(wanted)


def _data(node: OnnxNode, graph: OnnxGraph) -> set[str]:
    """Return what a node reads, but for the sizes and scales of images."""
    return set(node.inputs[: 1 if node.op in _SAME_RANGE else None])


def observe(graph: OnnxGraph) -> None:
    """Add the outputs <value>_low and <value>_high, float32 (), of all values to observe."""
    for value in values_to_observe(graph):
        for name, op in (('low', 'ReduceMin'), ('high', 'ReduceMax')):
            graph.output(f'{value}_{name}', graph.add(op, value, keepdims=0), 'float32', [])


def to_int8(graph: OnnxGraph, ranges: Ranges) -> None:
    """Write the convolutions of a graph for int8.

    Raises:
        KeyError: the range of a value is missing.

    """
    readers = _Readers(graph)
    scales: dict[str, tuple[str, str, np.float32]] = {}
    for value in values_to_observe(graph):
        node = readers.made_by.get(value)
        if node is not None and node.op in _SAME_RANGE:
            scales[value] = scales[node.inputs[0]]
        else:
            scales[value] = _scale(graph, *ranges[value])
    rounded: dict[str, str] = {}  # what stands for each value
    nodes, graph.nodes = graph.nodes, []
    for value in scales:
        if value not in readers.made_by:  # an input of the graph
            rounded[value] = _round_trip(graph, value, scales[value])
    for node in nodes:
        inputs = [rounded.get(name, name) for name in node.inputs]
        if node.op == 'Conv' and node.inputs[0] in scales and readers.end(node) in scales:
            inputs[1:] = _weights(graph, node, scales[node.inputs[0]][2])
        graph.nodes.append(replace(node, inputs=inputs))
        for value in node.outputs:
            if value in scales:
                rounded[value] = _round_trip(graph, value, scales[value])


def _scale(graph: OnnxGraph, low: float, high: float) -> tuple[str, str, np.float32]:
    """Return the names of scale and zero point of a range, and the scale."""
    low, high = min(low, 0.0), max(high, 0.0)
    # A little less than the range, or an activation that ends at its limits would be kept.
    scale = np.float32(max(high - low, 1e-6) / 255 * (1 - 1e-6))
    zero = int(np.clip(round(-low / float(scale)), 0, 255))
    return graph.constant(scale), graph.constant(zero, 'uint8'), scale


def _round_trip(graph: OnnxGraph, value: str, scale: tuple[str, str, np.float32]) -> str:
    return graph.add('DequantizeLinear', graph.add('QuantizeLinear', value, *scale[:2]), *scale[:2])


def _weights(graph: OnnxGraph, node: OnnxNode, scale: np.float32) -> list[str]:
    """Return the names of a convolution's weights and bias, read from integers."""
    kernel: NDArray[np.float32] = graph.constants[node.inputs[1]]
    largest = np.abs(kernel).max((1, 2, 3))
    scales = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(_LARGEST_WEIGHT)
    integers = np.rint(kernel / scales[:, None, None, None])
    names = [_integers(graph, integers, 'int8', scales)]
    if len(node.inputs) == 3:
        steps = scale * scales
        limit = 2.0**30
        bias = np.rint(graph.constants[node.inputs[2]] / steps).clip(-limit, limit)
        names.append(_integers(graph, bias, 'int32', steps))
    return names


def _integers(
    graph: OnnxGraph, values: NDArray[np.float32], dtype: str, scales: NDArray[np.float32]
) -> str:
    zeros = graph.constant(np.zeros(len(scales)), dtype)
    return graph.add(
        'DequantizeLinear', graph.constant(values, dtype), graph.constant(scales), zeros, axis=0
    )


def to_half(graph: OnnxGraph) -> None:
    """Write the convolutions of a graph, and what joins them, for half floats."""
    readers = _Readers(graph)
    nodes, graph.nodes = graph.nodes, []
    half: dict[str, str] = {}  # values by their names, in half floats
    full: dict[str, str] = {}  # of what is made in half floats
    for node in nodes:
        data = _data(node, graph)
        joins = node.op in (*_BETWEEN, *_ACTIVATIONS) and data - set(graph.constants) <= set(half)
        if joins or (node.op == 'Conv' and readers.joins(readers.end(node))):
            graph.nodes.append(replace(node, inputs=_in_half(graph, node, half)))
            half.update((name, name) for name in node.outputs)
        else:
            inputs = []
            for name in node.inputs:
                if name in half and half[name] == name:  # it is there in half floats only
                    if name not in full:
                        full[name] = graph.add('Cast', name, to=_FLOAT)
                    name = full[name]
                inputs.append(name)
            graph.nodes.append(replace(node, inputs=inputs))


def _in_half(graph: OnnxGraph, node: OnnxNode, half: dict[str, str]) -> list[str]:
    inputs = []
    for position, name in enumerate(node.inputs):
        is_size = node.op in _SAME_RANGE and position
        if name and not is_size:
            if name in graph.constants:
                name = graph.constant(graph.constants[name], 'float16')
            elif name in half:
                name = half[name]
            else:
                half[name] = graph.add('Cast', name, to=_HALF)
                name = half[name]
        inputs.append(name)
    return inputs


__all__ = ['Ranges', 'observe', 'to_half', 'to_int8', 'values_to_observe']
