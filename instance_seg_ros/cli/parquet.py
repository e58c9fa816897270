# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Results as one Parquet file. Needs pyarrow, of the extra ``instance-seg-ros[parquet]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from instance_seg_ros.cli.results import COLUMNS, columns_of
from instance_seg_ros.cli.rows import Row

_ROWS_AT_A_TIME = 5_000  # of a row group: some 10 MB of masks
_INTEGERS = ('image_id', 'instance', 'class_id', 'area', 'track_id', 'width', 'height')
_TEXTS = ('image', 'class_name')
_MASK = 'mask_rle'


class ParquetWriter:
    """Writes rows in groups; close it, or there is no table.

    Args:
        path: of the file.
        image: what is segmented, where the rows do not name it.

    """

    def __init__(self, path: Path, image: str) -> None:
        self._image = image
        self._schema = _schema()
        self._writer = pq.ParquetWriter(path, self._schema, compression='zstd')
        self._waiting: list[dict[str, Any]] = []

    def __enter__(self) -> ParquetWriter:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file; what is there is a table only after :meth:`close`."""
        self._writer.close()

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of an image."""
        for row in rows:
            values = columns_of(row, self._image)
            for name in _TEXTS:  # a name can have bytes that are no UTF-8
                values[name] = values[name].encode('utf-8', 'backslashreplace').decode()
            values[_MASK] = row['segmentation']['counts'].encode('ascii')
            self._waiting.append(values)
        if len(self._waiting) >= _ROWS_AT_A_TIME:
            self._write_waiting()

    def close(self) -> None:
        """Write what is left, and the table's end."""
        self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        if self._waiting:
            table = pa.Table.from_pylist(self._waiting, self._schema)
            self._writer.write_table(table)
            self._waiting = []


def _schema() -> pa.Schema:
    types = {name: pa.float64() for name in COLUMNS}
    types |= dict.fromkeys(_INTEGERS, pa.int64())
    types |= dict.fromkeys(_TEXTS, pa.string())
    types[_MASK] = pa.binary()
    return pa.schema(list(types.items()))
