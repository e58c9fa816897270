# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a run over many images has done so far, so that the next start continues from there.

A hidden file in the output folder, with a line for each image; it is removed when all is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from instance_seg_ros.cli.outputs import OutputError, place_of, written
from instance_seg_ros.file_locks import lock

Row = dict[str, Any]


class Journal:
    """The images that are done, with their rows of COCO results.

    Args:
        folder: of the output.
        run: all that decides about the results, in any words: another run has another journal.

    Raises:
        OutputError: the same run is at work there.

    """

    def __init__(self, folder: Path, run: str) -> None:
        name = hashlib.sha256(run.encode('utf-8', 'surrogateescape')).hexdigest()[:16]
        self._path = folder / f'.instance-seg-{name}.jsonl'
        self._file: BinaryIO | None = None
        self._done: dict[str, Row] = {}
        if self._path.is_file():
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def rows(self, source: Path, target: Path) -> list[Row] | None:
        """Return the rows of an image that is done, None where it is not."""
        entry = self._done.get(str(place_of(source)))
        if entry is None or 'rows' not in entry or entry['to'] is None:
            return None
        if entry['from'] != _about(source) or entry['to'] != _about(target):
            return None
        rows: list[Row] = entry['rows']
        return rows

    def owns(self, file: Path) -> bool:
        """Whether this run wrote a file that is no image, and it is as it was."""
        entry = self._done.get(str(place_of(file)))
        return entry is not None and entry['to'] is not None and entry['to'] == _about(file)

    def add(self, source: Path, finished: Path, rows: list[Row]) -> None:
        """Note an image just before its result is renamed.

        Args:
            source: the image.
            finished: where the result is until then.
            rows: its COCO results.

        """
        entry = {'of': str(place_of(source)), 'from': _about(source), 'to': _about(finished)}
        self._append(entry | {'rows': rows})

    def add_file(self, file: Path, finished: Path) -> None:
        """Note another file just before it is renamed."""
        self._append({'of': str(place_of(file)), 'to': _about(finished)})

    def remove(self) -> None:
        """All is done: the next run begins from the start."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _open(self) -> BinaryIO:
        with written(self._path):
            self._file = self._path.open('a+b')
        _lock(self._file, self._path)
        self._file.seek(0)
        for line in self._file.read().split(b'\n'):
            with contextlib.suppress(ValueError, RecursionError):  # half a line, of a killed run
                entry = json.loads(line)
                if isinstance(entry, dict) and isinstance(entry.get('of'), str):
                    self._done[entry['of']] = {'from': None, 'to': None} | entry
        self._file.write(b'\n')
        return self._file

    def _append(self, entry: Row) -> None:
        file = self._file or self._open()
        with written(self._path):
            file.write(json.dumps(entry).encode() + b'\n')
            file.flush()


def _lock(file: BinaryIO, path: Path) -> None:
    if lock(file) is False:
        raise OutputError(
            f'{path.parent}: the same command is at work there; wait for its end, or give another '
            '--output'
        )


def _about(path: Path) -> list[int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]
