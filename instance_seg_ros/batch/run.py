# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A run: the plan, what is done already, and a scheduler for the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from instance_seg_ros import __version__
from instance_seg_ros.batch.attempts import forgive
from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.inputs import Item
from instance_seg_ros.batch.local import run_local
from instance_seg_ros.batch.on_ray import run_ray
from instance_seg_ros.batch.shards import FAILED, PARQUET, Plan, failed_name, result_names
from instance_seg_ros.batch.storage import Storage
from instance_seg_ros.batch.worker import Job, Report
from instance_seg_ros.model_digest import digest_of_models, library_versions

LOCAL, RAY = 'local', 'ray'
# A lost worker loses one shard. Small shards make many files; large ones leave workers idle at the
# end.
_LARGEST_SHARD = 500
_LEAST_SHARDS = 64


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        scheduler: LOCAL or RAY.
        count: number of workers.
        threads: of each.
        address: of a Ray cluster; None for this machine.
    """

    scheduler: str
    count: int
    threads: int
    address: str | None = None


class BatchRun:
    """A run over a list of images.

    Args:
        items: sorted.
        job: what the workers do; the number of threads is among its settings.
        shard_size: images of a shard; None chooses it by the number of images.

    Raises:
        BatchError: pyarrow is missing.
        ModelError: there is no such model.

    """

    def __init__(self, items: Sequence[Item], job: Job, shard_size: int | None = None) -> None:
        size = shard_size or min(_LARGEST_SHARD, -(-len(items) // _LEAST_SHARDS))
        self._job, self._storage = job, Storage(job.place)
        self._plan = Plan(items, size, _choices(job))
        self.shards = self._plan.shards
        self.left: list[int] = []

    def begin(self, *, overwrite: bool = False, retry_failed: bool = False) -> None:
        """Find out which shards are left.

        Args:
            overwrite: whether the results of another run may be removed.
            retry_failed: also do the shards again in which images could not be used.

        Raises:
            BatchError: the place has the results of another run, or one is at work there.

        """
        self._storage.lock()
        self._plan.begin(self._storage, overwrite=overwrite)
        if retry_failed:
            for number in sorted(self._plan.failed(self._storage)):
                self._storage.remove(result_names(number, ())['images'])
                self._storage.remove(failed_name(number))
        done = self._plan.done(self._storage)
        self.left = [number for number in range(self.shards) if number not in done]

    def run(self, workers: Workers) -> Iterator[Report]:
        """Do what is left; yield a report for each shard.

        Raises:
            BatchError: no worker can go on.

        """
        if not self.left:
            return
        count = min(workers.count, len(self.left))
        shards = (self._plan.shard(number) for number in self.left)
        try:
            if workers.scheduler == LOCAL:
                yield from run_local(shards, self._job, count)
            else:
                yield from run_ray(list(shards), self._job, count, workers.threads, workers.address)
        except (KeyboardInterrupt, GeneratorExit, BatchError):  # no image did that
            with contextlib.suppress(Exception):  # what ended the run is what counts
                forgive(self._storage)
            raise

    def failures(self) -> str:
        """Return where images are listed that no run could use so far, '' where there are none."""
        return f'{self._storage.place}/{FAILED}' if self._plan.failed(self._storage) else ''

    def unwritten(self) -> int:
        """Return how many shards are not written."""
        return self.shards - len(self._plan.done(self._storage))


def _choices(job: Job) -> dict[str, Any]:
    """Return what else decides about the results, to the last bit."""
    settings = {name: _plain(value) for name, value in sorted(job.settings.items())}
    libraries = library_versions(settings)
    if PARQUET in job.formats:
        try:
            libraries['pyarrow'] = version('pyarrow')
        except PackageNotFoundError:
            raise BatchError(
                'Parquet needs pyarrow: pip install "pyarrow>=14,<28". Or leave it out: '
                '--formats coco'
            ) from None
    return {
        'version': __version__,
        'libraries': libraries,
        'settings': settings,
        'model': digest_of_models(settings),
        'formats': list(job.formats),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
