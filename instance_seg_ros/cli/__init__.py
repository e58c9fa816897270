# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line ``instance-seg``."""

from __future__ import annotations

from collections.abc import Sequence

from instance_seg_ros.matrix_threads import start_no_matrix_threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code; see ``instance-seg --help``.
    """
    start_no_matrix_threads()
    from instance_seg_ros.cli.program import run_program  # imports NumPy

    return run_program(arguments)
