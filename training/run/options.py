# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options that all trainings have, and how their command lines end."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.run.settings import RunOptions

Subparsers = Any  # argparse's own type has no public name


def command_line(
    prog: str, description: str | None, add_commands: Callable[[Subparsers], None]
) -> Callable[..., int]:
    """Return the ``main`` of a trainer, which takes arguments or else those of the process.

    It runs one subcommand and returns the exit code: 2 for bad input, 130 for Ctrl-C.

    Args:
        prog: for the help.
        description: for the help.
        add_commands: adds the subcommands; each sets ``run`` to what it does with its options.
    """

    def main(arguments: list[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')
        parser = argparse.ArgumentParser(prog=prog, description=description)
        add_commands(parser.add_subparsers(required=True))
        options = parser.parse_args(arguments)
        try:
            options.run(options)
        except KeyboardInterrupt:
            resumes = 'resumes' if hasattr(options, 'checkpoint_minutes') else 'begins again'
            print(f'interrupted; the same command {resumes}', file=sys.stderr)
            return 130
        except (ValueError, OSError, RuntimeError) as error:
            print(f'error: {_without_traceback(str(error))}', file=sys.stderr)
            return 2
        return 0

    return main


def _without_traceback(text: str) -> str:
    """Return the message of an error; PyTorch puts a worker's traceback before it."""
    if 'Original Traceback' not in text:
        return text
    last = list(re.finditer(r'^[\w.]+(Error|Exception): ', text, re.MULTILINE))
    return text[last[-1].end() :].strip() if last else text


def add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    """Add a subcommand whose help shows the defaults."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def add_run_options(
    parser: argparse.ArgumentParser,
    *,
    minutes: float,
    batch_size: int,
    learning_rate: float,
    device: str = 'cpu',
    threads: int | None = os.cpu_count(),
    workers: int | None = 1,
) -> None:
    """Add what every run has; the arguments are defaults. Without ``workers`` there are none."""
    add = parser.add_argument
    add('--output', '--out', type=Path, required=True, help='folder of the run')
    add(
        '--minutes',
        type=float,
        default=minutes,
        help='length of the run; its schedule follows the clock',
    )
    add('--steps', type=int, default=0, help='length in steps instead; such a run is reproducible')
    add('--batch-size', '--batch', type=int, default=batch_size)
    add('--learning-rate', type=float, default=learning_rate)
    add('--seed', type=int, default=0)
    add('--device', default=device, help='cpu, cuda, or auto: cuda where there is one')
    add('--mixed-precision', action='store_true', help='bfloat16 where the processor has it')
    add('--threads', type=int, default=threads, help='of the processor')
    if workers is not None:
        add('--workers', type=int, default=workers, help='processes that make samples')
    add('--checkpoint-minutes', type=float, default=5, help='time between two checkpoints')


def run_options(options: argparse.Namespace) -> RunOptions:
    """Return where and how fast to run, and set the number of threads."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    device = options.device
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f'--device {device}: PyTorch finds no such device. Take cpu, or auto')
    return RunOptions(
        options.output,
        device,
        options.mixed_precision,
        getattr(options, 'workers', 0),
        options.checkpoint_minutes,
    )


def common_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a run that :func:`add_run_options` has options for."""
    if options.steps < 0 or (not options.steps and options.minutes <= 0):
        raise ValueError(
            f'--steps {options.steps}, --minutes {options.minutes:g}: expected a run of some length'
        )
    if options.batch_size < 1:
        raise ValueError(f'--batch-size {options.batch_size}: expected a number above 0')
    return {
        'minutes': 0 if options.steps else options.minutes,
        'steps': options.steps,
        'batch_size': options.batch_size,
        'learning_rate': options.learning_rate,
        'seed': options.seed,
    }
