# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A run cut into shards: a function of the sorted list of inputs, never of timing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.inputs import Item
from instance_seg_ros.batch.storage import Storage, place_of

PARQUET, COCO = 'parquet', 'coco'
FORMATS = (PARQUET, COCO)
_PLAN = 'plan.json'
FAILED = 'failed'  # folder of the lists of images that could not be used
_IMAGES, _INSTANCES, ATTEMPTS = 'images', 'instances', 'attempts'
# Folder to the ending of a run's files in it, each named by the number of its shard. Those of the
# images come first: without them a shard does not count as written.
_ENDINGS = {
    _IMAGES: 'jsonl',
    FAILED: 'jsonl',
    _INSTANCES: 'parquet',
    COCO: 'jsonl',
    ATTEMPTS: 'json',
}
_NUMBER = '[0-9]{6}|[1-9][0-9]{6,17}'
_KEY_OF_LIST = 'list of images'


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
    names = {PARQUET: _name(_INSTANCES, number), COCO: _name(COCO, number)}
    chosen = {name: names[name] for name in formats}
    return chosen | {_IMAGES: _name(_IMAGES, number)}


def attempts_name(number: int) -> str:
    """Return the name of the file in which attempts at a shard are noted."""
    return _name(ATTEMPTS, number)


def failed_name(number: int) -> str:
    """Return the name of the file of the images that a shard could not use; others have none."""
    return _name(FAILED, number)


def numbers_in(storage: Storage, folder: str) -> set[int]:
    """Return the numbers of the shards that have a file in a folder, where others may lie, too."""
    own = re.compile(rf'({_NUMBER})\.{_ENDINGS[folder]}')
    matches = map(own.fullmatch, storage.names(folder))
    return {int(match[1]) for match in matches if match}


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
            _KEY_OF_LIST: digest.hexdigest(),
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
            overwrite: whether what is there already may be removed: files that are named as
                results are.

        Raises:
            BatchError: there are results of another plan, and the message says what differs; or
                other files of these names; or one of these is read by this run.

        """
        found = storage.read(_PLAN)
        before = None if found is None else _plan_of(found)
        if before == self._identity:
            return
        there = _results(storage) + [_PLAN] * (found is not None)
        if there:
            if not overwrite:
                raise BatchError(self._refusal(storage.place, before, there[-1]))
            self._check_inputs(storage, there)
            storage.remove(_PLAN)
            for name in there:
                storage.remove(name)
        storage.write(_PLAN, json.dumps(self._identity, indent=1, sort_keys=True).encode() + b'\n')

    def done(self, storage: Storage) -> set[int]:
        """Return the numbers of the shards that are written."""
        return self._own_numbers(storage, _IMAGES)

    def failed(self, storage: Storage) -> set[int]:
        """Return the numbers of the shards with images that could not be used."""
        return self._own_numbers(storage, FAILED)

    def _own_numbers(self, storage: Storage, folder: str) -> set[int]:
        return {number for number in numbers_in(storage, folder) if number < self.shards}

    def _refusal(self, place: str, before: dict[str, Any] | None, there: str) -> str:
        """Return why this run may not begin at a place that has some file.

        Args:
            place: of the results.
            before: the plan that is there, None where there is none.
            there: name of the file.

        """
        if before is not None:
            return (
                f'{place}: has the results of another run, of other '
                f'{_differences(before, self._identity)}. Give another --output, or --overwrite to '
                'remove them'
            )
        what = 'is no plan of a run' if there == _PLAN else 'exists, and no plan.json tells of it'
        return (
            f'{place}/{there}: {what}. Give another --output, or --overwrite to replace all that '
            'is named as results are'
        )

    def _check_inputs(self, storage: Storage, doomed: Iterable[str]) -> None:
        """See that none of the files that are to be removed is read by this run."""
        endings = tuple(f'.{ending}' for ending in _ENDINGS.values())
        read = {place_of(each.name) for each in self.items if each.name.endswith(endings)}
        for name in doomed:
            if place_of(storage.address(name)) in read:
                raise BatchError(
                    f'{storage.place}/{name}: is read by this command, and would be removed; give '
                    'another --output'
                )


def _name(folder: str, number: int) -> str:
    return f'{folder}/{number:06}.{_ENDINGS[folder]}'


def _results(storage: Storage) -> list[str]:
    """Return the names of all files that are named as results are."""
    return [
        _name(folder, number)
        for folder in _ENDINGS
        for number in sorted(numbers_in(storage, folder))
    ]


def _plan_of(content: bytes) -> dict[str, Any] | None:
    """Return what a plan says, None for what is none."""
    try:
        plan = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return plan if isinstance(plan, dict) and _KEY_OF_LIST in plan else None


def _differences(before: dict[str, Any], wanted: dict[str, Any]) -> str:
    differs = [key for key in sorted(before.keys() | wanted) if before.get(key) != wanted.get(key)]
    return ', '.join(differs)
