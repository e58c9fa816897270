# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found in the images of a shard, as Parquet and as lines of JSON: bytes without times."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from instance_seg_ros.batch.shards import COCO, PARQUET
from instance_seg_ros.instances import Instances

_COLUMNS = (
    'image', 'image_id', 'width', 'height', 'instance', 'class_id', 'class_name',
    'score', 'x1', 'y1', 'x2', 'y2', 'area', 'mask_rle',
)  # fmt: skip
_INTEGERS = ('image_id', 'width', 'height', 'instance', 'class_id', 'area')


@dataclass
class ImageResult:
    """An image and what was found in it.

    Attributes:
        image_id: its place in the sorted list of all images, from 1.
        name: its file.
        size: width and height in pixels; None where it could not be read.
        error: why it could not be used, '' where it could.
        rows: one for each instance, ready for JSON.
    """

    image_id: int
    name: str
    size: tuple[int, int] | None = None
    error: str = ''
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, instances: Instances) -> None:
        """Take what was found; nothing of the arrays is kept."""
        height, width = instances.image_size
        self.size = width, height
        areas = [] if instances.masks is None else [int(mask.sum()) for mask in instances.masks]
        for i, row in enumerate(instances.to_coco(self.image_id)):
            row['instance'], row['area'] = i + 1, areas[i]
            row['category_name'] = instances.class_names[i]
            row['file_name'] = self.name
            self.rows.append(row)


def encode(results: Sequence[ImageResult], formats: Sequence[str]) -> dict[str, bytes]:
    """Return the content of a shard's files, by their kinds; see result_names.

    Args:
        results: of all images of the shard.
        formats: PARQUET, COCO.

    """
    files = {'images': b''.join(map(_image_line, results))}
    if COCO in formats:
        files[COCO] = b''.join(_coco_line(row) for result in results for row in result.rows)
    if PARQUET in formats:
        files[PARQUET] = _parquet(results)
    return files


def encode_failed(results: Sequence[ImageResult]) -> bytes:
    """Return the lines of the images that could not be used, as the file of all images has them."""
    return b''.join(_image_line(result) for result in results if result.error)


def _image_line(result: ImageResult) -> bytes:
    width, height = result.size or (None, None)
    return _line(
        {
            'id': result.image_id,
            'file_name': result.name,
            'width': width,
            'height': height,
            'instances': len(result.rows),
            'error': result.error or None,
        }
    )


def _coco_line(row: dict[str, Any]) -> bytes:
    # COCO numbers its categories from 1, models from 0.
    return _line(row | {'category_id': row['category_id'] + 1})


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b'\n'


def _parquet(results: Sequence[ImageResult]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_columns(result, row) for result in results for row in result.rows]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, _schema(pa)), sink, compression='zstd')
    return sink.getvalue()


def _columns(result: ImageResult, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that instance-seg image --parquet has, too."""
    height, width = row['segmentation']['size']
    x, y, w, h = row['bbox']
    return {
        # A name can have bytes that are no UTF-8.
        'image': result.name.encode('utf-8', 'backslashreplace').decode(),
        'image_id': result.image_id,
        'width': width,
        'height': height,
        'instance': row['instance'],
        'class_id': row['category_id'],
        'class_name': row['category_name'],
        'score': row['score'],
        'x1': x,
        'y1': y,
        'x2': x + w,
        'y2': y + h,
        'area': row['area'],
        'mask_rle': row['segmentation']['counts'].encode('ascii'),
    }


def _schema(pa: Any) -> Any:
    kinds = {
        'image': pa.string(),
        'class_name': pa.string(),
        'mask_rle': pa.binary(),
        **dict.fromkeys(_INTEGERS, pa.int64()),
    }
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in _COLUMNS])
