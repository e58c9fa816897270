# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batches that processes make ahead of the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from training.run.interrupt import leave_interrupts_to_the_parent
from training.run.lock import leave_locks_to_the_parent


def loaded(
    maker: Dataset[Any], plans: Callable[[], Iterator[Any]], workers: int, ahead: int
) -> Iterator[Any]:
    """Yield ``maker[plan]`` of each plan, in their order.

    Args:
        maker: makes the batch of a plan.
        plans: of the steps, one after the other.
        workers: processes; 0 makes a batch when it is needed.
        ahead: batches that each process makes ahead.

    """
    options: dict[str, Any] = (
        {'prefetch_factor': ahead, 'worker_init_fn': _start_worker} if workers else {}
    )
    yield from DataLoader(
        maker, batch_size=None, sampler=_Plans(plans), num_workers=workers, **options
    )


class _Plans:
    def __init__(self, plans: Callable[[], Iterator[Any]]) -> None:
        self.plans = plans

    def __iter__(self) -> Iterator[Any]:
        return self.plans()


def _start_worker(_worker: int) -> None:
    cv2.setNumThreads(1)
    leave_interrupts_to_the_parent()
    leave_locks_to_the_parent()
