# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Locks of files, by which processes see each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


def lock(file: BinaryIO | int) -> bool | None:
    """Lock a file for this process until it is closed or the process ends; does not wait.

    Args:
        file: an open file or its descriptor.

    Returns:
        True where it is locked now, False where another process has it locked, None where nobody
        can tell: on Windows, and on file systems without locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def lock_of_folder(path: Path) -> Iterator[bool | None]:
    """Lock a folder while the context lasts; yields what :func:`lock` returns."""
    if fcntl is None:  # Windows opens no folders
        yield None
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        yield lock(handle)
    finally:
        os.close(handle)
