# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The training loop: schedule, averaged weights, checkpoints, curves."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from instance_seg_ros import Segmenter
from training.curve import Curve
from training.detector.augment import Augmentation, Sampler
from training.detector.calibrate import background_offset, with_offset
from training.detector.dataset import Photo
from training.detector.export import export_model
from training.detector.loader import BatchMaker, BatchPlan, batches, to_device
from training.detector.losses import AuxiliaryHeads, LossSettings, compute_losses
from training.detector.teacher import Teacher
from training.graph.network import NetworkConfig
from training.graph.random_model import random_arrays
from training.graph.tensorflow_files import write_atomically
from training.graph.torch_module import MaskRcnnModule, parameter_groups
from training.interrupt import noted_interrupt
from training.optimizer import Muon, takes_muon

LOG = logging.getLogger(__name__)

CHECKPOINT = 'checkpoint.pt'
_CURVE = 'curve.csv'
_TEACHER_BATCHES = 8  # whose features tell what is worth imitating


class TrainingError(RuntimeError):
    """A run that cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes; a checkpoint resumes only under the same.

    Attributes:
        network: the graph to train.
        classes: names, in the order of the class ids.
        categories: names of the auxiliary map's categories.
        minutes: length of the run; the schedule follows the clock. 0: ``steps`` counts instead.
        steps: optimiser steps where ``minutes`` is 0; such runs are reproducible to the bit on one
            machine.
        sizes: (share of the run, longest side in pixels) of each phase, in order.
        plain_share: last share of the run, without mosaics and pasted objects.
        optimizer: 'muon' for kernels and matrices with AdamW for the rest, or 'adamw' for all.
        teacher: name of the network whose features are imitated; '' is none.
    """

    network: NetworkConfig
    classes: tuple[str, ...]
    categories: tuple[str, ...]
    minutes: float = 120.0
    steps: int = 0
    batch_size: int = 8
    sizes: tuple[tuple[float, int], ...] = ((0.65, 320), (0.35, 416))
    plain_share: float = 0.15
    optimizer: str = 'muon'
    teacher: str = ''
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    gradient_norm: float = 5.0
    average: float = 0.998
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossSettings = field(default_factory=LossSettings)

    def to_json(self) -> str:
        """Return one text that is equal for equal settings."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class RunOptions:
    """Where and how fast to run; a resumed run may change these."""

    folder: Path
    device: str = 'cpu'
    mixed_precision: bool = False
    workers: int = 2
    checkpoint_minutes: float = 5.0
    snapshot_minutes: float = 0.0
    progress: bool = True


class Trainer:
    """One run in one folder: construct, then :meth:`run`. A folder with a checkpoint is resumed.

    Raises:
        TrainingError: the folder holds a checkpoint of other settings, or one that cannot be read.

    """

    def __init__(
        self,
        photos: list[Photo],
        settings: Settings,
        options: RunOptions,
        initial: dict[str, np.ndarray] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.options = settings, options
        self.device = torch.device(options.device)
        arrays = initial or initial_arrays(settings.network, settings.seed)
        self.module = self._to_device(MaskRcnnModule(settings.network, arrays))
        self.maker = BatchMaker(
            Sampler(photos, settings.augmentation), settings.batch_size, settings.seed
        )
        self.teacher = self._to_device(self._make_teacher()) if settings.teacher else None
        imitated = Teacher.channels if self.teacher else 0
        self.heads = self._to_device(
            AuxiliaryHeads(self.module, len(settings.categories), imitated)
        )
        self.optimizers = _make_optimizers(self.module, self.heads, settings)
        self.average = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self._calibration_photos = calibration_photos(photos)
        self.step = 0
        self.elapsed = 0.0
        self._curve = Curve(options.folder / _CURVE)
        options.folder.mkdir(parents=True, exist_ok=True)
        if (options.folder / CHECKPOINT).exists():
            self._load()

    def _to_device(self, module: Any) -> Any:
        return module.to(self.device, memory_format=torch.channels_last)

    def _make_teacher(self) -> Teacher:
        # Landscape and portrait are of different shape: always the one, for a batch of one shape.
        images = [
            self.maker[BatchPlan(step, self._long_side(0.0), True)][1].images
            for step in range(_TEACHER_BATCHES)
        ]
        shape = images[0].shape
        return Teacher(self.settings.teacher, torch.cat([i for i in images if i.shape == shape]))

    # ---- the loop
    def run(self) -> None:
        """Train to the end of the schedule, write checkpoints on the way and the averaged weights
        at the end.
        """
        self.module.train()
        bar = tqdm(
            total=1000,
            initial=int(1000 * self.progress()),
            disable=not self.options.progress,
            mininterval=2,
            bar_format='{l_bar}{bar}| {elapsed}<{remaining} {postfix}',
        )
        saved = snapped = started = time.monotonic()
        base, seen = self.elapsed, 0
        try:
            with noted_interrupt() as interrupt:
                for step, batch in batches(self.maker, self._plans, self.options.workers):
                    losses = self._train_step(step, batch)
                    now = time.monotonic()
                    self.elapsed, seen = base + now - started, seen + self.settings.batch_size
                    self.step = step + 1
                    self._curve.add(self.step, self.elapsed, self._learning_rate(), losses)
                    bar.n = int(1000 * min(self.progress(), 1.0))
                    bar.set_postfix_str(
                        f'{seen / (now - started):.1f} images/s, loss {sum(losses.values()):.2f}'
                    )
                    if now - saved > 60 * self.options.checkpoint_minutes:
                        saved = now
                        self.save()
                    if (
                        self.options.snapshot_minutes
                        and now - snapped > 60 * self.options.snapshot_minutes
                    ):
                        snapped = now
                        self.export(self.options.folder / f'snapshot_{self.elapsed / 60:04.0f}')
                    interrupt.check()
        finally:
            bar.close()
            self.save()
        export_checkpoint(
            self.options.folder, self.options.folder / 'model', photos=self._calibration_photos
        )

    def _train_step(self, step: int, batch: Any) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group['lr'] = self._learning_rate()
        batch = to_device(batch, self.device)
        with self._precision():
            losses = compute_losses(
                self.module,
                self.heads,
                batch,
                self.settings.losses,
                generator,
                self.teacher(batch.images) if self.teacher else None,
            )
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise TrainingError(
                f'the loss is not finite at step {step}: lower --learning-rate '
                f'(now {self.settings.learning_rate}) and start in a new folder'
            )
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.gradient_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self._update_average(step)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _precision(self) -> contextlib.AbstractContextManager:
        if not self.options.mixed_precision:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        weight = 1 - min(self.settings.average, (1 + step) / (10 + step))
        for name, value in self.module.state_dict().items():
            self.average[name].lerp_(value, weight)

    # ---- the schedule
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        if self.settings.minutes:
            return self.elapsed / (60 * self.settings.minutes)
        return self.step / self.settings.steps

    def _plans(self) -> Iterator[BatchPlan]:
        step = self.step
        while True:
            # In a run by steps the plan depends on the step alone; the loader works ahead of the
            # optimiser.
            progress = self.progress() if self.settings.minutes else step / self.settings.steps
            if progress >= 1:
                return
            yield BatchPlan(
                step, self._long_side(progress), progress < 1 - self.settings.plain_share
            )
            step += 1

    def _long_side(self, progress: float) -> int:
        end = 0.0
        for share, side in self.settings.sizes:
            end += share
            if progress < end:
                return side
        return self.settings.sizes[-1][1]

    def _learning_rate(self) -> float:
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
            'module': self.module.state_dict(),
            'heads': self.heads.state_dict(),
            'average': self.average,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.options.folder / CHECKPOINT, buffer.getvalue())
        self._curve.flush()

    def _load(self) -> None:
        path = self.options.folder / CHECKPOINT
        state = read_checkpoint(path, self.device)
        _check_settings(path, json.loads(state['settings']), json.loads(self.settings.to_json()))
        self.module.load_state_dict(state['module'])
        self.heads.load_state_dict(state['heads'])
        for optimizer, stored in zip(self.optimizers, state['optimizers'], strict=True):
            optimizer.load_state_dict(stored)
        self.average = state['average']
        self.step, self.elapsed = state['step'], state['elapsed']
        LOG.info('resumed %s at step %d', path, self.step)

    def averaged_arrays(self) -> dict[str, np.ndarray]:
        """Return the averaged weights by name in TensorFlow's layout."""
        module = MaskRcnnModule(self.settings.network, initial_arrays(self.settings.network, 0))
        module.load_state_dict(self.average)
        return module.cpu().arrays()

    def export(self, stem: Path) -> None:
        """Write the model with the averaged weights; see
        :func:`training.detector.export.export_model`.
        """
        export_model(
            self.settings.network,
            self.averaged_arrays(),
            self.settings.classes,
            stem,
            input_max_side=self.settings.sizes[-1][1],
        )


def _make_optimizers(
    module: MaskRcnnModule, heads: AuxiliaryHeads, settings: Settings
) -> list[torch.optim.Optimizer]:
    groups = [
        *parameter_groups(module, settings.weight_decay),
        {'params': list(heads.parameters()), 'weight_decay': 0.0},
    ]
    if settings.optimizer == 'adamw':
        return [torch.optim.AdamW(groups, lr=settings.learning_rate)]

    def parts(muon: bool) -> list[dict[str, Any]]:
        chosen = [
            group | {'params': [p for p in group['params'] if takes_muon(p) == muon]}
            for group in groups
        ]
        return [group for group in chosen if group['params']]

    return [
        Muon(parts(True), lr=settings.learning_rate),
        torch.optim.AdamW(parts(False), lr=settings.learning_rate),
    ]


def initial_arrays(config: NetworkConfig, seed: int) -> dict[str, np.ndarray]:
    """Random weights with the published config's heads (deviation 0.01) and scores that start at
    "background".
    """
    arrays = random_arrays(config, seed)
    rng = np.random.default_rng((seed, 1))
    for name in arrays:
        last = name.startswith(
            ('FirstStageBoxPredictor/', 'SecondStageBoxPredictor/')
        ) and name.endswith('/weights')
        if last and name != 'SecondStageBoxPredictor/Conv/weights':
            arrays[name] = (0.01 * rng.standard_normal(arrays[name].shape)).astype(np.float32)
    arrays['FirstStageBoxPredictor/ClassPredictor/biases'][:] = np.tile(
        [2.0, -2.0], len(config.anchors)
    )
    arrays['SecondStageBoxPredictor/ClassPredictor/biases'][0] = 2.0
    return arrays


def read_checkpoint(path: Path, device: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint; raises TrainingError where it is missing or broken."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f'{path}: no such checkpoint. Give the folder of a run') from None
    except Exception as error:  # torch raises many types for a broken file
        raise TrainingError(
            f'{path}: cannot be read as a checkpoint ({error}). Delete it to start anew, or choose '
            'another --output'
        ) from error


def calibration_photos(photos: Sequence[Photo], most: int = 400) -> list[Photo]:
    """Draw the photos that scores are adjusted on; the same ones each time."""
    order = np.random.default_rng(0).permutation(len(photos))[:most]
    return [photos[i] for i in order]


def export_checkpoint(
    folder: Path,
    stem: Path,
    input_max_side: int = 0,
    proposals: int = 0,
    photos: Sequence[Photo] = (),
    most_false: float = 0.0,
    max_upscale: float = 1.0,
) -> Path:
    """Write the model of a run's checkpoint and return its manifest.

    Args:
        folder: of the run.
        stem: path without ending, as for :func:`training.detector.export.export_model`.
        input_max_side: pixels; 0 is that of the last phase of the training.
        proposals: regions that the first stage hands on; 0 is as trained.
        photos: those that its scores are adjusted on; none leaves them as they are.
        most_false: see :func:`training.detector.calibrate.background_offset`.
        max_upscale: see :func:`training.detector.export.export_model`.

    """
    state = read_checkpoint(folder / CHECKPOINT)
    settings = json.loads(state['settings'])
    network = NetworkConfig.from_dict(settings['network'])
    network = replace(network, proposals=proposals or network.proposals)
    module = MaskRcnnModule(network, initial_arrays(network, 0))
    module.load_state_dict(state['average'])
    arrays, classes = module.arrays(), tuple(settings['classes'])
    side = input_max_side or settings['sizes'][-1][1]
    manifest = export_model(network, arrays, classes, stem, side, max_upscale)
    if photos:
        segmenter = Segmenter(model=str(manifest), refiner='none', confidence_threshold=0.05)
        try:
            offset = background_offset(segmenter, photos, most_false)
        except ValueError as error:
            LOG.warning('the scores were not adjusted: %s', error)
        else:
            LOG.info('added %.2f to the logit of "background"', offset)
            adjusted = with_offset(arrays, offset)
            manifest = export_model(network, adjusted, classes, stem, side, max_upscale)
    return manifest


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
