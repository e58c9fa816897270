# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Models with random weights: the speed and the file format of a real model, for benchmarks and
tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.graph.config import NetworkConfig
from training.graph.network import describe
from training.graph.nodes import Weight
from training.graph.tensorflow_files import weights_of, write_model

_CLASS_BIASES = 'SecondStageBoxPredictor/ClassPredictor/biases'


def random_arrays(
    config: NetworkConfig, seed: int = 0, class_bias: Mapping[int, float] | None = None
) -> dict[str, np.ndarray]:
    """Draw every trained array: He-normal kernels, neutral batch norms.

    Args:
        config: the network.
        seed: the same seed gives the same arrays.
        class_bias: softmax column to bias (0 is background, class id k is column k + 1): a
            positive one lets detections of that class survive.

    """
    rng = np.random.default_rng(seed)
    arrays = {weight.name: _draw(weight, rng) for weight in weights_of(describe(config)).values()}
    for column, bias in (class_bias or {}).items():
        arrays[_CLASS_BIASES][column] = bias
    return arrays


def _draw(weight: Weight, rng: np.random.Generator) -> np.ndarray:
    if weight.role in ('gamma', 'variance'):
        return np.ones(weight.shape, np.float32)
    if weight.role in ('beta', 'mean', 'bias'):
        return np.zeros(weight.shape, np.float32)
    fan_in = np.prod(weight.shape[:2]) if weight.role == 'depthwise' else np.prod(weight.shape[:-1])
    deviation = np.sqrt((1.0 if weight.role == 'matrix' else 2.0) / fan_in)
    if 'BoxEncoding' in weight.name:
        deviation *= 0.3  # boxes stay near their anchors
    elif 'SecondStageBoxPredictor/ClassPredictor' in weight.name:
        deviation *= 3.0  # scores differ between regions
    return (rng.standard_normal(weight.shape) * deviation).astype(np.float32)


def write_random_model(
    folder: Path | str,
    width: float = 1.0,
    num_classes: int = 90,
    seed: int = 0,
    class_bias: Mapping[int, float] | None = None,
) -> tuple[Path, Path]:
    """Write ``model.pb`` and ``model.pbtxt`` of the published structure with random weights into a
    folder.

    Returns:
        The paths of the two files.

    """
    config = NetworkConfig(width=width, num_classes=num_classes)
    paths = Path(folder) / 'model.pb', Path(folder) / 'model.pbtxt'
    write_model(config, random_arrays(config, seed, class_bias), *paths)
    return paths
