# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The training run: steps of a task on its schedule, with averaged weights and checkpoints."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from training.run.averaging import AveragedWeights
from training.run.checkpoint import (
    CHECKPOINT,
    TrainingError,
    check_settings,
    read_checkpoint,
    write_checkpoint,
)
from training.run.curve import Curve
from training.run.interrupt import noted_interrupt
from training.run.report import LOG, Report
from training.run.settings import RunOptions
from training.run.task import Task

_CURVE = 'curve.csv'
_CPU_CHECKED = 'cpu'  # elsewhere a look at a loss at every step would cost time


class Run:
    """One run in one folder: construct, then :meth:`run`. A folder with a checkpoint is resumed.

    :func:`training.run.report.log_file` around both keeps a second run out of the folder.

    Attributes:
        task: what is trained.
        options: where and how fast.
        average: the averaged weights of the task's first network.
        step: steps that are done.
        elapsed: seconds that were trained, in earlier parts of the run, too.

    Raises:
        TrainingError: the folder holds a checkpoint of other settings, or one that cannot be read.

    """

    def __init__(self, task: Task[Any], options: RunOptions) -> None:
        self.task, self.options = task, options
        self.settings = task.settings
        self.average = AveragedWeights(
            task.trained, self.settings.average, grows=self.settings.average_grows
        )
        self.step = 0
        self.elapsed = 0.0
        self._is_between_steps = True
        self._finite = torch.ones((), dtype=torch.bool, device=task.device)
        options.folder.mkdir(parents=True, exist_ok=True)
        self._curve = Curve(options.folder / _CURVE)
        if (options.folder / CHECKPOINT).exists():
            self._load()

    def progress(self, step: int | None = None) -> float:
        """Return the share of the run that is done, 0 to 1.

        Args:
            step: count the share after this step instead, where it does not depend on the clock.

        """
        return self.settings.progress(self.step if step is None else step, self.elapsed)

    def run(self) -> None:
        """Train to the end of the schedule, with checkpoints on the way, and write the result.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; the checkpoint is written. A second one does
                not wait for the end of the step: then the last checkpoint counts.
            TrainingError: the training diverged; the last checkpoint is from before.
        """
        self.task.trained.train()
        shown = self.options.progress
        report = Report(self.task.samples, self.settings.batch_size, shown, self.progress())
        try:
            self._steps(report)
        finally:
            report.close()
            # Half a step would not be resumed exactly: then the last checkpoint counts.
            if self._finite and self._is_between_steps:
                self.save()
        LOG.info('%d steps, %d %s', self.step, self.step * self.settings.batch_size,
                 self.task.samples)  # fmt: skip
        self.task.finish(self)

    def _steps(self, report: Report) -> None:
        saved = started = time.monotonic()
        before = self.elapsed
        with noted_interrupt() as interrupt:
            for step, batch in self.task.batches(self):
                if self.progress() >= 1:
                    break
                self._is_between_steps = False
                losses = self._train_step(step, batch)
                self.elapsed = before + time.monotonic() - started
                self.step = step + 1
                rate = self.settings.rate(self.step, self.progress())
                self._curve.add(self.step, self.elapsed, rate, losses)
                self._is_between_steps = True
                if report.step(self.step, self.progress(), losses):
                    self._check_finite()
                if time.monotonic() - saved > 60 * self.options.checkpoint_minutes:
                    saved = time.monotonic()
                    self.save()
                self.task.after_step(self)
                self.elapsed = before + time.monotonic() - started
                interrupt.check()

    def _train_step(self, step: int, batch: Any) -> dict[str, Tensor]:
        for optimizer in self.task.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                share = group.get('share', 1.0)
                group['lr'] = self.settings.rate(self.step, self.progress(), share)
        losses = self.task.losses(self, step, batch)
        total = torch.stack([value for value in losses.values() if value.requires_grad]).sum()
        self._finite = self._finite & torch.isfinite(total.detach())
        if self.task.device.type == _CPU_CHECKED:
            self._check_finite()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.task.clipped(), self.settings.gradient_norm)
        for optimizer in self.task.optimizers:
            optimizer.step()
        self.average.update(step)
        return {name: value.detach() for name, value in losses.items()}

    def _check_finite(self) -> None:
        if not self._finite:
            raise TrainingError(
                f'the loss is not finite at step {self.step}: lower --learning-rate '
                f'(now {self.settings.learning_rate}) and start in a new folder'
            )

    # ---- files
    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        self._check_finite()
        self._curve.flush()  # before the checkpoint: a resumed run drops lines that are too many
        networks = {name: n.state_dict() for name, n in self.task.networks.items()}
        state = {
            'settings': self.settings.to_json(),
            'step': self.step,
            'elapsed': self.elapsed,
            'average': self.average.state,
            'optimizers': [optimizer.state_dict() for optimizer in self._optimizers()],
            'pending': self._curve.pending(),
            'task': self.task.state(),
        }
        write_checkpoint(self.options.folder, networks | state)

    def _load(self) -> None:
        folder, task = self.options.folder, self.task
        state = read_checkpoint(folder, next(iter(task.networks)), task.name, task.device)
        check_settings(folder, state['settings'], self.settings.to_json())
        for name, network in task.networks.items():
            network.load_state_dict(state[name])
        for optimizer, stored in zip(self._optimizers(), state['optimizers'], strict=True):
            optimizer.load_state_dict(stored)
        self.average.load(state['average'])
        self.step, self.elapsed = state['step'], state['elapsed']
        self._curve.resume(self.step, state.get('pending', []))
        task.load_state(state.get('task', {}))
        LOG.info('resumed %s at step %d', folder / CHECKPOINT, self.step)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.task.optimizers, *self.task.own_optimizers]
