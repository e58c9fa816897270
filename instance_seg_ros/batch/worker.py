# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a worker does, whatever started it: segments a shard and writes its files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.batch.attempts import Attempt, TooManyAttempts
from instance_seg_ros.batch.inputs import Item, ItemReader
from instance_seg_ros.batch.rows import ImageResult, encode, encode_failed
from instance_seg_ros.batch.shards import Shard, failed_name, result_names
from instance_seg_ros.batch.storage import Storage
from instance_seg_ros.errors import ImageError
from instance_seg_ros.memory import reuse_freed_memory
from instance_seg_ros.segmenter import Segmenter

_RETRY_AFTER = 1.0  # seconds, doubled each time
_KEEPS_PADDING = 4, 13  # from this OpenCV on, results do not depend on the images before


@dataclass(frozen=True)
class Job:
    """What all workers of a run have in common.

    Attributes:
        settings: of the Segmenter.
        place: of the results.
        formats: of them.
        retries: how often an image is read again that cannot be read.
    """

    settings: dict[str, Any]
    place: str
    formats: tuple[str, ...]
    retries: int


@dataclass(frozen=True)
class Report:
    """What came of a shard.

    Attributes:
        number: of the shard.
        images, failed: how many there were, and how many of them could not be used.
        first_error: of those that failed, '' for none.
        seconds: that it took, without loading the model.
    """

    number: int
    images: int
    failed: int
    first_error: str
    seconds: float


def given_up(shard: Shard) -> Report:
    """Return the report of a shard that ended too many workers."""
    count = len(shard.items)
    problem = (
        f'shard {shard.number} ({shard.items[0].name} and after) ended its worker again and again: '
        'is there enough memory for this number of workers? The same command tries it again'
    )
    return Report(shard.number, count, count, problem, 0.0)


class ShardWorker:
    """Segments shards with one model, which is loaded at the first.

    Args:
        job: of the run.

    """

    def __init__(self, job: Job) -> None:
        reuse_freed_memory()
        self._job = job
        self._storage = Storage(job.place)
        self._reader = ItemReader()
        self._segmenter: Segmenter | None = None

    def run(self, shard: Shard) -> Report:
        """Segment the images of a shard, and write its files once all are done.

        Raises:
            ModelError, ValueError: the model cannot be loaded, or a setting is wrong.
            BatchError: the results cannot be written.

        """
        try:
            attempt = Attempt(self._storage, shard.number)
        except TooManyAttempts:
            return given_up(shard)
        segmenter = self._load()
        started = time.monotonic()
        results = [
            self._segment(segmenter, result, pixels)
            for result, pixels in self._read_all(shard, attempt)
        ]
        files = encode(results, self._job.formats)
        errors = [result.error for result in results if result.error]
        if errors:
            self._storage.write(failed_name(shard.number), encode_failed(results))
        elif attempt.careful:  # one that was ended may have written it
            self._storage.remove(failed_name(shard.number))
        # The file of the images is the last: with it the shard counts as written.
        for kind, name in result_names(shard.number, self._job.formats).items():
            self._storage.write(name, files[kind])
        attempt.finish()
        return Report(
            shard.number,
            len(results),
            len(errors),
            errors[0] if errors else '',
            time.monotonic() - started,
        )

    def _load(self) -> Segmenter:
        if self._segmenter is None or not _independent_of_order(self._segmenter):
            self._segmenter = Segmenter(**self._job.settings)
        return self._segmenter

    def _read_all(
        self, shard: Shard, attempt: Attempt
    ) -> Iterator[tuple[ImageResult, NDArray[np.uint8] | None]]:
        """Yield the images, read one ahead; None in place of those that cannot be read."""
        with ThreadPoolExecutor(1, 'read') as reader:
            ahead: Future[tuple[NDArray[np.uint8] | None, str]] | None = None
            for index, item in enumerate(shard.items):
                attempt.take_in_hand(index)
                result = ImageResult(shard.first_id + index, item.name)
                if attempt.is_left_out(index):
                    result.error = f'{item.name}: ended its worker each time it was tried'
                    yield result, None
                    continue
                pixels, result.error = (ahead or reader.submit(self._read, item)).result()
                ahead = None
                following = index + 1
                if following < len(shard.items) and not attempt.careful:
                    ahead = reader.submit(self._read, shard.items[following])
                yield result, pixels

    def _read(self, item: Item) -> tuple[NDArray[np.uint8] | None, str]:
        """Return the pixels, or why there are none."""
        for left in range(self._job.retries, -1, -1):
            try:
                return self._reader.read(item), ''
            except ImageError as error:
                problem = str(error)
            except OSError as error:  # the storage, over a network
                problem = f'{item.name}: {error}'
            if item.bag:  # no storage that may answer later
                break
            if left:
                time.sleep(_RETRY_AFTER * 2 ** (self._job.retries - left))
        return None, problem

    def _segment(
        self, segmenter: Segmenter, result: ImageResult, pixels: NDArray[np.uint8] | None
    ) -> ImageResult:
        if pixels is not None:
            try:
                result.add(segmenter(pixels))
            except ImageError as error:  # too small
                result.error = f'{result.name}: {error}'
        return result


def _independent_of_order(segmenter: Segmenter) -> bool:
    """Whether the result of an image is the same whatever images came before.

    Older nets of cv2.dnn keep a padding for small images: see detection/mask_rcnn.
    """
    version = tuple(map(int, cv2.__version__.split('.')[:2]))
    return not segmenter.engine.startswith('opencv') or version >= _KEEPS_PADDING
