# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A trained refiner as the ONNX file that onnxruntime runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from instance_seg_ros.onnxruntime_import import import_onnxruntime
from instance_seg_ros.refinement.refiner_file import PASSES
from instance_seg_ros.refinement.smoother import CONTEXT
from training.graph.tensorflow_files import write_atomically
from training.refiner.network import Generator

OPSET = 18
TOLERANCE = 1e-4  # of a probability, between PyTorch and onnxruntime


def export_refiner(
    widths: tuple[int, ...],
    weights: Mapping[str, Tensor],
    path: Path,
    version: str,
    threshold: float = 0.5,
) -> float:
    """Write a refiner as ONNX: image and coarse in, alpha out; batch, height and width are free.

    Args:
        widths: channels of the generator.
        weights: its state.
        path: of the file; written whole or not at all.
        version: for its metadata.
        threshold: probability from which on a pixel belongs to the object, for its metadata.

    Returns:
        The largest difference to PyTorch, of a probability.

    Raises:
        ValueError: the threshold is not from 0.01 to 0.99, or onnxruntime computes something
            else than PyTorch.
        OSError: the file cannot be written.

    """
    if not 0.01 <= threshold <= 0.99:
        raise ValueError(f'threshold {threshold}: expected a probability from 0.01 to 0.99')
    generator = Generator(widths)
    generator.load_state_dict(dict(weights))
    generator.eval()
    model = _to_onnx(generator)
    metadata = {
        'context': f'{CONTEXT:g}',
        'passes': ','.join(str(side) for side in PASSES),
        'threshold': f'{threshold:g}',
        'version': version,
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    payload = model.SerializeToString()
    difference = _difference(generator, payload)
    if difference > TOLERANCE:
        raise ValueError(
            f'{path}: onnxruntime differs from PyTorch by {difference:.1g}, expected at most '
            f'{TOLERANCE:.0g}; nothing was written. Try another version of PyTorch'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, payload)
    return difference


def _to_onnx(generator: nn.Module) -> onnx.ModelProto:
    side = PASSES[0]
    # An even batch size of more than one: 0 and 1 would be taken for constants.
    example = torch.rand(2, 3, side, side), torch.rand(2, 1, side, side)
    axes = {0: torch.export.Dim('n'), 2: 16 * torch.export.Dim('h'), 3: 16 * torch.export.Dim('w')}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about PyTorch's own internals
        program = torch.onnx.export(
            generator,
            example,
            input_names=['image', 'coarse'],
            output_names=['alpha'],
            opset_version=OPSET,
            dynamic_shapes={'image': axes, 'coarse': axes},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # Where each node comes from: paths of this machine, and others in each run.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer, model.graph):  # fmt: skip
        del part.metadata_props[:]
        part.doc_string = ''
    return model


def _difference(generator: nn.Module, payload: bytes) -> float:
    session = import_onnxruntime().InferenceSession(payload, providers=['CPUExecutionProvider'])
    rng = np.random.default_rng(0)
    largest = 0.0
    for count, height, width in ((1, 128, 128), (3, 64, 96), (2, 256, 256)):
        image = rng.random((count, 3, height, width), np.float32)
        coarse = rng.random((count, 1, height, width), np.float32)
        (alpha,) = session.run(None, {'image': image, 'coarse': coarse})
        with torch.no_grad():
            expected = generator(torch.from_numpy(image), torch.from_numpy(coarse)).numpy()
        largest = max(largest, float(np.abs(alpha - expected).max()))
    return largest
