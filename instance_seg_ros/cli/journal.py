# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a run over many images has done so far, so that the next start continues from there.

A hidden file in the output folder, with a line for each image; it is removed when all is done.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from instance_seg_ros import __version__
from instance_seg_ros.cli.places import OutputError, place_of, written
from instance_seg_ros.cli.rows import Row
from instance_seg_ros.file_locks import lock
from instance_seg_ros.model_digest import digest_of_models, library_versions

# What does not decide about the results of a run, of all commands.
_OF_NO_MATTER = (
    'source',
    'output',
    'out',
    'topic',
    'show',
    'quiet',
    'overwrite',
    'keep_input',
    'storage',
    'name',
    'num_threads',
    'low_memory',
    'config',
    'config_left_out',
)


class Journal:
    """The images that are done, with their rows of results.

    In memory it has where the line of each image begins, and no rows.

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
        self._lines: dict[bytes, int] = {}
        if self._path.is_file():
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: add has told of it
                self._file.close()

    def has(self, source: Path, target: Path, others: Sequence[Path] = ()) -> bool:
        """Whether an image is done, and neither it nor what was written has changed.

        Args:
            source: the image.
            target: what was written last for it.
            others: what was written before that; an empty result has none of them.

        """
        if not self._lines:
            return False
        entry = self._entry(source)
        return (
            'rows' in entry
            and entry['to'] is not None
            and entry['from'] == about_file(source)
            and entry['to'] == about_file(target)
            and entry.get('others', []) == [about_file(other) for other in others]
        )

    def rows(self, source: Path) -> list[Row]:
        """Return the rows of an image that is done."""
        rows: list[Row] = self._entry(source)['rows']
        return rows

    def owns(self, file: Path) -> bool:
        """Whether this run wrote a file that is no image, or a folder, and it is as it was."""
        if not self._lines:
            return False
        about = self._entry(file)['to']
        return about is not None and about == about_file(file)

    def add(self, source: Path, finished: Path, rows: list[Row], others: Sequence[Path]) -> None:
        """Note an image just before its last result is renamed.

        Args:
            source: the image.
            finished: where the result is until then.
            rows: of results.
            others: what was written for it before.

        """
        entry = {
            'of': str(place_of(source)),
            'from': about_file(source),
            'to': about_file(finished),
        }
        self._append(entry | {'others': [about_file(other) for other in others], 'rows': rows})

    def add_file(self, file: Path, finished: Path) -> None:
        """Note another file, or a folder, just before it is renamed."""
        self._append({'of': str(place_of(file)), 'to': about_file(finished)})

    def add_record(self, name: str, record: Row) -> None:
        """Note anything else, under a name that is no absolute path."""
        self._append({'of': name, 'record': record})

    def has_record(self, name: str) -> bool:
        """Whether there is such a record."""
        return _key(name) in self._lines

    def record(self, name: str) -> Row:
        """Return a record; raises KeyError where there is none."""
        record: Row = self._line(name)['record']
        return record

    def remove(self) -> None:
        """All is done: the next run begins from the start."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.close()
        self._file, self._lines = None, {}

    def _open(self) -> BinaryIO:
        with written(self._path):
            self._file = self._path.open('a+b')
        _lock(self._file, self._path)
        self._file.seek(0)
        begin = 0
        for line in self._file:
            entry = _parsed(line)
            if entry is not None:
                self._lines[_key(entry['of'])] = begin
            begin += len(line)
        self._file.write(b'\n')  # what follows half a line, of a killed run, begins on its own
        return self._file

    def _entry(self, path: Path) -> Row:
        return {'from': None, 'to': None} | self._line(str(place_of(path)))

    def _line(self, name: str) -> Row:
        begin = self._lines.get(_key(name))
        if begin is None or self._file is None:
            return {}
        self._file.seek(begin)
        return _parsed(self._file.readline()) or {}

    def _append(self, entry: Row) -> None:
        file = self._file or self._open()
        with written(self._path):
            file.write(json.dumps(entry).encode() + b'\n')
            file.flush()


def run_identity(options: argparse.Namespace, read: Sequence[object]) -> str:
    """Return all that decides about the results of a run, as text.

    Args:
        options: of the command line.
        read: places of what it reads, and whatever else tells one from another.

    Raises:
        ModelError: there is no such model.

    """
    chosen = {key: str(value) for key, value in vars(options).items() if key not in _OF_NO_MATTER}
    computed_by = [__version__, library_versions(vars(options)), digest_of_models(vars(options))]
    return json.dumps([computed_by, chosen, [str(each) for each in read]], sort_keys=True)


def about_file(path: Path) -> list[int] | None:
    """Return size and time of change of a file, None where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]


def _key(place: str) -> bytes:
    return hashlib.blake2b(os.fsencode(place), digest_size=12).digest()


def _parsed(line: bytes) -> Row | None:
    """Return an entry; None for half a line, of a killed run."""
    with contextlib.suppress(ValueError, RecursionError):
        entry = json.loads(line)
        if isinstance(entry, dict) and isinstance(entry.get('of'), str):
            return entry
    return None


def _lock(file: BinaryIO, path: Path) -> None:
    if lock(file) is False:
        raise OutputError(
            f'{path.parent}: the same command is at work there; wait for its end, or give another '
            '--output'
        )
