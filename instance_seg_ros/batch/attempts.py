# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Finds the image that ends its worker, by notes that outlive it.

OpenCV can crash on a hostile file, and a huge one can exhaust the memory: then the worker is gone,
whatever ran it. So each attempt at a shard is noted. From the second on, so is the image in hand,
and an image that was in hand at the end of two workers is left out.
"""

from __future__ import annotations

import json
from typing import Any

from instance_seg_ros.batch.shards import ATTEMPTS, attempts_name, numbers_in
from instance_seg_ros.batch.storage import Storage

_MOST_ENDS_OF_AN_IMAGE = 2
# An image that ends its worker costs three attempts at most.
_MOST_ATTEMPTS = 10


class TooManyAttempts(Exception):  # noqa: N818  # what happened, not what is wrong
    """A shard is given up for now: it has ended too many workers."""


class Attempt:
    """One attempt at a shard.

    Args:
        storage: of the results.
        number: of the shard.

    Raises:
        TooManyAttempts: the next run begins to count again.

    Attributes:
        careful: whether images are to be noted, and read one at a time.

    """

    def __init__(self, storage: Storage, number: int) -> None:
        self._storage, self._name = storage, attempts_name(number)
        notes = json.loads(storage.read(self._name) or b'{}')
        self._ends: dict[str, int] = notes.get('ends', {})
        in_hand = notes.get('in hand')
        if in_hand is not None:
            self._ends[str(in_hand)] = self._ends.get(str(in_hand), 0) + 1
        self._attempts: int = notes.get('attempts', 0) + 1
        self.careful = self._attempts > 1
        if self._attempts > _MOST_ATTEMPTS:
            self._attempts = 1
            self._write(None)
            raise TooManyAttempts
        self._write(None)

    def is_left_out(self, index: int) -> bool:
        """Whether an image, by its index in the shard, has ended too many workers."""
        return self._ends.get(str(index), 0) >= _MOST_ENDS_OF_AN_IMAGE

    def take_in_hand(self, index: int) -> None:
        """Note the image that comes next."""
        if self.careful:
            self._write(index)

    def finish(self) -> None:
        """Remove the notes: the shard is written."""
        self._storage.remove(self._name)

    def _write(self, in_hand: int | None) -> None:
        notes: dict[str, Any] = {'attempts': self._attempts, 'ends': self._ends}
        self._storage.write(self._name, json.dumps(notes | {'in hand': in_hand}).encode())


def forgive(storage: Storage) -> None:
    """Blame no image for workers that ended with the run; called when all of them have."""
    for number in numbers_in(storage, ATTEMPTS):
        name = attempts_name(number)
        notes = json.loads(storage.read(name) or b'{}')
        if notes.get('ends'):
            storage.write(name, json.dumps(notes | {'in hand': None}).encode())
        else:
            storage.remove(name)
