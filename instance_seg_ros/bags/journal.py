# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is done of a bag, kept in a database until all is: a killed run goes on from it.

Every frame is one transaction. The database is locked while a run uses it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from instance_seg_ros.bags.errors import BagError

_TABLES = """
CREATE TABLE IF NOT EXISTS run (identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS frames (number INTEGER PRIMARY KEY, timestamp INTEGER, problem TEXT);
CREATE TABLE IF NOT EXISTS messages (frame INTEGER, output TEXT, data BLOB);
"""


class Journal:
    """The results of a run, frame by frame.

    Args:
        path: of the database, which is made where it is missing. One of another run is emptied.
        identity: all that decides about the results, as text.

    Attributes:
        done: frames that are in it.

    Raises:
        BagError: another process uses it, or it cannot be written.

    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        with self._errors_named():
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None)
            self._database.execute('PRAGMA locking_mode = EXCLUSIVE')
            self._database.execute('PRAGMA journal_mode = WAL')
            self._database.executescript(_TABLES)
            found = self._database.execute('SELECT identity FROM run').fetchone()
            with self._transaction():
                if found != (identity,):
                    self._database.execute('DELETE FROM run')
                    self._database.execute('DELETE FROM frames')
                    self._database.execute('DELETE FROM messages')
                    self._database.execute('INSERT INTO run VALUES (?)', (identity,))
            self.done = self._count('SELECT COUNT(*) FROM frames')

    @property
    def skipped(self) -> int:
        """Frames that could not be used."""
        return self._count('SELECT COUNT(*) FROM frames WHERE problem IS NOT NULL')

    def add(self, timestamp: int, messages: Mapping[str, bytes]) -> None:
        """Add a frame: its output messages, serialized, by the name of the output.

        Raises:
            BagError: it cannot be written.

        """
        self._add(timestamp, None, messages)

    def skip(self, timestamp: int, problem: str) -> None:
        """Add a frame that cannot be used, and why."""
        self._add(timestamp, problem, {})

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield the output's name, the timestamp and the message of all, in the order of frames."""
        yield from self._database.execute(
            'SELECT output, timestamp, data FROM messages JOIN frames ON frame = number '
            'ORDER BY messages.rowid'
        )

    def close(self) -> None:
        """Leave the database to the next run."""
        self._database.close()

    def _add(self, timestamp: int, problem: str | None, messages: Mapping[str, bytes]) -> None:
        number = self.done
        with self._errors_named(), self._transaction():
            self._database.execute(
                'INSERT INTO frames VALUES (?, ?, ?)', (number, timestamp, problem)
            )
            self._database.executemany(
                'INSERT INTO messages VALUES (?, ?, ?)',
                [(number, output, data) for output, data in messages.items()],
            )
        self.done += 1

    def _count(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute('BEGIN IMMEDIATE')
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # it can have ended by itself
                self._database.execute('ROLLBACK')
            raise
        self._database.execute('COMMIT')

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if 'locked' in str(error):
                raise BagError(
                    f'{self._path}: another run is writing the same bag; wait for its end'
                ) from None
            raise BagError(
                f'{self._path}: cannot be written ({error}); is the disk full?'
            ) from None
