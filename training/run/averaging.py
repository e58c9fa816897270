# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Averages every number of a module's state; whole numbers, such as counts, are copied.

    Args:
        module: whose weights are averaged; on its device by now.
        decay: share of the old average that a step keeps.
        grows: keep less in the first steps, (1 + step) / (10 + step) at most; else the average
            starts as the weights after the first step.

    Attributes:
        state: the averaged state, by the names of the module's ``state_dict()``.
    """

    def __init__(self, module: nn.Module, decay: float, *, grows: bool) -> None:
        self._decay, self._grows = decay, grows
        current = module.state_dict()  # its tensors share memory with the module
        self.state = {name: value.detach().clone() for name, value in current.items()}
        floats = [name for name, value in current.items() if value.is_floating_point()]
        others = [name for name in current if name not in floats]
        self._averaged = [self.state[name] for name in floats], [current[name] for name in floats]
        self._copied = [(self.state[name], current[name]) for name in others]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        if self._grows:
            decay = min(self._decay, (1 + step) / (10 + step))
        else:
            decay = self._decay if step else 0.0
        get_ema_multi_avg_fn(decay)(*self._averaged, step)
        for target, value in self._copied:
            target.copy_(value)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a stored average."""
        for name, value in self.state.items():
            value.copy_(state[name])
