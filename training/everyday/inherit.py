# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Give a network with a new backbone what a trained one knows behind its backbone.

The layers behind the backbone are copied. Then the new backbone and the layers that join it to them
learn to make the features that these layers know (Romero et al. 2015, arXiv 1412.6550), before all
is trained together. So a larger backbone begins nearly where the smaller one ended.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.everyday.network import NORM_EPSILON, Convolution, EverydayNetwork, crop
from training.everyday.scoring import detect

_BACKBONE = ('stem', 'blocks')
_LEAST_VARIANCE = 1e-3


@torch.no_grad()
def inherit_heads(network: EverydayNetwork, trained: EverydayNetwork, images: Tensor) -> list[str]:
    """Copy the layers behind the backbone that have the same shapes, and return their names.

    Where the network has a norm, and the trained one's is part of its kernel, the norm gets the
    statistics of these images: it changes nothing at first.

    Args:
        network: gets the layers.
        trained: in evaluation mode.
        images: (B, 3, H, W), RGB 0 to 255.

    Raises:
        ValueError: the two have different numbers of classes, or differ in other ways behind the
            backbone.
    """
    outputs = _output_statistics(trained, images)
    layers = dict(network.named_modules())
    copied = []
    for name, layer in trained.named_modules():
        if name.startswith(_BACKBONE) or not isinstance(layer, Convolution | nn.Linear):
            continue
        heir = layers[name]
        kernel, bias = _kernel_and_bias(layer)
        if heir.weight.shape == kernel.shape:
            heir.weight.copy_(kernel)
            if getattr(heir, 'norm', None) is None:
                heir.bias.copy_(bias)
            else:
                _set_norm(heir.norm, bias, *outputs[name])
            copied.append(name)
        elif not name.startswith('lateral'):
            raise ValueError(
                f'{name} has the shape {tuple(kernel.shape)}: expected {tuple(heir.weight.shape)}, '
                'as a network of the same classes has it'
            )
    return copied


def feature_error(levels: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Return the squared error of features relative to their variance, summed over levels."""
    total = levels[0].new_zeros((), dtype=torch.float32)
    for level, target in zip(levels, wanted, strict=True):
        target = target.float()
        variance = target.var((0, 2, 3)).mean().clamp(min=_LEAST_VARIANCE)
        total = total + functional.mse_loss(level.float(), target) / variance
    return total


def _kernel_and_bias(layer: Convolution | nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.folded() if isinstance(layer, Convolution) else (layer.weight, layer.bias)


def _set_norm(norm: nn.BatchNorm2d, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Make a norm add a bias and nothing else, where outputs with that bias have this mean."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean - bias)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + NORM_EPSILON).sqrt())
    norm.bias.copy_(mean)


def _output_statistics(
    network: EverydayNetwork, images: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of each channel of every convolution behind the backbone, before its
    activation.
    """
    sums: dict[str, list[Tensor]] = {}

    def observe(name: str, layer: Convolution, x: Tensor) -> None:
        kernel, bias = layer.folded()
        padding = (layer.kernel - 1) // 2
        y = functional.conv2d(x, kernel, bias, padding=padding, groups=layer.groups).float()
        part = torch.stack([y.mean((0, 2, 3)), (y**2).mean((0, 2, 3))])
        sums.setdefault(name, []).append(part)

    handles = [
        layer.register_forward_pre_hook(lambda layer, x, name=name: observe(name, layer, x[0]))
        for name, layer in network.named_modules()
        if isinstance(layer, Convolution) and not name.startswith(_BACKBONE)
    ]
    try:
        _run(network, images)
    finally:
        for handle in handles:
            handle.remove()
    statistics = {}
    for name, parts in sums.items():
        mean, square = torch.stack(parts).mean(0)
        statistics[name] = mean, (square - mean**2).clamp(min=_LEAST_VARIANCE)
    return statistics


def _run(network: EverydayNetwork, images: Tensor) -> None:
    """Run all parts of a network, the masks on what it finds."""
    found = detect(network, images, network.config.proposals)
    features = network.levels(images)[0]
    network.masks(network.regions(crop(features, found.boxes)))
