# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The refiner as a task of a training run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from instance_seg_ros.refinement.refiner_file import PASSES
from training.refiner.crops import Crop
from training.refiner.loader import Batch, BatchMaker
from training.refiner.losses import LossSettings, discriminator_loss, generator_loss, mask_loss
from training.refiner.network import MULTIPLE, WIDTHS, Discriminator, Generator
from training.refiner.on_device import device_batches
from training.run.checkpoint import read_checkpoint
from training.run.loading import loaded
from training.run.loop import Run
from training.run.optimizer import Muon, takes_muon
from training.run.settings import RunOptions, RunSettings
from training.run.task import Task

_NAME = 'a refiner'
_ENDLESS = 1 << 40


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Everything that decides what a run computes; a checkpoint resumes only under the same.

    Attributes:
        widths: channels of the generator.
        second_pass: share of the steps that train the second pass.
        adversarial_from: share of the run after which the discriminator takes part; 1 is never.
        losses: weights of their parts.
    """

    widths: tuple[int, ...] = WIDTHS
    minutes: float = 60.0
    batch_size: int = 16
    second_pass: float = 0.3
    adversarial_from: float = 0.6
    learning_rate: float = 2e-3
    discriminator_rate: float = 4e-4
    weight_decay: float = 0.01
    warmup_steps: int = 100
    gradient_norm: float = 2.0
    losses: LossSettings = field(default_factory=LossSettings)


class RefinerTask(Task[Batch]):
    """Generator against coarse masks and, later in the run, a discriminator.

    Args:
        crops: to learn from.
        settings: what to compute.
        options: where and how fast.
        initial: weights to start from, of :func:`read_average`; random ones by default.
        simulators: processes that simulate coarse masks, for batches that are put together on the
            device, in place of the workers; 0 for none.

    """

    name = _NAME
    samples = 'objects'
    settings: Settings

    def __init__(
        self,
        crops: Sequence[Crop],
        settings: Settings,
        options: RunOptions,
        initial: dict[str, Tensor] | None = None,
        simulators: int = 0,
    ) -> None:
        super().__init__(settings, options)
        self._workers, self._simulators = options.workers, simulators
        self.generator = self._to_device(Generator(settings.widths))
        if initial is not None:
            self.generator.load_state_dict(initial)
        self.discriminator = self._to_device(Discriminator())
        self.networks = {'generator': self.generator, 'discriminator': self.discriminator}
        self.optimizers = _optimizers(self.generator, settings)
        self._discriminator_optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), settings.discriminator_rate, betas=(0.5, 0.99)
        )
        self.own_optimizers = [self._discriminator_optimizer]
        self.maker = BatchMaker(crops, settings.batch_size, settings.second_pass, settings.seed)

    def _to_device(self, module: Any) -> Any:
        return module.to(self.device, memory_format=torch.channels_last)

    # ---- samples
    def batches(self, run: Run) -> Iterator[tuple[int, Batch]]:
        last = _ENDLESS if self.settings.minutes else self.settings.steps
        if not self._simulators:
            steps = range(run.step, last)
            return loaded(self.maker, lambda: iter(steps), self._workers, ahead=4)
        return device_batches(
            self.maker.crops,
            self._first_pass,
            self.device,
            range(run.step, last),
            batch_size=self.settings.batch_size,
            second_pass=self.settings.second_pass,
            seed=self.settings.seed,
            processes=self._simulators,
        )

    # ---- a step
    def losses(self, run: Run, step: int, batch: Batch) -> dict[str, Tensor]:
        image, coarse, truth = (
            tensor.to(self.device).contiguous(memory_format=torch.channels_last)
            for tensor in (batch.image, batch.coarse, batch.truth)
        )
        if image.shape[-1] != PASSES[0]:
            image, coarse, truth = self._second_pass(step, image, coarse, truth)
        with self.precision():
            logits = [x.float() for x in self.generator.logits(image, coarse)]
        zero = logits[0].new_zeros(())
        losses = {'generator': zero, 'discriminator': zero}
        losses['mask'] = mask_loss(logits, truth, self.settings.losses)
        if run.progress() >= self.settings.adversarial_from:
            losses |= self._against_discriminator(image, torch.sigmoid(logits[0]), truth)
        return losses

    def _second_pass(
        self, step: int, image: Tensor, coarse: Tensor, truth: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a part of a large sample, with the first pass's result as its coarse mask."""
        small = [functional.avg_pool2d(x, PASSES[1] // PASSES[0]) for x in (image, coarse)]
        first = self._first_pass(*small)
        coarse = functional.interpolate(
            first, size=image.shape[-2:], mode='bilinear', align_corners=False
        )
        rng = np.random.default_rng((self.settings.seed, step, 2))
        x, y = (MULTIPLE * rng.integers(0, (PASSES[1] - PASSES[0]) // MULTIPLE + 1, 2)).tolist()
        window = ..., slice(y, y + PASSES[0]), slice(x, x + PASSES[0])
        return image[window], coarse[window], truth[window]

    def _first_pass(self, image: Tensor, coarse: Tensor) -> Tensor:
        self.generator.eval()
        with torch.no_grad(), self.precision():
            first = self.generator(image, coarse).float()
        self.generator.train()
        return first

    def _against_discriminator(
        self, image: Tensor, mask: Tensor, truth: Tensor
    ) -> dict[str, Tensor]:
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        with self.precision():
            real, _ = self.discriminator(image, truth)
            fake, _ = self.discriminator(image, mask.detach())
        loss = discriminator_loss(real, fake)
        loss.backward()
        self._discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        with self.precision():
            verdicts, features = self.discriminator(image, mask)
            with torch.no_grad():
                _, wanted = self.discriminator(image, truth)
        self.discriminator.requires_grad_(True)
        return {
            'generator': generator_loss(verdicts, features, wanted, self.settings.losses),
            'discriminator': loss.detach(),
        }

    def finish(self, run: Run) -> None:
        """Nothing: the average in the checkpoint is what is exported."""


def _optimizers(generator: Generator, settings: Settings) -> list[torch.optim.Optimizer]:
    matrices = [p for p in generator.parameters() if takes_muon(p)]
    others = [p for p in generator.parameters() if not takes_muon(p)]
    rate = settings.learning_rate
    return [
        Muon(matrices, lr=rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def read_average(folder: Path) -> tuple[Settings, dict[str, Tensor]]:
    """Return the settings and the averaged weights of a run's checkpoint."""
    state = read_checkpoint(folder, 'generator', _NAME)
    stored = json.loads(state['settings'])
    stored['losses'] = LossSettings(
        **stored['losses'] | {'sizes': tuple(stored['losses']['sizes'])}
    )
    return Settings(**stored | {'widths': tuple(stored['widths'])}), state['average']
