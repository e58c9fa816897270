# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Stamps: a file with a digest of what a result was made from, so that it is made only once."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(files: Iterable[Path], texts: Iterable[str] = ()) -> str:
    """Return a SHA-256 over the names and contents of the files, and over the texts."""
    result = hashlib.sha256()
    for path in files:
        _add(result, path.name.encode())
        _add(result, path.read_bytes())
    for text in texts:
        _add(result, text.encode())
    return result.hexdigest()


def _add(result: 'hashlib._Hash', data: bytes) -> None:
    # With its length, so that two different lists never give the same bytes.
    result.update(str(len(data)).encode() + b':' + data)


def is_current(stamp: Path, wanted: str) -> bool:
    """Return whether the stamp was written for what is wanted now."""
    return stamp.is_file() and stamp.read_text('utf-8') == wanted


def write_stamp(stamp: Path, wanted: str) -> None:
    """Record that the result is made."""
    stamp.write_text(wanted, 'utf-8')
