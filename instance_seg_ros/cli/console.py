# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the command line prints, and the error that ends it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sized
from typing import Any, TextIO

from tqdm import tqdm

_CONTROL = re.compile(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')  # but the end of a line


class CommandError(Exception):
    """The command cannot be carried out; the message is the one line that the user gets."""


class Console:
    """Prints tables and warnings, past the bar of progress.

    Args:
        quiet: print only warnings and errors.
        stdout_is_taken: tables go to stderr, as stdout has the results.

    """

    def __init__(self, *, quiet: bool = False, stdout_is_taken: bool = False) -> None:
        self._quiet, self._stdout_is_taken = quiet, stdout_is_taken

    def say(self, text: str, *, at_once: bool = False) -> None:
        """Print what was found or done; at once for who waits for it."""
        if not self._quiet:
            text = printable(text)
            print_out(text, sys.stderr if self._stdout_is_taken else sys.stdout, at_once=at_once)

    def warn(self, text: str) -> None:
        """Print a warning to stderr, in one line whatever the names of files are."""
        tqdm.write(f'instance-seg: warning: {escaped_line(text)}', file=sys.stderr)

    def bar(self, items: Any, unit: str, total: int | None = None) -> Any:
        """Return the items, with a bar of progress where stderr is a terminal."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        hidden = True if self._quiet or total == 1 else None
        return tqdm(items, unit=unit, total=total, disable=hidden)

    def bytes_bar(self, name: str, done: int, total: int | None) -> Any:
        """Return a bar for the bytes of a file, to be updated and closed; in a log it is a line."""
        if not self._quiet and not sys.stderr.isatty():
            size = '' if total is None else f' ({total / 1e6:.1f} MB)'
            print(f'fetching {name}{size}', file=sys.stderr)
        return tqdm(
            desc=name,
            initial=done,
            total=total,
            unit='B',
            unit_scale=True,
            disable=True if self._quiet else None,
        )


def printable(text: str) -> str:
    """Return a text with escapes for control characters: those of a file name move the cursor."""
    return _CONTROL.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def escaped_line(text: str) -> str:
    """Return a printable text with an escape for the end of a line, too."""
    return printable(text).replace('\n', '\\n')


def print_out(line: object, stream: TextIO | None = None, *, at_once: bool = False) -> None:
    """Print a line past the bar of progress, to stdout unless another stream is given.

    Raises:
        OSError: it has no place; the error names the stream.

    """
    stream = stream or sys.stdout
    try:
        tqdm.write(str(line), file=stream)
        if at_once:
            stream.flush()
    except OSError as error:
        error.filename = 'standard error' if stream is sys.stderr else 'standard output'
        raise


def never_fail_to_print() -> None:
    r"""Let what the encoding of the terminal lacks be printed as \xdf instead of raising.

    File names can have any bytes. A stream that is closed becomes one that leads nowhere.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, 'w')
    if sys.stderr is None:
        sys.stderr = open(os.devnull, 'w')
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def stdout_is_closed() -> bool:
    """Whether this process was started without a standard output; see never_fail_to_print."""
    return getattr(sys.stdout, 'name', '') == os.devnull


def describe_os_error(error: OSError) -> str:
    """Return one line about an error of the operating system; it names what failed, if known."""
    reason = error.strerror or str(error)
    if error.filename:
        return f'{error.filename}: {reason}'
    try:
        os.getcwd()
    except FileNotFoundError:
        return 'the working folder was removed. Change to a folder that exists'
    return reason


def plural(count: int, noun: str) -> str:
    """Return such as "1 image" or "2 images"."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'
