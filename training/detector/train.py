# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The detector as a task of a training run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.detector.augment import Sampler
from training.detector.checkpoint_model import calibration_photos, finish_run
from training.detector.dataset import Photo
from training.detector.export import export_model
from training.detector.loader import BatchMaker, BatchPlan, to_device
from training.detector.losses import AuxiliaryHeads, compute_losses
from training.detector.photometric import Augmentation
from training.detector.targets import Batch, LossSettings
from training.detector.teacher import Teacher
from training.graph.config import NetworkConfig
from training.graph.random_model import random_arrays
from training.graph.torch_module import MaskRcnnModule, parameter_groups
from training.run.loading import loaded
from training.run.loop import Run
from training.run.optimizer import Muon, takes_muon
from training.run.settings import RunOptions, RunSettings
from training.run.task import Task

_TEACHER_BATCHES = 8  # whose features tell what is worth imitating


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Everything that decides what a run computes; a checkpoint resumes only under the same.

    Attributes:
        network: the graph to train.
        classes: names, in the order of the class ids.
        categories: names of the auxiliary map's categories.
        sizes: (share of the run, longest side in pixels) of each phase, in order.
        plain_share: last share of the run, without mosaics and pasted objects.
        optimizer: 'muon' for kernels and matrices with AdamW for the rest, or 'adamw' for all.
        teacher: name of the network whose features are imitated; '' is none.
    """

    network: NetworkConfig
    classes: tuple[str, ...]
    categories: tuple[str, ...]
    minutes: float = 120.0
    batch_size: int = 8
    sizes: tuple[tuple[float, int], ...] = ((0.65, 320), (0.35, 416))
    plain_share: float = 0.15
    optimizer: str = 'muon'
    teacher: str = ''
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    gradient_norm: float = 5.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossSettings = field(default_factory=LossSettings)


class DetectorTask(Task[Batch]):
    """Mask R-CNN of the described graph, from photos that a loader augments.

    Args:
        photos: to train on.
        settings: what to compute.
        options: where and how fast.
        initial: weights to start from, in TensorFlow's layout; random ones by default.
        snapshot_minutes: time between two models that are exported on the way, 0: none.

    Raises:
        ValueError: there is no such teacher, or its packages are not installed.

    """

    name = 'a detector'
    settings: Settings

    def __init__(
        self,
        photos: list[Photo],
        settings: Settings,
        options: RunOptions,
        initial: dict[str, np.ndarray] | None = None,
        snapshot_minutes: float = 0.0,
    ) -> None:
        super().__init__(settings, options)
        self._workers = options.workers
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
        self.networks = {'module': self.module, 'heads': self.heads}
        self.optimizers = _make_optimizers(self.module, self.heads, settings)
        self._calibration_photos = calibration_photos(photos)
        self._snapshot_seconds = 60 * snapshot_minutes
        self._next_snapshot: float | None = None

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

    # ---- samples
    def batches(self, run: Run) -> Iterator[tuple[int, Batch]]:
        return loaded(self.maker, lambda: self._plans(run), self._workers, ahead=3)

    def _plans(self, run: Run) -> Iterator[BatchPlan]:
        step = run.step
        while True:
            # In a run by steps the plan depends on the step alone; the loader works ahead of the
            # optimiser.
            progress = run.progress(step)
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

    # ---- a step
    def losses(self, run: Run, step: int, batch: Batch) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        batch = to_device(batch, self.device)
        with self.precision():
            return compute_losses(
                self.module,
                self.heads,
                batch,
                self.settings.losses,
                generator,
                self.teacher(batch.images) if self.teacher else None,
            )

    # ---- results
    def after_step(self, run: Run) -> None:
        if not self._snapshot_seconds:
            return
        if self._next_snapshot is None:
            self._next_snapshot = run.elapsed + self._snapshot_seconds
        elif run.elapsed > self._next_snapshot:
            self._next_snapshot = run.elapsed + self._snapshot_seconds
            self._export(run, run.options.folder / f'snapshot_{run.elapsed / 60:04.0f}')

    def _export(self, run: Run, stem: Path) -> None:
        network = self.settings.network
        module = MaskRcnnModule(network, random_arrays(network, 0))
        module.load_state_dict(run.average.state)
        side = self.settings.sizes[-1][1]
        export_model(network, module.arrays(), self.settings.classes, stem, side)

    def finish(self, run: Run) -> None:
        finish_run(run.options.folder, self._calibration_photos)


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
