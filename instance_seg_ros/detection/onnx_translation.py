# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The state of a translation from a text graph to ONNX, which all operations share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_file import OnnxGraph, OnnxNode
from instance_seg_ros.detection.text_graph import GraphNode


class TranslationError(ValueError):
    """A graph has something that cannot be translated; the message names the node and what."""


@dataclass(frozen=True)
class Value:
    """What a node of the text graph has become.

    Attributes:
        name: of the ONNX value.
        image: whether it is NCHW where TensorFlow has NHWC; other values are as TensorFlow's.
        boxes_swapped: whether the weights before it had their box encodings swapped, so that a
            bias that follows needs it, too.
        spread: for a convolution between SpaceToBatchND and BatchToSpaceND: its dilation, and the
            padding (top, left, bottom, right) of both together.
        size: height and width of an image where they are the same for every input.
        enlarged: for an image that is yet to be resized to ``size``: (pixels after, pixels before),
            how much of each pixel is in each.
        pooled: whether the maximum or average that follows a crop is taken already.
    """

    name: str
    image: bool = False
    boxes_swapped: bool = False
    spread: tuple[list[int], list[int]] | None = None
    size: tuple[int, int] | None = None
    enlarged: NDArray[np.float64] | None = None
    pooled: bool = False


class Translation:
    """Nodes of a text graph on their way into an ONNX graph.

    Args:
        nodes: of the text graph, each behind those that it reads.
        constants: of the frozen graph.
        graph: receives the operations.

    Attributes:
        graph: the same.
        values: what nodes have become, by their names.
        for_processor: whether it is to be fast on the processor, rather than for every provider.
        regions: name of the input of the regions (n, 4), x1, y1, x2, y2 as fractions of the image.

    """

    def __init__(
        self, nodes: list[GraphNode], constants: Mapping[str, NDArray[Any]], graph: OnnxGraph
    ) -> None:
        self.graph = graph
        self.values: dict[str, Value] = {}
        self.regions = ''
        self.for_processor = True
        self._wanted: set[str] = set()
        self._nodes = {node.name: node for node in nodes}
        self._constants = constants
        self._users: defaultdict[str, list[GraphNode]] = defaultdict(list)
        for node in nodes:
            for name in node.inputs:
                self._users[name].append(node)

    def node(self, name: str) -> GraphNode:
        """Return a node of the text graph; KeyError where there is none of that name."""
        return self._nodes[name]

    def attributes(self, node: GraphNode) -> NodeAttributes:
        """Return the attributes of a node."""
        try:
            return NodeAttributes(node)
        except (ValueError, KeyError, IndexError, StopIteration, TypeError):
            self.fail(node, 'has attributes that are not protobuf text')

    def users(self, name: str) -> list[GraphNode]:
        """Return the nodes that read a node."""
        return self._users[name]

    def is_wanted(self, name: str) -> bool:
        """Whether a node is itself among those that the ONNX graph gives."""
        return name in self._wanted

    def translate(
        self, wanted: Collection[str], operations: Mapping[str, Callable[..., Value]]
    ) -> None:
        """Translate nodes, and all that they need.

        Raises:
            TranslationError: an operation is unknown, or has something that is.

        """
        self._wanted |= set(wanted)
        needed = self._needed(wanted)
        for node in self._nodes.values():
            if node.name not in needed or node.op == 'Const' or node.name in self.values:
                continue
            operation = operations.get(node.op)
            if operation is None:
                known = ', '.join(sorted(operations))
                self.fail(node, f'is not among the operations that can be converted: {known}')
            self.values[node.name] = operation(self, node, self.attributes(node))

    def _needed(self, wanted: Collection[str]) -> set[str]:
        needed: set[str] = set()
        queue = list(wanted)
        while queue:
            name = queue.pop()
            if name in needed or name in self.values or name not in self._nodes:
                continue
            needed.add(name)
            queue.extend(self._nodes[name].inputs)
        return needed

    # ---- what a node reads
    def value(self, node: GraphNode, position: int = 0) -> Value:
        """Return what an input of a node has become."""
        name = node.inputs[position] if position < len(node.inputs) else ''
        if name not in self.values:
            self.fail(node, f'reads {name!r}, which is neither a node nor a constant')
        return self.values[name]

    def plain(self, value: Value) -> str:
        """Return the name of a value in TensorFlow's layout."""
        if not value.image:
            return value.name
        return self.graph.add('Transpose', value.name, perm=[0, 2, 3, 1])

    def is_constant(self, node: GraphNode, position: int) -> bool:
        """Whether an input of a node is a constant."""
        return self._constant(node, position) is not None

    def constant(self, node: GraphNode, position: int) -> NDArray[Any]:
        """Return an input of a node that must be a constant."""
        array = self._constant(node, position)
        if array is None:
            name = node.inputs[position] if position < len(node.inputs) else ''
            self.fail(node, f'needs the constant {name!r}, which the frozen graph does not have')
        return array

    def _constant(self, node: GraphNode, position: int) -> NDArray[Any] | None:
        if position >= len(node.inputs):
            return None
        name = node.inputs[position]
        listed = self._nodes.get(name)
        if listed is not None and listed.op == 'Const':
            return self.attributes(listed).tensor('value')
        return self._constants.get(name)

    # ---- what was made before
    def layer_before(self, node: GraphNode, *ops: str) -> OnnxNode | None:
        """Return the ONNX node that makes a node's first input, where it may be changed.

        It may if it is one of these operations and nothing else reads it.
        """
        value = self.value(node).name
        names = {name for name, made in self.values.items() if made.name == value}
        readers = {user.name for name in names for user in self._users[name]} - names
        if readers != {node.name} or names & self._wanted:
            return None
        made = next(n for n in reversed(self.graph.nodes) if value in n.outputs)
        return made if made.op in ops else None

    def fail(self, node: GraphNode, problem: str) -> NoReturn:
        """Raise the error that names a node."""
        raise TranslationError(f'node {node.name!r} ({node.op}) {problem}')


def swap_box_encodings(array: NDArray[Any]) -> NDArray[Any]:
    """Reorder the last axis from (ty, tx, th, tw) to (tx, ty, tw, th), four by four."""
    groups = array.reshape(*array.shape[:-1], -1, 4)
    return np.ascontiguousarray(groups[..., [1, 0, 3, 2]]).reshape(array.shape)


def renamed(value: Value, name: str) -> Value:
    """Return a value of the same layout under another name."""
    return replace(value, name=name)


__all__ = ['Translation', 'TranslationError', 'Value', 'renamed', 'swap_box_encodings']
