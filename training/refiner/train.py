# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The training loop of the refiner: schedule, averaged weights, checkpoints, curve."""

from __future__ import annotations

import io
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from instance_seg_ros.refinement.refiner_file import PASSES
from training.curve import Curve
from training.graph.tensorflow_files import write_atomically
from training.interrupt import noted_interrupt
from training.optimizer import Muon, takes_muon
from training.refiner.crops import Crop
from training.refiner.loader import Batch, BatchMaker, batches
from training.refiner.losses import LossSettings, discriminator_loss, generator_loss, mask_loss
from training.refiner.network import MULTIPLE, WIDTHS, Discriminator, Generator
from training.refiner.on_device import device_batches

LOG = logging.getLogger(__name__)

CHECKPOINT = 'checkpoint.pt'
_ENDLESS = 1 << 40


class TrainingError(RuntimeError):
    """A run that cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes; a checkpoint resumes only under the same.

    Attributes:
        widths: channels of the generator.
        minutes: length of the run; the schedule follows the clock. 0: ``steps`` counts instead.
        steps: optimiser steps where ``minutes`` is 0.
        second_pass: share of the steps that train the second pass.
        adversarial_from: share of the run after which the discriminator takes part; 1 is never.
        losses: weights of their parts.
    """

    widths: tuple[int, ...] = WIDTHS
    minutes: float = 60.0
    steps: int = 0
    batch_size: int = 16
    second_pass: float = 0.3
    adversarial_from: float = 0.6
    learning_rate: float = 2e-3
    discriminator_rate: float = 4e-4
    weight_decay: float = 0.01
    warmup_steps: int = 100
    gradient_norm: float = 2.0
    average: float = 0.998
    seed: int = 0
    losses: LossSettings = field(default_factory=LossSettings)

    def to_json(self) -> str:
        """Return one text that is equal for equal settings."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class RunOptions:
    """Where and how fast to run; a resumed run may change these.

    Attributes:
        folder: of the run.
        device: cpu or cuda.
        mixed_precision: whether bfloat16 is used where it is good enough.
        workers: processes that make samples.
        simulators: processes that simulate coarse masks, for batches that are put together on the
            device, in place of the workers; 0 for none.
        checkpoint_minutes: time between two checkpoints.
        progress: whether a bar is shown.
    """

    folder: Path
    device: str = 'cpu'
    mixed_precision: bool = False
    workers: int = 1
    simulators: int = 0
    checkpoint_minutes: float = 5.0
    progress: bool = True


class Trainer:
    """One run in one folder: construct, then :meth:`run`. A folder with a checkpoint is resumed.

    Args:
        crops: to learn from.
        settings: what to compute.
        options: where and how fast.
        initial: weights to start from, of :func:`read_average`; random ones by default.

    Raises:
        TrainingError: the folder holds a checkpoint of other settings, or one that cannot be read.

    """

    def __init__(
        self,
        crops: Sequence[Crop],
        settings: Settings,
        options: RunOptions,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.options = settings, options
        self.device = torch.device(options.device)
        self.generator = self._to_device(Generator(settings.widths))
        if initial is not None:
            self.generator.load_state_dict(initial)
        self.discriminator = self._to_device(Discriminator())
        self.optimizers = _optimizers(self.generator, settings)
        self.discriminator_optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), settings.discriminator_rate, betas=(0.5, 0.99)
        )
        self.average = {k: v.detach().clone() for k, v in self.generator.state_dict().items()}
        self.maker = BatchMaker(crops, settings.batch_size, settings.second_pass, settings.seed)
        self.step = 0
        self.elapsed = 0.0
        options.folder.mkdir(parents=True, exist_ok=True)
        self._curve = Curve(options.folder / 'curve.csv')
        if (options.folder / CHECKPOINT).exists():
            self._load()

    def _to_device(self, module: Any) -> Any:
        return module.to(self.device, memory_format=torch.channels_last)

    # ---- the loop
    def run(self) -> None:
        """Train to the end of the schedule, with checkpoints on the way."""
        self.generator.train()
        bar = tqdm(
            total=1000,
            initial=int(1000 * self.progress()),
            disable=not self.options.progress,
            mininterval=2,
            bar_format='{l_bar}{bar}| {elapsed}<{remaining} {postfix}',
        )
        saved = started = time.monotonic()
        base, seen = self.elapsed, 0
        last = _ENDLESS if self.settings.minutes else self.settings.steps
        try:
            with noted_interrupt() as interrupt:
                for step, batch in self._batches(last):
                    if self.progress() >= 1:
                        break
                    losses = self._train_step(step, batch)
                    now = time.monotonic()
                    self.elapsed, seen = base + now - started, seen + self.settings.batch_size
                    self.step = step + 1
                    self._curve.add(self.step, self.elapsed, self._rate(), losses)
                    bar.n = int(1000 * min(self.progress(), 1.0))
                    bar.set_postfix_str(
                        f'{seen / (now - started):.1f} objects/s, loss {losses["mask"]:.3f}'
                    )
                    if now - saved > 60 * self.options.checkpoint_minutes:
                        saved = now
                        self.save()
                    interrupt.check()
        finally:
            bar.close()
            self.save()

    def _batches(self, last: int) -> Iterator[tuple[int, Batch]]:
        if not self.options.simulators:
            return batches(self.maker, self.step, last, self.options.workers)
        return device_batches(
            self.maker.crops,
            self._first_pass,
            self.device,
            range(self.step, last),
            batch_size=self.settings.batch_size,
            second_pass=self.settings.second_pass,
            seed=self.settings.seed,
            processes=self.options.simulators,
        )

    def _train_step(self, step: int, batch: Batch) -> dict[str, float]:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group['lr'] = self._rate()
        image, coarse, truth = (
            tensor.to(self.device).contiguous(memory_format=torch.channels_last)
            for tensor in (batch.image, batch.coarse, batch.truth)
        )
        if image.shape[-1] != PASSES[0]:
            image, coarse, truth = self._second_pass(step, image, coarse, truth)
        with self._precision():
            logits = [x.float() for x in self.generator.logits(image, coarse)]
        losses = {'mask': mask_loss(logits, truth, self.settings.losses)}
        if self.progress() >= self.settings.adversarial_from:
            losses |= self._against_discriminator(image, torch.sigmoid(logits[0]), truth)
        total = losses['mask'] + losses.get('generator', 0.0)
        if not torch.isfinite(total):
            raise TrainingError(
                f'the loss is not finite at step {step}: lower --learning-rate '
                f'(now {self.settings.learning_rate}) and start in a new folder'
            )
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.settings.gradient_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self._update_average(step)
        zeros = {'generator': 0.0, 'discriminator': 0.0}
        return zeros | {name: float(value.detach()) for name, value in losses.items()}

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
        with torch.no_grad(), self._precision():
            first = self.generator(image, coarse).float()
        self.generator.train()
        return first

    def _against_discriminator(
        self, image: Tensor, mask: Tensor, truth: Tensor
    ) -> dict[str, Tensor]:
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        with self._precision():
            real, _ = self.discriminator(image, truth)
            fake, _ = self.discriminator(image, mask.detach())
        loss = discriminator_loss(real, fake)
        loss.backward()
        self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        with self._precision():
            verdicts, features = self.discriminator(image, mask)
            with torch.no_grad():
                _, wanted = self.discriminator(image, truth)
        self.discriminator.requires_grad_(True)
        return {
            'generator': generator_loss(verdicts, features, wanted, self.settings.losses),
            'discriminator': loss.detach(),
        }

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.mixed_precision
        )

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        weight = 1 - min(self.settings.average, (1 + step) / (10 + step))
        for name, value in self.generator.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, weight)
            else:
                self.average[name].copy_(value)

    # ---- the schedule
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        if self.settings.minutes:
            return self.elapsed / (60 * self.settings.minutes)
        return self.step / self.settings.steps

    def _rate(self) -> float:
        warmup = min(1.0, (self.step + 1) / self.settings.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.progress(), 1.0)))
        return self.settings.learning_rate * warmup * (0.01 + 0.99 * cosine)

    # ---- files
    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            'settings': self.settings.to_json(),
            'step': self.step,
            'elapsed': self.elapsed,
            'generator': self.generator.state_dict(),
            'discriminator': self.discriminator.state_dict(),
            'average': self.average,
            'optimizers': [o.state_dict() for o in self._all_optimizers()],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.options.folder / CHECKPOINT, buffer.getvalue())
        self._curve.flush()

    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, self.discriminator_optimizer]

    def _load(self) -> None:
        path = self.options.folder / CHECKPOINT
        state = read_checkpoint(path, self.device)
        _check_settings(path, json.loads(state['settings']), json.loads(self.settings.to_json()))
        self.generator.load_state_dict(state['generator'])
        self.discriminator.load_state_dict(state['discriminator'])
        for optimizer, stored in zip(self._all_optimizers(), state['optimizers'], strict=True):
            optimizer.load_state_dict(stored)
        self.average = state['average']
        self.step, self.elapsed = state['step'], state['elapsed']
        LOG.info('resumed %s at step %d', path, self.step)


def _optimizers(generator: Generator, settings: Settings) -> list[torch.optim.Optimizer]:
    matrices = [p for p in generator.parameters() if takes_muon(p)]
    others = [p for p in generator.parameters() if not takes_muon(p)]
    rate = settings.learning_rate
    return [
        Muon(matrices, lr=rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def read_checkpoint(path: Path, device: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint; raises TrainingError where it is missing or broken."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f'{path}: no such checkpoint. Give the folder of a run') from None
    except Exception as error:  # torch raises many types for a broken file
        raise TrainingError(
            f'{path}: cannot be read as a checkpoint ({error}). Delete it to start anew, or choose '
            'another --output'
        ) from error
    if not isinstance(state, dict) or 'generator' not in state:
        raise TrainingError(f'{path}: is no checkpoint of a refiner. Give the folder of its run')
    return state


def read_average(folder: Path) -> tuple[Settings, dict[str, Tensor]]:
    """Return the settings and the averaged weights of a run's checkpoint."""
    state = read_checkpoint(folder / CHECKPOINT)
    stored = json.loads(state['settings'])
    stored['losses'] = LossSettings(
        **stored['losses'] | {'sizes': tuple(stored['losses']['sizes'])}
    )
    return Settings(**stored | {'widths': tuple(stored['widths'])}), state['average']


def _check_settings(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = sorted(
        key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key)
    )
    if differing:
        details = '; '.join(
            f'{key} was {stored.get(key)}, now {wanted.get(key)}' for key in differing[:3]
        )
        raise TrainingError(
            f'{path}: is a checkpoint of other settings ({details}). Resume it with the options '
            'that it was started with, or choose another --output'
        )
