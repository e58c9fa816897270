# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The refiner's network, and the discriminator that it is trained against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLE = 16  # of both sides of what the generator takes
WIDTHS = (32, 48, 96, 128)

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB


def _block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _mixed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Generator(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of an image and a coarse mask that corrects the mask.

    Its output is coarse to fine: logits at a quarter of the size, each next size a correction of
    the one before. Nothing is computed at full size, where most of the time would go: the four
    pixels of a square are channels of one at half the size, of the input as of the output (Shi et
    al. 2016). What comes up is added to what was kept on the way down, not put beside it, which
    halves the way up.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the size; multiples of 16 are the quickest.

    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        a, b, c, d = widths
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer('deviation', torch.tensor(_DEVIATION).view(1, 3, 1, 1))
        self.down1 = _block(4 * 5, a)
        self.down2 = nn.Sequential(_block(a, b, 2), _block(b, b))
        self.down3 = nn.Sequential(_block(b, c, 2), _block(c, c))
        self.down4 = nn.Sequential(
            _block(c, d, 2), _block(d, d, dilation=2), _block(d, d, dilation=2)
        )
        self.mix3, self.up3 = _mixed(d, c), _block(c, c)
        self.mix2, self.up2 = _mixed(c, b), _block(b, b)
        self.mix1, self.up1 = _mixed(b, a), _block(a, a)
        self.logit2 = nn.Conv2d(b, 1, 1)
        self.logit1 = nn.Conv2d(a, 1, 1)
        self.logit0 = nn.Conv2d(a, 4, 1)
        self.trust = nn.Parameter(torch.ones(1))  # in the coarse mask

    def logits(self, image: Tensor, coarse: Tensor) -> list[Tensor]:
        """Return logits at full size, 1/2 and 1/4.

        Args:
            image: float32 (N, 3, H, W), RGB, 0 to 1.
            coarse: float32 (N, 1, H, W), probabilities, 0 outside the box.

        """
        bounded = coarse.clamp(0.02, 0.98)
        prior = torch.log(bounded / (1 - bounded))
        normal = (image - self.mean) / self.deviation
        seen = torch.cat([normal, 2 * coarse - 1, 0.25 * prior], 1)
        x1 = self.down1(functional.pixel_unshuffle(seen, 2))
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        y3 = self.up3(functional.relu(_doubled(self.mix3(self.down4(x3))) + x3))
        y2 = self.up2(functional.relu(_doubled(self.mix2(y3)) + x2))
        y1 = self.up1(functional.relu(_doubled(self.mix1(y2)) + x1))
        quarter = self.logit2(y2) + self.trust * functional.avg_pool2d(prior, 4)
        half = self.logit1(y1) + _doubled(quarter)
        full = functional.pixel_shuffle(self.logit0(y1), 2) + _doubled(half)
        return [full, half, quarter]

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        """Return the probability of the object, float32 (N, 1, H, W); see :meth:`logits`."""
        return torch.sigmoid(self.logits(image, coarse)[0])


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)


class Discriminator(nn.Module):
    """Tells objects that were cut out by their true mask from those cut out by the generator's.

    It sees the cut-out (image times mask) and the mask at two scales, and its inner features are
    compared as well (feature matching, Salimans et al. 2016; Wang et al. 2018): what makes a
    cut-out look wrong is in the features, not in the pixels.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_critic(width) for _ in range(2))

    def forward(self, image: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return verdicts (positive: true) and inner features of all scales.

        Args:
            image: float32 (N, 3, H, W), RGB, 0 to 1.
            mask: float32 (N, 1, H, W), 0 to 1.

        """
        # Gray is "nothing": black could be part of an object.
        seen = torch.cat([(image - 0.5) * mask * 4, 2 * mask - 1], 1)
        verdicts, features = [], []
        for critic in self.scales:
            x = seen
            for layer in critic[:-1]:
                x = layer(x)
                features.append(x)
            verdicts.append(critic[-1](x))
            seen = functional.avg_pool2d(seen, 2)
        return verdicts, features


def _critic(width: int) -> nn.ModuleList:
    channels = (4, width, 2 * width, 4 * width)
    layers: list[nn.Module] = [
        nn.Sequential(_normal(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2))
        for inputs, outputs in zip(channels, channels[1:], strict=False)
    ]
    return nn.ModuleList([*layers, _normal(nn.Conv2d(channels[-1], 1, 3, 1, 1))])


def _normal(layer: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(layer)
