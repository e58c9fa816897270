# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Writes ONNX files.

They are protobuf messages (https://protobuf.dev/programming-guides/encoding), and a graph needs
six of them. Written here, because robots have no package `onnx`: onnxruntime does not need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ReduceMean takes its axes as an input, and Resize can leave axes out, since 18: onnxruntime 1.14.
OPSET = 18
_IR_VERSION = 8
_CONTRIBUTED = 'com.microsoft'
# Field numbers of onnx.proto.
_MODEL_IR_VERSION, _MODEL_PRODUCER, _MODEL_GRAPH = 1, 2, 7
_MODEL_OPSET, _MODEL_METADATA = 8, 14
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_TYPE = 1, 20
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_TEXT = (2, 1), (3, 2), (4, 3)  # field, type
_ATTRIBUTE_GRAPH, _ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS = (6, 5), (7, 6), (8, 7)
_TENSOR_SIDE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 8, 9
_TYPES = {'float32': 1, 'uint8': 2, 'int8': 3, 'int32': 6, 'int64': 7, 'bool': 9, 'float16': 10}
# How a field's bytes are encoded.
_VARINT, _LENGTH_AND_BYTES, _FIXED_32 = 0, 2, 5

Shape = Sequence[int | str]


@dataclass
class OnnxNode:
    """One operation of a graph.

    Attributes:
        op: its name in ONNX.
        inputs, outputs: names of values; '' is an optional input that is left out.
        attributes: whole numbers, floats, texts, graphs, and lists of the first two.
        contributed: whether it is one of onnxruntime's own operations.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    contributed: bool = False


class OnnxGraph:
    """A graph that is put together node by node.

    Args:
        name: of the graph.
        prefix: of all names in it: those of a graph within a graph must not be used twice.

    Attributes:
        nodes: in the order in which they run.
        constants: arrays by name.

    """

    def __init__(self, name: str, prefix: str = '') -> None:
        self._name, self._prefix = name, prefix
        self.nodes: list[OnnxNode] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._inputs: dict[str, tuple[str, Shape]] = {}
        self._outputs: dict[str, tuple[str, Shape]] = {}
        self._count = 0

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declare an input; a side of the shape that is free has a name."""
        self._inputs[name] = dtype, shape
        return name

    def output(self, name: str, value: str, dtype: str, shape: Shape) -> None:
        """Declare a value to be an output."""
        self._outputs[name] = dtype, shape
        self.nodes.append(OnnxNode('Identity', [value], [name]))

    def constant(self, array: Any, dtype: str = 'float32') -> str:
        """Add a constant; return its name."""
        name = self._new_name('constant')
        self.constants[name] = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        return name

    def integers(self, *values: int) -> str:
        """Add a list of int64; return its name."""
        return self.constant(list(values), 'int64')

    def add(self, op: str, *inputs: str, contributed: bool = False, **attributes: Any) -> str:
        """Add an operation of one output; return the name of that."""
        return self.add_many(op, 1, *inputs, contributed=contributed, **attributes)[0]

    def add_many(
        self, op: str, outputs: int, *inputs: str, contributed: bool = False, **attributes: Any
    ) -> list[str]:
        """Add an operation of several outputs; return the names of those."""
        names = [self._new_name(op) for _ in range(outputs)]
        self.nodes.append(OnnxNode(op, list(inputs), names, attributes, contributed))
        return names

    def file_bytes(self, metadata: Mapping[str, str]) -> bytes:
        """Return the file.

        Args:
            metadata: texts to store in it.

        """
        opsets = [_number(2, OPSET), _text(1, _CONTRIBUTED) + _number(2, 1)]
        return b''.join(
            [
                _number(_MODEL_IR_VERSION, _IR_VERSION),
                _text(_MODEL_PRODUCER, 'instance_seg_ros'),
                _message(_MODEL_GRAPH, self.graph_bytes()),
                *(_message(_MODEL_OPSET, opset) for opset in opsets),
                *(
                    _message(_MODEL_METADATA, _text(1, key) + _text(2, value))
                    for key, value in metadata.items()
                ),
            ]
        )

    def graph_bytes(self) -> bytes:
        """Return the graph alone, as it stands in a file or in another graph."""
        used = self.names_read()
        return b''.join(
            [
                *(_message(_GRAPH_NODE, _node(node)) for node in self.nodes),
                _text(_GRAPH_NAME, self._name),
                *(
                    _message(_GRAPH_INITIALIZER, _tensor(name, array))
                    for name, array in self.constants.items()
                    if name in used
                ),
                *(_message(_GRAPH_INPUT, _value(n, *v)) for n, v in self._inputs.items()),
                *(_message(_GRAPH_OUTPUT, _value(n, *v)) for n, v in self._outputs.items()),
            ]
        )

    def names_read(self) -> set[str]:
        """Return what the nodes read, those of graphs in the graph included."""
        names = {name for node in self.nodes for name in node.inputs}
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, OnnxGraph):
                    names |= value.names_read()
        return names

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f'{self._prefix}{kind}_{self._count}'


# ---- messages
def _node(node: OnnxNode) -> bytes:
    return b''.join(
        [
            *(_text(_NODE_INPUT, name) for name in node.inputs),
            *(_text(_NODE_OUTPUT, name) for name in node.outputs),
            _text(_NODE_NAME, node.outputs[0]),
            _text(_NODE_OP, node.op),
            *(
                _message(_NODE_ATTRIBUTE, _text(_ATTRIBUTE_NAME, name) + _attribute(value))
                for name, value in node.attributes.items()
            ),
            _text(_NODE_DOMAIN, _CONTRIBUTED if node.contributed else ''),
        ]
    )


def _attribute(value: Any) -> bytes:
    if isinstance(value, OnnxGraph):
        number, kind = _ATTRIBUTE_GRAPH
        return _message(number, value.graph_bytes()) + _number(_ATTRIBUTE_TYPE, kind)
    if isinstance(value, str):
        number, kind = _ATTRIBUTE_TEXT
        return _text(number, value) + _number(_ATTRIBUTE_TYPE, kind)
    if isinstance(value, float):
        number, kind = _ATTRIBUTE_FLOAT
        return _float(number, value) + _number(_ATTRIBUTE_TYPE, kind)
    if isinstance(value, int):
        number, kind = _ATTRIBUTE_INT
        return _number(number, value) + _number(_ATTRIBUTE_TYPE, kind)
    if all(isinstance(item, int) for item in value):
        number, kind = _ATTRIBUTE_INTS
        items = [_number(number, item) for item in value]
    else:
        number, kind = _ATTRIBUTE_FLOATS
        items = [_float(number, item) for item in value]
    return b''.join(items) + _number(_ATTRIBUTE_TYPE, kind)


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    little = array.astype(array.dtype.newbyteorder('<'), copy=False)
    return b''.join(
        [
            *(_number(_TENSOR_SIDE, side) for side in array.shape),
            _number(_TENSOR_TYPE, _TYPES[array.dtype.name]),
            _text(_TENSOR_NAME, name),
            _message(_TENSOR_BYTES, little.tobytes()),
        ]
    )


def _value(name: str, dtype: str, shape: Shape) -> bytes:
    sides: Iterable[bytes] = (
        _text(2, side) if isinstance(side, str) else _number(1, side) for side in shape
    )
    dimensions = b''.join(_message(1, side) for side in sides)
    tensor_type = _number(1, _TYPES[dtype]) + _message(2, dimensions)
    return _text(1, name) + _message(2, _message(1, tensor_type))


# ---- fields
def _message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_AND_BYTES) + _varint(len(payload)) + payload


def _text(number: int, value: str) -> bytes:
    return _message(number, value.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED_32) + np.array(value, '<f4').tobytes()


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are stored as their two's complement
    payload = bytearray()
    while value > 0x7F:
        payload.append(value & 0x7F | 0x80)
        value >>= 7
    payload.append(value)
    return bytes(payload)


__all__ = ['OnnxGraph', 'OnnxNode']
