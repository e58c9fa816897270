# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The files of results: JSON, CSV and Parquet, written as the rows are found.

Nothing is kept in memory, so that a million images need no more of it than one.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from instance_seg_ros.cli.console import CommandError, stdout_is_closed
from instance_seg_ros.cli.outputs import Outputs, written
from instance_seg_ros.cli.rows import Row
from instance_seg_ros.cli.values import STDOUT

_OPTIONS = ('--json', '--csv', '--parquet')
COLUMNS = (
    'image', 'image_id', 'seconds', 'width', 'height', 'instance', 'class_id', 'class_name',
    'score', 'x1', 'y1', 'x2', 'y2', 'area', 'track_id',
)  # fmt: skip


class RowWriter(Protocol):
    """Writes rows into one file."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows of an image."""

    def close(self) -> None:
        """Write what makes the file complete."""


class _Notes(Protocol):
    """A journal."""

    def add_file(self, file: Path, finished: Path) -> None:
        """Note a file just before it is renamed."""


class JsonWriter:
    """Writes a JSON list of COCO results, in ASCII; see rows_of."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = ''
        file.write('[')

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows of an image."""
        for row in rows:
            self._file.write(self._separator + json.dumps(row))
            self._separator = ', '
        self._file.flush()  # a reader that has gone is seen now, and one that is there can go on

    def close(self) -> None:
        """End the list."""
        self._file.write(']\n' if self._file is sys.stdout else ']')
        self._file.flush()


class CsvWriter:
    """Writes a line for each row, as programs for tables read it."""

    def __init__(self, file: TextIO, image: str) -> None:
        self._file, self._image = file, image
        self._writer = csv.writer(file)
        self._writer.writerow(COLUMNS)

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows of an image."""
        for row in rows:
            values = columns_of(row, self._image)
            self._writer.writerow([values[name] for name in COLUMNS])

    def close(self) -> None:
        """Write what is left in memory."""
        self._file.flush()


def columns_of(row: Row, image: str) -> dict[str, Any]:
    """Return the values of a row by the names of COLUMNS, None where it has none.

    Args:
        row: see rows_of.
        image: where the row names no file: of the video.

    """
    height, width = row['segmentation']['size']
    x, y, w, h = row['bbox']
    values = (
        row.get('file_name', image), row['image_id'], row.get('seconds'), width, height,
        row['instance'], row['category_id'] - 1, row['category_name'], round(row['score'], 6),
        round(x, 3), round(y, 3), round(x + w, 3), round(y + h, 3), row['area'],
        row.get('track_id'),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def result_files(options: argparse.Namespace) -> dict[str, Path]:
    """Return the files of results that are wanted, by their options."""
    given = {name: getattr(options, name[2:]) for name in _OPTIONS}
    if given['--json'] == STDOUT:
        given['--json'] = None
    return {name: path for name, path in given.items() if path is not None}


def results_wanted(options: argparse.Namespace) -> bool:
    """Whether rows are of use to anybody."""
    return options.json is not None or bool(result_files(options))


def check_results(options: argparse.Namespace) -> None:
    """Check what can be known before the work.

    Raises:
        CommandError: a place is none for a file, or a package is missing.

    """
    for name, path in result_files(options).items():
        if path == STDOUT:
            raise CommandError(f'{name} -: only --json can go to standard output')
        if path.is_dir():
            raise CommandError(f'{name} {path}: is a folder; expected the name of a file')
    if options.json == STDOUT and stdout_is_closed():
        raise CommandError('--json -: standard output is closed')
    if results_wanted(options):
        try:
            import pycocotools.mask  # noqa: F401  # it packs the masks
        except ImportError:
            name = next(name for name in _OPTIONS if getattr(options, name[2:]) is not None)
            raise CommandError(f'{name} needs pycocotools: pip install pycocotools') from None
    if options.parquet is not None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise CommandError(
                '--parquet needs pyarrow: pip install "pyarrow>=14", which the extra '
                'instance_seg_ros[parquet] has'
            ) from None


class ResultFiles:
    """All files of results of a run.

    Args:
        options: of the command line.
        image: what is segmented, where the rows do not name it: the video.

    """

    def __init__(self, options: argparse.Namespace, image: str = '') -> None:
        self._options, self._image = options, image
        self._writers: list[tuple[Path, RowWriter]] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows of an image into all of them."""
        for path, writer in self._writers:
            with written(path):
                writer.add(rows)

    @contextlib.contextmanager
    def writing(self, outputs: Outputs, journal: _Notes | None = None) -> Iterator[None]:
        """Write the files, also when the user interrupts; after an error there are none.

        Args:
            outputs: to write them with.
            journal: in which they are noted.

        """
        interrupted: KeyboardInterrupt | None = None
        with contextlib.ExitStack() as stack:
            finished = self._open(stack, outputs)
            try:
                yield
            except KeyboardInterrupt as error:
                interrupted = error
            for path, writer in self._writers:
                with written(path):
                    writer.close()
            if journal is not None:
                for path, beside in finished.items():
                    journal.add_file(path, beside)
        if interrupted is not None:
            raise interrupted

    def _open(self, stack: contextlib.ExitStack, outputs: Outputs) -> dict[Path, Path]:
        """Open all, and return where they are until they are renamed."""
        places = {}
        for name, path in result_files(self._options).items():
            places[path] = stack.enter_context(outputs.open(path))
            with written(path):
                self._writers.append((path, self._writer(name, places[path], stack)))
        if self._options.json == STDOUT:
            self._writers.append((Path('standard output'), JsonWriter(sys.stdout)))
        return places

    def _writer(self, name: str, path: Path, stack: contextlib.ExitStack) -> RowWriter:
        if name == '--parquet':
            from instance_seg_ros.cli.parquet import ParquetWriter

            return stack.enter_context(ParquetWriter(path, self._image))
        # In a CSV file, a name that is no UTF-8 must not make the whole file unreadable.
        file = stack.enter_context(
            path.open('w', encoding='utf-8', errors='backslashreplace', newline='')
        )
        return CsvWriter(file, self._image) if name == '--csv' else JsonWriter(file)
