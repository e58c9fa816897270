# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where files are, which of them are the same, and how they are renamed and cleared away."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from instance_seg_ros.cli.console import CommandError
from instance_seg_ros.file_locks import lock, lock_of_folder

PREFIX = '.instance-seg-'  # of unfinished files
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)

FileId = tuple[int, int]


class OutputError(CommandError):
    """A file cannot be written; the message names it."""


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Let errors of the operating system name this file."""
    try:
        yield
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from None


def place_of(path: Path) -> Path:
    """Return the absolute path with its folder's links and ``..`` resolved, its name kept."""
    return path.parent.resolve() / path.name


def rename_to_nothing(beside: Path, target: Path) -> None:
    """Rename a file to a name that does not exist; raises OutputError where it does by now."""
    try:
        os.link(beside, target)  # unlike a renaming, never over another file
    except FileExistsError:
        raise OutputError(
            f'{target}: has come to exist meanwhile; nothing is overwritten'
        ) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(beside, target)  # a file system without hard links


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of processes that have ended: nobody holds their locks."""
    for path in folder.glob(f'{PREFIX}*.part*'):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                with lock_of_folder(path) as locked:
                    if locked:
                        shutil.rmtree(path)
                continue
            with path.open('rb') as file:
                if lock(file):
                    path.unlink()


def identity(path: Path) -> FileId | None:
    """Return what tells files apart, whatever their names; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def link_identity(path: Path) -> FileId | None:
    """Return the same of the link itself, where it is one."""
    try:
        about = path.lstat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def is_special(path: Path) -> bool:
    """Whether a device, a pipe or the like is there, or a link to one, such as /dev/stdout."""
    if path.is_symlink() and os.readlink(path).startswith('/proc/'):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def umask() -> int:
    """Return the permissions that new files of this process do not get."""
    current = os.umask(0)
    os.umask(current)
    return current
