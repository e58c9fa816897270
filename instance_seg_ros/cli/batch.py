# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg batch``."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterable
from typing import Any

from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.inputs import list_items
from instance_seg_ros.batch.run import BatchRun, Workers
from instance_seg_ros.batch.worker import Job, Report
from instance_seg_ros.cli.console import CommandError, Console, plural

DONE, SOME_FAILED = 0, 1


def run_batch(options: argparse.Namespace, settings: dict[str, Any], console: Console) -> int:
    """Segment many images.

    Args:
        options: of the command line.
        settings: of the Segmenter.
        console: what is printed.

    Returns:
        The exit code.

    Raises:
        CommandError: an input is bad, or the results cannot be written.

    """
    try:
        return _run(options, settings, console)
    except BatchError as error:
        raise CommandError(str(error)) from None


def _run(options: argparse.Namespace, settings: dict[str, Any], console: Console) -> int:
    if options.ray_address and options.scheduler != 'ray':
        raise CommandError('--ray-address: is of use with --scheduler ray alone')
    items = list_items(options.source, options.topic)
    job = Job(
        settings | {'num_threads': options.threads},
        options.output,
        options.formats,
        options.retries,
    )
    run = BatchRun(items, job, options.shard_size)
    run.begin(overwrite=options.overwrite, retry_failed=options.retry_failed)
    count = options.workers or max(1, _cores() // options.threads)
    console.say(
        f'{plural(len(items), "image")} in {plural(run.shards, "shard")}, '
        f'{run.shards - len(run.left)} of them done'
    )
    workers = Workers(options.scheduler, count, options.threads, options.ray_address)
    try:
        failed = _follow(run.run(workers), len(run.left), console)
    except KeyboardInterrupt:
        console.say(
            f'{run.shards - run.unwritten()} of {plural(run.shards, "shard")} are done; '
            'the same command goes on with the rest'
        )
        raise
    unwritten = run.unwritten()
    if unwritten:
        console.warn(
            f'{plural(unwritten, "shard")} could not be written; the same command tries again'
        )
    failures = run.failures()
    if failures and not failed:
        console.warn(
            f'images were left out before: {failures} lists them; --retry-failed tries them again'
        )
    return SOME_FAILED if failed or failures or unwritten else DONE


def _follow(reports: Iterable[Report], shards: int, console: Console) -> int:
    """Print what comes of the shards; return how many images failed."""
    started = time.monotonic()
    images = failed = 0
    with contextlib.closing(console.bar(reports, 'shard', shards)) as bar:
        for report in bar:
            images += report.images
            failed += report.failed
            if report.failed:
                more = f' (and {report.failed - 1} more)' if report.failed > 1 else ''
                console.warn(f'left out: {report.first_error}{more}')
    if images:
        rate = images / (time.monotonic() - started)
        console.say(f'{plural(images, "image")}, {failed} left out, {rate:.2f} images/s')
    return failed


def _cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
