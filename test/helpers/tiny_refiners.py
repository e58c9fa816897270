# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Refiner networks of a few nodes whose results are known in advance."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='tiny refiner networks are written with it')
pytest.importorskip('onnxruntime', reason='the learned refiner runs in it')

_RED, _WORK = 0, 96  # channel of RGB; channels of the convolution that takes time


def write_refiner(
    path: Path,
    nodes: list,
    *,
    initializers: list | None = None,
    inputs: dict[str, list] | None = None,
    output: tuple[str, list] | None = None,
    metadata: dict[str, str] | None = None,
    element_type: int | None = None,
) -> Path:
    """Write a network from ``image`` and ``coarse`` to ``alpha``, or one that is none of that."""
    helper, kind = onnx.helper, element_type or onnx.TensorProto.FLOAT
    inputs = inputs or {'image': ['n', 3, 'h', 'w'], 'coarse': ['n', 1, 'h', 'w']}
    name, shape = output or ('alpha', ['n', 1, 'h', 'w'])
    graph = helper.make_graph(
        nodes,
        'tiny',
        [helper.make_tensor_value_info(key, kind, value) for key, value in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape)],
        initializers or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def constant(name: str, value: object, kind: type = np.float32):
    return onnx.numpy_helper.from_array(np.array(value, kind), name)


def unchanged(path: Path, **options: object) -> Path:
    """Write one whose result is the coarse mask."""
    return write_refiner(
        path, [onnx.helper.make_node('Identity', ['coarse'], ['alpha'])], **options
    )


def red_things(path: Path, **options: object) -> Path:
    """Write one that takes all that is red, and nothing else, for the object."""
    node = onnx.helper.make_node
    return write_refiner(
        path,
        [
            node('Slice', ['image', 'zero', 'one', 'one'], ['red']),
            node('Sub', ['red', 'half'], ['distance']),
            node('Mul', ['distance', 'steep'], ['logit']),
            node('Sigmoid', ['logit'], ['alpha']),
        ],
        initializers=[
            constant('zero', [_RED], np.int64),
            constant('one', [_RED + 1], np.int64),
            constant('half', 0.5),
            constant('steep', 60.0),
        ],
        **options,
    )


def raises_for_bright_images(path: Path, **options: object) -> Path:
    """Write one whose result is the coarse mask, and whose Gather fails for bright images."""
    node = onnx.helper.make_node
    return write_refiner(
        path,
        [
            node('ReduceMax', ['image'], ['brightest'], keepdims=0),
            node('Mul', ['brightest', 'steep'], ['row']),
            node('Cast', ['row'], ['index'], to=onnx.TensorProto.INT64),
            node('Gather', ['only', 'index'], ['nothing']),
            node('Add', ['coarse', 'nothing'], ['alpha']),
        ],
        # 0 up to a brightness of 0.53, then 1, which is no row.
        initializers=[constant('steep', 1.9), constant('only', [0.0])],
        **options,
    )


def counting(path: Path, step: float, work: int = 0, **options: object) -> Path:
    """Write one whose result is the coarse mask plus a step: it tells how many passes there were.

    Args:
        path: of the file.
        step: that is added by each pass.
        work: number of large convolutions, for nothing.
        options: as for write_refiner.
    """
    node = onnx.helper.make_node
    nodes, weights = [], [constant('step', step), constant('low', 0.0), constant('high', 1.0)]
    last = 'image'
    for i in range(work):
        channels = 3 if i == 0 else _WORK
        weights.append(constant(f'w{i}', np.zeros((_WORK, channels, 3, 3))))
        nodes.append(node('Conv', [last, f'w{i}'], [f'x{i}'], pads=[1, 1, 1, 1]))
        last = f'x{i}'
    if work:
        nodes.append(node('ReduceMean', [last], ['nothing'], axes=[1]))
        nodes.append(node('Add', ['coarse', 'nothing'], ['same']))
    nodes.append(node('Add', ['same' if work else 'coarse', 'step'], ['more']))
    nodes.append(node('Clip', ['more', 'low', 'high'], ['alpha']))
    return write_refiner(path, nodes, initializers=weights, **options)
