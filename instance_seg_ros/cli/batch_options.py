# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of ``instance-seg batch``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from instance_seg_ros.cli.settings_parser import SettingsParser
from instance_seg_ros.cli.values import add_quiet, count, count_or_none

# Two threads of one worker share an image and wait for each other: docs/scaling.md.
_THREADS = 1


def add_batch_command(commands: Any, add_settings: Callable[..., None]) -> None:
    """Add ``batch`` to the parser's commands.

    Args:
        commands: of the parser.
        add_settings: adds the options of the library's settings.

    """
    text = 'many images by several workers, on this machine or a cluster'
    batch: SettingsParser = commands.add_parser(
        'batch',
        help=text,
        description=f'Segment {text}: docs/scaling.md. The same command goes on after a kill; the '
        'results do not depend on the number of workers.',
        epilog='exit codes: 0 done; 1 some images could not be used; 2 bad input; 130 Ctrl-C',
    )
    batch.add_argument(
        'source',
        nargs='+',
        metavar='SOURCE',
        help='folder (and all below it), file, pattern, list of names (.txt), bag, or address of '
        'fsspec such as s3://bucket/photos',
    )
    batch.add_argument(
        '--output', required=True, metavar='DEST', help='folder or address of the results'
    )
    batch.add_argument(
        '--formats',
        type=_formats,
        default=('parquet', 'coco'),
        metavar='NAME,NAME',
        help='parquet, coco (lines of JSON), or both (both); the list of images is always written',
    )
    batch.add_argument('--topic', metavar='NAME', help='of bags (default: the only one of images)')
    batch.add_argument(
        '--overwrite',
        action='store_true',
        help='remove the results of another run in DEST, and no other files',
    )
    batch.add_argument(
        '--retry-failed', action='store_true', help='do shards with images that failed again'
    )
    add_quiet(batch)
    work = batch.add_argument_group('work')
    work.add_argument(
        '--scheduler',
        choices=('local', 'ray'),
        default='local',
        help='processes of this machine, or actors of Ray Data (%(default)s)',
    )
    work.add_argument(
        '--workers', type=count, metavar='N', help='each with a model (default: cores / threads)'
    )
    work.add_argument(
        '--threads', type=count, default=_THREADS, metavar='N', help='of each (%(default)s)'
    )
    work.add_argument(
        '--shard-size',
        type=count,
        metavar='N',
        help='images that are written at once (default: by the number of images, at most 500)',
    )
    work.add_argument(
        '--retries',
        type=count_or_none,
        default=2,
        metavar='N',
        help='how often an image that cannot be read is read again (%(default)s)',
    )
    work.add_argument('--ray-address', metavar='ADDRESS', help='of a Ray cluster, such as auto')
    # --engine is a setting: what runs the network. With a budget of time, results would depend on
    # the machine.
    add_settings(batch, leave_out=('parallel_nets', 'num_threads', 'refine_budget_ms'))


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(sorted(set(text.split(','))))
    if not set(names) <= {'parquet', 'coco'}:
        raise argparse.ArgumentTypeError(f'{text!r}: expected parquet, coco or parquet,coco')
    return names
