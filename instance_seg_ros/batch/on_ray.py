# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The scheduler ``ray``: actors of Ray Data, on this machine or a cluster."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.inputs import Item
from instance_seg_ros.batch.shards import Shard
from instance_seg_ros.batch.worker import Job, Report, ShardWorker


def run_ray(
    shards: Sequence[Shard], job: Job, workers: int, threads: int, address: str | None
) -> Iterator[Report]:
    """Segment shards by Ray's actors; yield the reports as they come.

    Args:
        shards: of the run.
        job: what all have in common; all nodes must reach its place and the images.
        workers: number of actors.
        threads: of each: as many cores are reserved for it.
        address: of a cluster, such as auto; None starts Ray on this machine for this run.

    Raises:
        BatchError: Ray is not installed, or no worker can go on.

    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BatchError(
            f'--scheduler ray: {error}. Install it by: pip install "ray[data]>=2.51,<3"'
        ) from None
    # The reading of the rows takes a core for a moment.
    local: dict[str, Any] = {'num_cpus': workers * threads + 1, 'include_dashboard': False}
    for name in ('ray', 'ray.data'):
        logging.getLogger(name).setLevel(logging.WARNING)
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.WARNING,
        **({} if address else local),
    )
    try:
        context = ray.data.DataContext.get_current()
        context.max_errored_blocks = -1  # a shard that was given up must not end the others
        context.enable_progress_bars = False  # there is one of shards
        rows = [{'shard': json.dumps(asdict(shard))} for shard in shards]
        reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(job,),
            # Ray starts lost actors again, and their shards, for ever: see attempts.py.
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
        )
        for row in reports.iter_rows():
            if row.pop('fatal'):
                raise BatchError(row['first_error'])
            yield Report(**row)
    finally:
        ray.shutdown()


class _Actor:
    """A worker as Ray Data starts it."""

    def __init__(self, job: Job) -> None:
        self._worker = ShardWorker(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard = _read_shard(row['shard'])
        try:
            return asdict(self._worker.run(shard)) | {'fatal': False}
        except Exception as error:  # the model, a full disk: no other attempt would help
            text = str(error) or type(error).__name__
            return asdict(Report(shard.number, 0, 0, text, 0.0)) | {'fatal': True}


def _read_shard(text: str) -> Shard:
    shard = json.loads(text)
    items = tuple(Item(**item) for item in shard.pop('items'))
    return Shard(**shard, items=items)
