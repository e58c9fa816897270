# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A run cut into shards: a function of the sorted list of inputs alone, never of timing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.inputs import Item
from instance_seg_ros.batch.storage import Storage

PARQUET, COCO = 'parquet', 'coco'
FORMATS = (PARQUET, COCO)
_PLAN = 'plan.json'
FAILED = 'failed'  # folder of the lists of images that could not be used
_IMAGES, ATTEMPTS = 'images', 'attempts'


@dataclass(frozen=True)
class Shard:
    """Images that are segmented by one worker and written at once.

    Attributes:
        number: from 0.
        first_id: image id of the first item; ids count from 1.
        items: the images.
    """

    number: int
    first_id: int
    items: tuple[Item, ...]


def result_names(number: int, formats: Sequence[str]) -> dict[str, str]:
    """Return the names of a shard's files; that of its images is written last."""
    names = {PARQUET: f'instances/{number:06}.parquet', COCO: f'coco/{number:06}.jsonl'}
    chosen = {name: names[name] for name in formats}
    return chosen | {_IMAGES: f'{_IMAGES}/{number:06}.jsonl'}


def attempts_name(number: int) -> str:
    """Return the name of the file in which attempts at a shard are noted."""
    return f'{ATTEMPTS}/{number:06}.json'


def failed_name(number: int) -> str:
    """Return the name of the file of the images that a shard could not use; others have none."""
    return f'{FAILED}/{number:06}.jsonl'


class Plan:
    """What a run consists of.

    Args:
        items: sorted.
        shard_size: images of a shard.
        choices: everything else that decides about the results, ready for JSON.

    """

    def __init__(self, items: Sequence[Item], shard_size: int, choices: dict[str, Any]) -> None:
        self.items, self.shard_size = items, shard_size
        self.shards = -(-len(items) // shard_size)
        digest = hashlib.sha256()
        for item in items:
            digest.update(f'{item.name}\n'.encode('utf-8', 'surrogateescape'))
        self._identity = choices | {
            'images': len(items),
            'list of images': digest.hexdigest(),
            'shard size': shard_size,
        }

    def shard(self, number: int) -> Shard:
        """Return a shard by its number."""
        first = number * self.shard_size
        return Shard(number, first + 1, tuple(self.items[first : first + self.shard_size]))

    def begin(self, storage: Storage, *, overwrite: bool) -> None:
        """Write the plan where none is; an earlier run of the same plan is gone on with.

        Args:
            storage: of the results.
            overwrite: whether the results of another plan may be removed.

        Raises:
            BatchError: there are results of another plan; the message says what differs.

        """
        found = storage.read(_PLAN)
        if found is not None:
            differs = _differences(found, self._identity)
            if not differs:
                return
            if not overwrite:
                raise BatchError(
                    f'{storage.place}: has the results of another run, of other {differs}. Give '
                    'another --output, or --overwrite to remove them'
                )
            _remove_results(storage)
        storage.write(_PLAN, json.dumps(self._identity, indent=1, sort_keys=True).encode() + b'\n')

    def done(self, storage: Storage) -> set[int]:
        """Return the numbers of the shards that are written."""
        return _numbers(storage, _IMAGES)

    def failed(self, storage: Storage) -> set[int]:
        """Return the numbers of the shards with images that could not be used."""
        return _numbers(storage, FAILED)


def _numbers(storage: Storage, folder: str) -> set[int]:
    names = storage.names(folder)
    return {int(name.partition('.')[0]) for name in names if name[:6].isdecimal()}


def _differences(found: bytes, wanted: dict[str, Any]) -> str:
    try:
        before = json.loads(found)
    except ValueError:
        before = {}
    differs = [key for key in sorted(before.keys() | wanted) if before.get(key) != wanted.get(key)]
    return ', '.join(differs)


def _remove_results(storage: Storage) -> None:
    storage.remove(_PLAN)
    # Those of the images first: without them a shard does not count as written.
    for folder in (_IMAGES, FAILED, 'instances', COCO, ATTEMPTS):
        for name in storage.names(folder):
            storage.remove(f'{folder}/{name}')
