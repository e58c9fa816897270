# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Trains both stages of a trained detector on whole photos, as they are used; its features stay.

    python -m training.everyday refit --packed PACKED --init RUN/everyday.pt --output OUT

Augmented views differ from what a camera sees: four photos share one, or one is cut off, and
objects' own boxes are among the regions. The last layers learn what is likely there (cf. Kang et
al. 2020, arXiv 1910.09217). Here they see the proposals of whole photos alone, and a region counts
as what its *refined* box shows, because that is what is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from training.everyday.losses import (
    LossSettings,
    first_stage_losses_and_proposals,
    second_stage_losses,
)
from training.everyday.network import (
    SIZE_MULTIPLE,
    Convolution,
    EverydayNetwork,
    crop,
    freeze_backbone,
)
from training.everyday.packed_data import PackedData, rarity
from training.everyday.train import EverydayTask, Settings, first_network
from training.everyday.views import OBJECT, Labels, coloured, mirrored
from training.run.loop import Run
from training.run.settings import RunOptions

Batch = tuple[list[Tensor], Labels]


@dataclass(frozen=True, kw_only=True)
class RefitSettings(Settings):
    """What a run computes; what :class:`Settings` says of views and of a teacher is not used.

    Attributes:
        sides: longest side of a photo in pixels, low and high.
        stretch: largest change of the ratio of the sides, as a logarithm.
        partly: how often photos that are labelled in part are drawn, others being 1.
        without: the same for photos that have all labels and none of the first class.
        proposals: regions of a photo.
    """

    minutes: float = 40.0
    batch_size: int = 8
    learning_rate: float = 5e-4
    backbone_rate: float = 0.0
    weight_decay: float = 0.01
    warmup_steps: int = 50
    gradient_norm: float = 5.0
    average: float = 0.99
    sides: tuple[float, float] = (420.0, 640.0)
    stretch: float = 0.2
    partly: float = 0.35
    without: float = 1.5
    proposals: int = 64

    average_grows: ClassVar[bool] = True


class RefitTask(EverydayTask):
    """The first stage, the second stage and the masks of a trained network, on whole photos."""

    name = 'a refit of a detector of everyday things'
    samples = 'photos'
    settings: RefitSettings

    def __init__(
        self,
        data: PackedData,
        settings: RefitSettings,
        options: RunOptions,
        init: Path,
        checks: int = 0,
        result: str = 'everyday',
    ) -> None:
        super().__init__(
            data,
            settings,
            options,
            lambda classes: self._first(init, classes),
            checks=checks,
            result=result,
        )
        labels = data.labels[data.train_index]
        first_class = ((labels.kind == OBJECT) & (labels.category == 0)).any(1)
        drawn = torch.where(self._whole, 1.0, settings.partly)
        drawn = torch.where(self._whole & ~first_class, settings.without, drawn)
        self._weights = rarity(data.labels, data.train_index).clamp(max=3) * drawn
        self._losses = LossSettings(jittered=0, masks=16, refined=True)

    def _first(self, init: Path, classes: int) -> EverydayNetwork:
        network = first_network(classes, init, None)
        for layer in network.modules():
            # Few photos are in a step: the norms stay as they are, as part of the kernels.
            if isinstance(layer, Convolution) and layer.norm is not None:
                layer.absorb_norm()
        freeze_features(network)
        network.config = replace(network.config, proposals=self.settings.proposals)
        return network

    # ---- samples
    def batches(self, run: Run) -> Iterator[tuple[int, Batch]]:
        while run.progress() < 1:
            yield run.step, self._photos()

    def _photos(self) -> Batch:
        drawn = torch.multinomial(
            self._weights, self.settings.batch_size, True, generator=self._generator
        )
        index = self.data.train_index[drawn]
        flip = torch.rand(len(index), device=self.device, generator=self._generator) < 0.5
        images = [self._photo(i, f) for i, f in zip(index.tolist(), flip.tolist(), strict=True)]
        return images, mirrored(self.data.labels[index], flip)

    def _photo(self, index: int, flip: bool) -> Tensor:
        """Return one photo (1, 3, H, W) in a random size of whole multiples."""
        settings = self.settings
        draw = torch.rand(2, device=self.device, generator=self._generator).tolist()
        low, high = (math.log(side) for side in settings.sides)
        height, width = self.data.sizes[index].tolist()
        scale = math.exp(low + draw[0] * (high - low)) / max(height, width)
        stretch = math.exp((draw[1] - 0.5) * settings.stretch)
        size = [
            max(round(pixels * scale / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE
            for pixels in (height / stretch, width * stretch)
        ]
        photo = self.data.photos[index : index + 1, :, :height, :width].float()
        image = functional.interpolate(
            photo, size, mode='bilinear', antialias=True, align_corners=False
        )
        image = coloured(image.flip(3) if flip else image, self._generator)
        return image.contiguous(memory_format=torch.channels_last)

    # ---- a step
    def losses(self, run: Run, step: int, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        network, settings = self.network, self._losses
        first: list[dict[str, Tensor]] = []
        proposals, crops = [], []
        with self.precision():
            for i, image in enumerate(images):
                with torch.no_grad():
                    features = network.levels(image)[0]
                of_image, boxes = first_stage_losses_and_proposals(
                    network, features, labels.of_image(i), settings
                )
                first.append(of_image)
                proposals.append(boxes)
                crops.append(crop(features, boxes))
            inner = network.regions(torch.cat(crops))
            encodings, scores = network.second_stage(inner)
            regions = torch.cat(proposals)
            usable = torch.ones(regions.shape[:2], dtype=torch.bool, device=self.device)
            losses = second_stage_losses(
                network,
                regions,
                usable,
                inner,
                encodings,
                scores,
                labels,
                self.data.masks,
                settings,
                self._generator,
            )
        return losses | {
            name: torch.stack([each[name] for each in first]).mean() for name in first[0]
        }


def freeze_features(network: EverydayNetwork) -> None:
    """Leave out of training all up to the features, and the kernels of depthwise convolutions."""
    freeze_backbone(network)
    for layer in (
        network.lateral8,
        network.lateral16,
        network.lateral32,
        network.merge8,
        network.merge16,
        network.merge32,
    ):
        layer.requires_grad_(False)
