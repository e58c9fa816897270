# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What several commands share: types of options' values, and the option ``--quiet``."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

STDOUT = Path('-')  # what --json takes for standard output


def count(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number above 0')
    return int(text)


def quality(text: str) -> int:
    """Return the quality of a JPEG, 1 to 100."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number from 1 to 100')
    return int(text)


def share(text: str) -> float:
    """Return a score, an opacity or the like, 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f'{text!r}: expected a number from 0 to 1')


def add_quiet(group: Any) -> None:
    """Add ``--quiet`` to a parser or a group of its options."""
    group.add_argument('--quiet', action='store_true', help='print warnings and errors alone')
