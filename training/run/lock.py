# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One training at a time in a folder: a second one would overwrite its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from instance_seg_ros.file_locks import lock
from training.run.checkpoint import TrainingError

LOCK_FILE = '.lock'  # it stays: who removed it could take it from the next training

_held: list[BinaryIO] = []


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder while the context lasts, or until the process is killed.

    Raises:
        TrainingError: another training is in it.
        OSError: it cannot be written to.
    """
    with (folder / LOCK_FILE).open('ab') as file:
        if lock(file) is False:
            raise TrainingError(
                f'another training is running in {folder}. Wait for its end, or choose another '
                '--output'
            )
        _held.append(file)
        try:
            yield
        finally:
            _held.remove(file)


def leave_locks_to_the_parent() -> None:
    """Close the locks that a worker has from its parent: one that outlives it would keep them."""
    for file in _held:
        file.close()
    _held.clear()
