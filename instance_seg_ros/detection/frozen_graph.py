# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Frozen graphs (.pb) of TensorFlow: reading, checking, and where their constants are.

They are protobuf messages (https://protobuf.dev/programming-guides/encoding). Of the many that
TensorFlow defines five matter here, so the bytes are walked, and changed where they are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import DOCS

# Field numbers of tensorflow/core/framework: graph.proto, node_def.proto, attr_value.proto,
# tensor.proto, tensor_shape.proto.
_GRAPH_NODE, _NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE = 1, 1, 2, 5
_MAP_VALUE, _VALUE_TENSOR = 2, 8
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENT = 1, 2, 4
_SHAPE_DIMENSION, _DIMENSION_SIZE = 2, 1
# float_val, int_val, int64_val, half_val (the bits of a float16)
_TENSOR_NUMBERS = {5: '<f4', 7: '<i4', 10: '<i8', 13: '<i4'}
_FLOAT32 = 1
_HALF = '<f2'
_DTYPES = {_FLOAT32: '<f4', 3: '<i4', 9: '<i8', 19: _HALF}
# How a field's bytes are encoded.
_VARINT, _LENGTH_AND_BYTES = 0, 2
_FIXED_LENGTHS = {1: 8, 5: 4}
_LONGEST_VARINT = 10
_LARGEST = (1 << 31) - 1  # bytes

_Span = tuple[int, int]


@dataclass(frozen=True)
class Constant:
    """Where a float32 array is in the bytes of a frozen graph."""

    start: int
    shape: tuple[int, ...]

    def read(self, weights: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a copy of the array."""
        end = self.start + 4 * math.prod(self.shape)
        return np.frombuffer(weights[self.start : end].tobytes(), '<f4').reshape(self.shape)

    def write(self, weights: NDArray[np.uint8], array: NDArray[np.float32]) -> None:
        """Put an array of the same shape in its place."""
        payload = np.frombuffer(array.astype('<f4').tobytes(), np.uint8)
        weights[self.start : self.start + payload.size] = payload


def open_weights(path: Path) -> BinaryIO:
    """Open a frozen graph.

    Raises:
        ModelError: missing, or no regular file.
    """
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait for its writer
            raise ModelError(f'weights {path}: is no regular file. Expected a frozen graph (.pb)')
        return path.open('rb')
    except OSError as error:
        raise _unreadable(path, error) from None


def read_weights(path: Path, file: BinaryIO | None = None) -> NDArray[np.uint8]:
    """Read a frozen graph, after a look at whether it is one.

    Args:
        path: of the file.
        file: of :func:`open_weights`: the path may name another file by now, or none.

    Returns:
        uint8, the file's bytes.

    Raises:
        ModelError: missing, empty, truncated, a git-LFS pointer, a web page, a text graph, or
            anything else.
    """
    if file is None:
        with open_weights(path) as opened:
            return read_weights(path, opened)
    try:
        if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
            raise ModelError(f'weights {path}: has {size} bytes; protobuf allows 2 GiB')
        file.seek(0)
        payload = file.read()
    except OSError as error:
        raise _unreadable(path, error) from None
    problem = _problem(payload)
    if problem:
        raise ModelError(f'weights {path}: {problem}')
    return np.frombuffer(payload, np.uint8)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f'weights {path}: {error.strerror}. Expected a frozen graph (.pb); see '
        f'{DOCS}/models.md for where to get one'
    )


def float_constants(weights: NDArray[np.uint8]) -> dict[str, Constant]:
    """Return the float32 constants that are stored as raw bytes, by name.

    Raises:
        ValueError: the bytes are no GraphDef.
    """
    data = weights.tobytes()
    constants = {}
    for node in _messages(data, (0, len(data)), _GRAPH_NODE):
        constant = _constant(data, node)
        if constant is not None:
            constants[_text(data, node, _NODE_NAME)] = constant
    return constants


def read_constants(weights: NDArray[np.uint8], names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read constants of whole numbers and floats, however they are stored; float16 as float32.

    Args:
        weights: uint8, the bytes of a frozen graph.
        names: which; those that the graph has not, or not as numbers, are left out.

    Raises:
        ValueError: the bytes are no GraphDef.

    """
    data = weights.tobytes()
    constants = {}
    for node in _messages(data, (0, len(data)), _GRAPH_NODE):
        name = _text(data, node, _NODE_NAME)
        if name in names and _text(data, node, _NODE_OP) == 'Const':
            for tensor in _tensors(data, node):
                array = _array(data, tensor)
                if array is not None:
                    constants[name] = array
    return constants


def _array(data: bytes, tensor: _Span) -> NDArray[Any] | None:
    types = _numbers(data, tensor, _TENSOR_TYPE)
    if len(types) != 1 or types[0] not in _DTYPES:
        return None
    shape, count = _shape(data, tensor), math.prod(_shape(data, tensor))
    contents = b''.join(data[a:b] for a, b in _messages(data, tensor, _TENSOR_CONTENT))
    dtype = _DTYPES[types[0]]
    if contents:
        array = np.frombuffer(contents, dtype)
    else:
        array = _from_list(_listed(data, tensor), dtype)
        if len(array) == 1:  # one number stands for many equal ones
            array = np.repeat(array, count)
    if dtype == _HALF:
        array = array.astype(np.float32)
    if len(array) != count:
        raise ValueError(f'a constant has {len(array)} numbers, and the shape {shape}')
    return array.reshape(shape)


def _from_list(numbers: list[float], dtype: str) -> NDArray[Any]:
    if dtype == _HALF:
        return np.array(numbers, np.int64).astype('<u2').view(dtype)
    return np.array(numbers, dtype)


def _listed(data: bytes, tensor: _Span) -> list[float]:
    values: list[float] = []
    for number, dtype in _TENSOR_NUMBERS.items():
        for found, value in _fields(data, tensor):
            if found != number:
                continue
            if isinstance(value, int):
                values.append(_signed(value))
            elif dtype == '<f4':
                values.extend(np.frombuffer(data[value[0] : value[1]], dtype).tolist())
            else:
                position, end = value
                while position < end:
                    item, position = _varint(data, position)
                    values.append(_signed(item))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _tensors(data: bytes, node: _Span) -> list[_Span]:
    return [
        tensor
        for attribute in _messages(data, node, _NODE_ATTRIBUTE)
        for value in _messages(data, attribute, _MAP_VALUE)
        for tensor in _messages(data, value, _VALUE_TENSOR)
    ]


def _constant(data: bytes, node: _Span) -> Constant | None:
    if _text(data, node, _NODE_OP) == 'Const':
        for tensor in _tensors(data, node):
            return _stored_as_bytes(data, tensor)
    return None


def _stored_as_bytes(data: bytes, tensor: _Span) -> Constant | None:
    contents = _messages(data, tensor, _TENSOR_CONTENT)
    if _numbers(data, tensor, _TENSOR_TYPE) != [_FLOAT32] or len(contents) != 1:
        return None
    shape = _shape(data, tensor)
    start, end = contents[0]
    return Constant(start, shape) if end - start == 4 * math.prod(shape) else None


def _shape(data: bytes, tensor: _Span) -> tuple[int, ...]:
    return tuple(
        size
        for dimensions in _messages(data, tensor, _TENSOR_SHAPE)
        for dimension in _messages(data, dimensions, _SHAPE_DIMENSION)
        for size in _numbers(data, dimension, _DIMENSION_SIZE)
    )


def _text(data: bytes, message: _Span, number: int) -> str:
    return ''.join(data[start:end].decode() for start, end in _messages(data, message, number))


def _messages(data: bytes, message: _Span, number: int) -> list[_Span]:
    return [
        value
        for found, value in _fields(data, message)
        if found == number and isinstance(value, tuple)
    ]


def _numbers(data: bytes, message: _Span, number: int) -> list[int]:
    return [
        value
        for found, value in _fields(data, message)
        if found == number and isinstance(value, int)
    ]


def _fields(data: bytes, message: _Span) -> Iterator[tuple[int, int | _Span]]:
    """Yield the number of each field of a message with its value, or with where its bytes are."""
    position, end = message
    while position < end:
        tag, position = _varint(data, position)
        number, encoding = tag >> 3, tag & 7
        if encoding == _VARINT:
            value, position = _varint(data, position)
            yield number, value
        else:
            length = _FIXED_LENGTHS.get(encoding)
            if encoding == _LENGTH_AND_BYTES:
                length, position = _varint(data, position)
            if length is None or position + length > end:
                raise ValueError(f'no field begins at byte {position}')
            yield number, (position, position + length)
            position += length


def _problem(payload: bytes) -> str:
    """Say what is wrong with the bytes of a frozen graph, '' if nothing is found."""
    start = payload[:200].lstrip().lower()
    if not payload:
        return 'the file is empty. Download it again'
    if start.startswith(b'version https://git-lfs'):
        return 'is a git-LFS pointer, not the file itself. Run "git lfs pull" in its repository'
    if start.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'is a web page, not a model: the download failed. Download it again'
    if start.startswith(b'node {') or start.startswith(b'node{'):
        return (
            'is a text graph (.pbtxt). Give the frozen graph (.pb) here and the text graph '
            'beside it'
        )
    end = _end_of_fields(payload)
    if end is None:
        return 'is not a frozen graph (.pb) of TensorFlow'
    if end > len(payload):
        return (
            f'is truncated: {len(payload)} bytes, and the last entry ends at {end}. '
            'Download it again'
        )
    return ''


def _end_of_fields(payload: bytes) -> int | None:
    """Walk the top level of a GraphDef: where its last entry ends, None where it is no GraphDef."""
    node_tag, known_tags = 0x0A, (0x0A, 0x12, 0x18, 0x22)  # node, library, version, versions
    position = 0
    if payload[0] != node_tag:
        return None
    while position < len(payload):
        tag = payload[position]
        if tag not in known_tags:
            return None
        try:
            length, position = _varint(payload, position + 1)
        except ValueError:
            return None
        if tag != 0x18:
            position += length
    return position


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    """Value of a protobuf varint and the position behind it (past the end where it is cut off)."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if position >= len(payload):
            return value, len(payload) + 1
        byte = payload[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if not byte & 0x80:
            return value, position
    raise ValueError(f'the number at byte {position - _LONGEST_VARINT} has no end')


__all__ = ['Constant', 'float_constants', 'read_constants', 'read_weights']
