# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Networks in ncnn's format (.param and .bin) as PyTorch modules: enough of it for YOLOX.

ncnn runs on the CPU; a teacher that looks at every augmented view has to run where the training
runs. Layers that YOLOX does not use are refused. The first one, space to depth, is left to the
caller: some files have it, others do not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_MAGIC = 7767517
_HALF_PRECISION = 0x01306B47


@dataclass(frozen=True)
class Layer:
    """One line of a .param file."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[int, float]

    def number(self, key: int, default: float = 0) -> int:
        return int(self.numbers.get(key, default))


class NcnnModule(nn.Module):
    """Runs a network in ncnn's format on batches of images.

    Args:
        description: the .param file.
        weights: the .bin file.

    Raises:
        ValueError: a file is of another format, or has a layer that is not known here.

    """

    def __init__(self, description: Path, weights: Path) -> None:
        super().__init__()
        self.layers = _read_description(description)
        reader = _Weights(weights.read_bytes())
        for index, layer in enumerate(self.layers):
            if layer.kind in ('Convolution', 'ConvolutionDepthWise'):
                groups = layer.number(7, 1)
                out, kernel, count = layer.number(0), layer.number(1), layer.number(6)
                shape = (out, count // (out * kernel * kernel), kernel, kernel)
                self.register_buffer(f'weight_{index}', reader.array(count).reshape(shape))
                if layer.number(5):
                    self.register_buffer(f'bias_{index}', reader.floats(out))
                if count * groups != out * shape[1] * groups * kernel * kernel:
                    raise ValueError(f'{description}: layer {index} has a kernel that is no square')
        if not reader.at_end():
            raise ValueError(f'{weights}: holds more than {description} describes')

    def forward(self, image: Tensor, wanted: list[str]) -> list[Tensor]:
        """Return the blobs of these names for a batch (B, C, H, W) of inputs."""
        blobs: dict[str, Tensor] = {}
        for index, layer in enumerate(self.layers):
            if layer.kind == 'Input':
                blobs[layer.outputs[0]] = image
                continue
            values = [blobs[name] for name in layer.inputs]
            results = self._run(index, layer, values)
            blobs.update(zip(layer.outputs, results, strict=True))
            if all(name in blobs for name in wanted):
                break
        return [blobs[name] for name in wanted]

    def _run(self, index: int, layer: Layer, values: list[Tensor]) -> list[Tensor]:
        x = values[0]
        match layer.kind:
            case 'Convolution' | 'ConvolutionDepthWise':
                weight, bias = (
                    getattr(self, f'weight_{index}'),
                    getattr(self, f'bias_{index}', None),
                )
                x = functional.conv2d(
                    x, weight, bias, layer.number(3, 1), layer.number(4), groups=layer.number(7, 1)
                )
                return [x.sigmoid() if layer.number(9) == 4 else x]
            case 'Swish':
                return [functional.silu(x)]
            case 'Split':
                return [x] * len(layer.outputs)
            case 'BinaryOp':
                return [x + values[1]]
            case 'Concat':  # axes count from the channels on, in ncnn without the batch
                return [torch.cat(values, 1 if x.dim() == 4 else 2)]
            case 'Pooling':
                kernel, padding = layer.number(1), layer.number(3)
                return [functional.max_pool2d(x, kernel, layer.number(2, 1), padding)]
            case 'Interp':
                return [functional.interpolate(x, scale_factor=layer.numbers[1], mode='nearest')]
            case 'YoloV5Focus':  # done by whoever feeds the network
                return [x]
            case 'Reshape':
                return [x.reshape(x.shape[0], layer.number(1), -1)]
            case 'Permute':
                return [x.transpose(1, 2)]
        raise ValueError(f'{layer.kind}: a layer that is not known here')


def _read_description(path: Path) -> list[Layer]:
    lines = path.read_text().split('\n')
    if lines[0].strip() != str(_MAGIC):
        raise ValueError(f'{path}: is no .param file of ncnn')
    return [_layer(line.split()) for line in lines[2:] if line.strip()]


def _layer(words: list[str]) -> Layer:
    inputs, outputs = int(words[2]), int(words[3])
    names = words[4 : 4 + inputs + outputs]
    numbers = {int(k): float(v) for k, v in (word.split('=') for word in words[4 + len(names) :])}
    return Layer(words[0], tuple(names[:inputs]), tuple(names[inputs:]), numbers)


class _Weights:
    """Reads a .bin file from its start to its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def array(self, count: int) -> Tensor:
        """Kernels carry a tag that says how they are stored."""
        (tag,) = struct.unpack_from('<I', self._data, self._at)
        self._at += 4
        if tag == 0:
            return self.floats(count)
        if tag != _HALF_PRECISION:
            raise ValueError(f'weights with the tag {tag:#x} are not known here')
        values = np.frombuffer(self._data, '<f2', count, self._at).astype(np.float32)
        self._at += (2 * count + 3) // 4 * 4
        return torch.from_numpy(values)

    def floats(self, count: int) -> Tensor:
        values = np.frombuffer(self._data, '<f4', count, self._at).copy()
        self._at += 4 * count
        return torch.from_numpy(values)

    def at_end(self) -> bool:
        return self._at == len(self._data)
