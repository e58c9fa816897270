# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What several commands share: types of options' values, and the option ``--quiet``."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

STDOUT = Path('-')  # what --json takes for standard output
_LARGEST = 1_000_000_000  # of counts: more than anything has that can be counted here
_LONGEST_SHOWN = 40  # characters of a value that is no number of the range


def count(text: str) -> int:
    """Return a whole number above 0."""
    return whole_number(text, 1, _LARGEST)


def count_or_none(text: str) -> int:
    """Return a whole number, 0 or more."""
    return whole_number(text, 0, _LARGEST)


def quality(text: str) -> int:
    """Return the quality of a JPEG, 1 to 100."""
    return whole_number(text, 1, 100)


def whole_number(text: str, least: int, most: int) -> int:
    """Return a whole number of a range.

    Raises:
        argparse.ArgumentTypeError: the text is none.

    """
    with contextlib.suppress(ValueError):  # also of more digits than Python reads
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
    shown = text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}...'
    raise argparse.ArgumentTypeError(f'{shown!r}: expected a whole number from {least} to {most}')


def seconds(text: str, least: float = 0, most: float = 1e9) -> float:
    """Return a number of seconds of a range.

    Raises:
        argparse.ArgumentTypeError: the text is none.

    """
    with contextlib.suppress(ValueError):
        if least <= float(text) <= most:
            return float(text)
    raise argparse.ArgumentTypeError(
        f'{text!r}: expected a number of seconds from {least:g} to {most:,.0f}'
    )


def share(text: str) -> float:
    """Return a score, an opacity or the like, 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f'{text!r}: expected a number from 0 to 1')


def add_quiet(group: Any) -> None:
    """Add ``--quiet`` to a parser or a group of its options."""
    group.add_argument('--quiet', action='store_true', help='print only warnings and errors')
