# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line, from its arguments to its exit code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from instance_seg_ros.cli.console import CommandError, never_fail_to_print, printable
from instance_seg_ros.cli.options import make_parser
from instance_seg_ros.cli.values import STDOUT
from instance_seg_ros.memory import reuse_freed_memory

# Exit codes. The last two are those that shells report after Ctrl-C and a broken pipe.
BAD_INPUT, INTERRUPTED, READER_GONE = 2, 130, 141


def run_program(arguments: Sequence[str] | None) -> int:
    """Run the command line; see :func:`instance_seg_ros.cli.main`.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code; see ``instance-seg --help``.
    """
    never_fail_to_print()
    parser = make_parser()
    options = parser.parse_args(arguments)
    reuse_freed_memory()
    quiet = getattr(options, 'quiet', False)
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format='%(message)s')
    # SIGTERM ends like Ctrl-C, so that a video that is being written can be played.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with "| head"
        _close_stdout()
        if getattr(options, 'json', None) == STDOUT:  # unlike a table, it is not complete
            print('instance-seg: error: standard output: its reader has gone', file=sys.stderr)
        return READER_GONE


def _run(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.commands import run  # imports OpenCV, which --help does not need

    try:
        code = run(options)
        _flush()
        return code
    except CommandError as error:
        print(f'instance-seg: error: {printable(str(error))}', file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _close_stdout()
        return BAD_INPUT


def _flush() -> None:
    """See now, not when Python ends, whether all that was printed has a place."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f'standard output: {error.strerror}') from None


def _close_stdout() -> None:
    """Let what is still to be printed go nowhere, and not be complained about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
