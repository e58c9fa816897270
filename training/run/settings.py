# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What every run computes and where it runs, and the schedule of its learning rate."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run computes; a task adds its own. A checkpoint resumes only under the same ones.

    Attributes:
        minutes: length of the run; the schedule follows the clock. 0: ``steps`` counts instead.
        steps: optimiser steps where ``minutes`` is 0; such a run is reproducible to the bit on one
            machine.
        batch_size: samples of a step.
        learning_rate: after the warm-up; from there it falls to 1 % along a cosine.
        weight_decay: of kernels and matrices.
        warmup_steps: in which the learning rate rises.
        gradient_norm: longer gradients are scaled down to it.
        average: decay of the averaged weights, per step.
        seed: of everything that is drawn.
        longest_warmup: share of the run after which the warm-up is over at the latest, None: no
            limit.
        average_grows: whether the average spans few steps at first and more as the run goes on.
    """

    minutes: float
    steps: int = 0
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    gradient_norm: float
    average: float = 0.998
    seed: int = 0

    longest_warmup: ClassVar[float | None] = None
    average_grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a length that no run can have."""
        if not 0 <= self.minutes < math.inf or self.steps < 0 or not (self.minutes or self.steps):
            raise ValueError(
                f'minutes is {self.minutes} and steps is {self.steps}: expected one above 0'
            )

    def to_json(self) -> str:
        """Return one text that is equal for equal settings."""
        return json.dumps(asdict(self), sort_keys=True)

    def progress(self, step: int, elapsed: float) -> float:
        """Return the share of the run that is done after ``step`` steps and ``elapsed`` seconds."""
        if self.minutes:
            return elapsed / (60 * self.minutes)
        return step / self.steps

    def rate(self, step: int, progress: float, share: float = 1.0) -> float:
        """Return the learning rate of a step, for weights that learn at a share of it."""
        warmup = (step + 1) / self.warmup_steps
        if self.longest_warmup is not None:
            warmup = max(warmup, progress / self.longest_warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.learning_rate * share * min(1.0, warmup) * (0.01 + 0.99 * cosine)


@dataclass(frozen=True)
class RunOptions:
    """Where and how fast to run; a resumed run may change these.

    Attributes:
        folder: of the run.
        device: ``cpu``, ``cuda``, ...
        mixed_precision: whether bfloat16 is used where it is good enough.
        workers: processes that make samples.
        checkpoint_minutes: time between two checkpoints.
        progress: whether a bar is shown, in a terminal.
    """

    folder: Path
    device: str = 'cpu'
    mixed_precision: bool = False
    workers: int = 1
    checkpoint_minutes: float = 5.0
    progress: bool = True
