# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Operations of a graph and their arrays, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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


class NodeList:
    """Collects nodes; every method adds one or a few and returns the name of the last."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, op: str, *inputs: str, **rest: Any) -> str:
        """Add a node; it has as many channels as the first one that it reads, or ``channels``."""
        rest.setdefault('channels', self.nodes[inputs[0]].channels if inputs else 0)
        self.nodes[name] = Node(name, op, inputs, **rest)
        return name

    def channels_of(self, name: str) -> int:
        """Return the channels of a node's result."""
        return self.nodes[name].channels

    def constant(self, name: str, dtype: str, *values: float) -> str:
        """Add a constant that stands in the text graph itself."""
        return self.add(name, 'Const', attributes={'value': Tensor(dtype, values)})
