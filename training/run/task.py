# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What differs between trainings: samples, losses, networks and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from training.run.settings import RunOptions, RunSettings

if TYPE_CHECKING:
    from training.run.loop import Run

BatchT = TypeVar('BatchT')


class Task(ABC, Generic[BatchT]):
    """What is trained, on what, and what comes of it; a :class:`~training.run.loop.Run` trains it.

    Attributes:
        name: for messages, as in "is no checkpoint of NAME".
        samples: what a batch has, for the log.
        settings: what to compute.
        device: where.
        networks: by their names in the checkpoint; the weights of the first one are averaged.
        optimizers: whose learning rate follows the schedule, times a group's ``share`` if it has
            one.
        own_optimizers: that the task steps by itself; they are part of the checkpoint.
    """

    name: ClassVar[str]
    samples: ClassVar[str] = 'images'
    networks: dict[str, nn.Module]
    optimizers: list[torch.optim.Optimizer]

    def __init__(self, settings: RunSettings, options: RunOptions) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = torch.device(options.device)
        self.mixed_precision = options.mixed_precision
        self.own_optimizers: list[torch.optim.Optimizer] = []

    @property
    def trained(self) -> nn.Module:
        """The network whose weights are averaged."""
        return next(iter(self.networks.values()))

    def precision(self) -> torch.autocast:
        """Return the context in which networks run: bfloat16 if it is wanted."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision)

    @abstractmethod
    def batches(self, run: Run) -> Iterator[tuple[int, BatchT]]:
        """Yield (step, batch) from ``run.step`` on, as long as the run may need them."""

    @abstractmethod
    def losses(self, run: Run, step: int, batch: BatchT) -> dict[str, Tensor]:
        """Return the losses of a batch by name, always the same names.

        Their sum is minimised; those that need no gradient are only logged.
        """

    def clipped(self) -> Iterable[nn.Parameter]:
        """Return the weights whose gradient is limited in length."""
        return self.trained.parameters()

    def after_step(self, run: Run) -> None:
        """Do what is due during a run, such as a check on held-out photos."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Write the result of a run that is over."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold beside networks and optimisers."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
