# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Frozen graph (.pb) and OpenCV text graph (.pbtxt) of a described network, written without
TensorFlow.

The two files are protobuf messages of TensorFlow's public schema; the tensorboard package carries
that schema, so that neither TensorFlow nor an encoder of our own is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import attr_value_pb2, graph_pb2, tensor_pb2, types_pb2
from tensorboard.util.tensor_util import make_ndarray

from training.graph.config import NetworkConfig
from training.graph.network import describe
from training.graph.nodes import Node, Tensor, Weight

_DTYPES = {
    'float16': types_pb2.DT_HALF,
    'float32': types_pb2.DT_FLOAT,
    'int32': types_pb2.DT_INT32,
    'uint8': types_pb2.DT_UINT8,
}
_FLOATS = types_pb2.DT_HALF, types_pb2.DT_FLOAT
# Attributes whose list is a tensor shape; every other list is a list of integers.
_SHAPES = ('shape',)


def weights_of(nodes: list[Node]) -> dict[str, Weight]:
    """Return every trained array by name; both stages share ``Mixed_5``, so a name can occur
    twice.
    """
    return {weight.name: weight for node in nodes for weight in node.weights}


def frozen_graph(config: NetworkConfig, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialise the constants of the network as a binary GraphDef.

    Args:
        config: the network.
        arrays: every trained array by name, float32, in TensorFlow's layout.

    Raises:
        ValueError: an array is missing, or has another shape than the description asks for, or is
            not finite.

    """
    return _frozen(describe(config), arrays)


def _frozen(nodes: list[Node], arrays: Mapping[str, np.ndarray], float16: bool = False) -> bytes:
    graph = graph_pb2.GraphDef()
    graph.versions.producer = 24
    for weight in weights_of(nodes).values():
        array = _checked(weight, arrays)
        _add_constant(graph, weight.name, _rounded(weight, array) if float16 else array)
    for node in nodes:
        for name, value in node.constants.items():
            dtype = np.float32 if isinstance(value, float) else np.int32
            _add_constant(graph, name, np.asarray(value, dtype))
    return graph.SerializeToString(deterministic=True)


def text_graph(config: NetworkConfig) -> str:
    """Return the text graph that cv2.dnn reads beside the frozen graph."""
    return _text(describe(config))


def _text(nodes: list[Node]) -> str:
    graph = graph_pb2.GraphDef()
    for node in nodes:
        inputs = (*node.inputs, *(weight.name for weight in node.weights), *node.constants)
        entry = graph.node.add(name=node.name, op=node.op, input=inputs)
        for key, value in node.attributes.items():
            entry.attr[key].CopyFrom(_attribute(key, value))
    return text_format.MessageToString(graph)


def write_model(
    config: NetworkConfig, arrays: Mapping[str, np.ndarray], weights: Path, text: Path
) -> None:
    """Write both files, each whole or not at all (a full disk leaves what was there before).

    Raises:
        OSError: a file cannot be written; the message names it.
        ValueError: as :func:`frozen_graph`.

    """
    write_nodes(describe(config), arrays, weights, text)


def write_nodes(
    nodes: list[Node],
    arrays: Mapping[str, np.ndarray],
    weights: Path,
    text: Path,
    float16: bool = False,
) -> None:
    """Write both files of any described network.

    Args:
        nodes: of the network.
        arrays: every trained array by name, float32, in TensorFlow's layout.
        weights: path of the frozen graph.
        text: path of the text graph.
        float16: whether kernels are rounded to float16, which halves the file; cv2.dnn and
            :func:`read_floats` widen them again.

    Raises:
        OSError, ValueError: as :func:`write_model`; a kernel is too large for float16.
    """
    payloads = {weights: _frozen(nodes, arrays, float16), text: _text(nodes).encode()}
    for path, payload in payloads.items():
        write_atomically(path, payload)


def read_arrays(config: NetworkConfig, weights: Path) -> dict[str, np.ndarray]:
    """Read the trained arrays of a network back from its frozen graph.

    Raises:
        ValueError: the file is no frozen graph, or of another network.
        OSError: the file cannot be read.

    """
    arrays = read_floats(weights)
    try:
        return {w.name: _checked(w, arrays) for w in weights_of(describe(config)).values()}
    except ValueError as error:
        raise ValueError(f'{weights}: is of another network: {error}') from None


def read_floats(weights: Path) -> dict[str, np.ndarray]:
    """Read every array of float32 or float16 of a frozen graph, by name, as float32.

    Raises:
        ValueError: the file is no frozen graph, or an array has not the size that it says.
        OSError: the file cannot be read.
    """
    floats = {k: tensor for k, tensor in _constants(weights).items() if tensor.dtype in _FLOATS}
    try:
        return {name: make_ndarray(tensor).astype(np.float32) for name, tensor in floats.items()}
    except ValueError as error:
        raise ValueError(f'{weights}: has a broken array: {error}') from None


def _constants(weights: Path) -> dict[str, tensor_pb2.TensorProto]:
    graph = graph_pb2.GraphDef()
    try:
        graph.ParseFromString(weights.read_bytes())
    except DecodeError:
        raise ValueError(f'{weights}: is no frozen graph (.pb)') from None
    return {n.name: n.attr['value'].tensor for n in graph.node if n.op == 'Const'}


def write_atomically(path: Path, payload: bytes) -> None:
    """Write beside the target, flush to the disk, then rename over it."""
    temporary = path.with_name(f'{path.name}.part')
    try:
        with temporary.open('wb') as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'cannot write {path}: {error.strerror}. Nothing was changed there; free some '
            'space or choose another folder',
        ) from error


def _checked(weight: Weight, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    array = arrays.get(weight.name)
    if array is None:
        raise ValueError(f'no array for {weight.name}')
    if array.shape != weight.shape:
        raise ValueError(f'{weight.name} has the shape {array.shape}: expected {weight.shape}')
    if not np.isfinite(array).all():
        raise ValueError(f'{weight.name} holds NaN or infinite values: the training diverged')
    return np.ascontiguousarray(array, np.float32)


def _rounded(weight: Weight, array: np.ndarray) -> np.ndarray:
    """Round a kernel to float16.

    Biases hardly add to the file, and single numbers go into a field of float32.
    """
    if array.ndim < 2 or array.size == 1:
        return array
    largest = np.finfo(np.float16).max
    if np.abs(array).max() > largest:
        raise ValueError(f'{weight.name} has numbers above {largest:g}: too large for float16')
    return array.astype(np.float16)


def _add_constant(graph: graph_pb2.GraphDef, name: str, array: np.ndarray) -> None:
    node = graph.node.add(name=name, op='Const')
    node.attr['dtype'].type = _DTYPES[array.dtype.name]
    node.attr['value'].tensor.CopyFrom(_tensor(array))


def _tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    tensor = tensor_pb2.TensorProto(dtype=_DTYPES[array.dtype.name])
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    # A single element goes into the typed field: cv2.dnn reads a concat axis there unchecked, and
    # one that is stored as raw bytes is a segmentation fault.
    if array.size > 1:
        tensor.tensor_content = array.tobytes()
    elif array.dtype == np.int32:
        tensor.int_val.append(int(array.reshape(-1)[0]))
    else:
        tensor.float_val.append(float(array.reshape(-1)[0]))
    return tensor


def _attribute(key: str, value: Any) -> attr_value_pb2.AttrValue:
    attribute = attr_value_pb2.AttrValue()
    if isinstance(value, bool):
        attribute.b = value
    elif isinstance(value, int):
        attribute.i = value
    elif isinstance(value, float):
        attribute.f = value
    elif isinstance(value, Tensor):
        attribute.tensor.CopyFrom(_listed_tensor(value))
    elif isinstance(value, list) and key in _SHAPES:
        for size in value:
            attribute.shape.dim.add(size=size)
    elif isinstance(value, list):
        attribute.list.i.extend(value)
    elif value in _DTYPES:
        attribute.type = _DTYPES[value]
    else:
        attribute.s = value.encode()
    return attribute


def _listed_tensor(value: Tensor) -> tensor_pb2.TensorProto:
    tensor = tensor_pb2.TensorProto(dtype=_DTYPES[value.dtype])
    tensor.tensor_shape.dim.add(size=len(value.values))
    field = tensor.int_val if value.dtype == 'int32' else tensor.float_val
    field.extend(int(v) if value.dtype == 'int32' else v for v in value.values)
    return tensor
