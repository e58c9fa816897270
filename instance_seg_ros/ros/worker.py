# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Threads that work on the newest item of each source, the sources in turn."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

LOG = logging.getLogger(__name__)

Item = TypeVar('Item')
Half = TypeVar('Half')


class LatestWorker(Generic[Item, Half]):
    """Runs two stages in threads of its own, on the newest item of each source.

    Each source has one slot: an item that arrives while the first stage is busy waits there, and a
    newer one of the same source replaces it. So the work lags behind by at most one item a source,
    however slow the stages are. Of several sources that wait, the one comes next whose last turn
    is longest ago.

    While an item is in the second stage, the next ones are in the first. Both stages take items in
    the same order. An item that is through the first stage waits until the second is free, and no
    other is taken meanwhile: nothing piles up.

    Args:
        first: called with each item; what it returns goes to the second stage, unless it is None.
            It should not raise: that item would be lost, with a line in the log.
        second: called with what the first stage returned, one at a time; it should not raise.
        name: name of the threads, as debuggers show it.
        parallel: number of items that can be in the first stage at a time.
    """

    def __init__(
        self,
        first: Callable[[Item], Half | None],
        second: Callable[[Half], None],
        name: str = 'worker',
        parallel: int = 1,
    ) -> None:
        self._first, self._second = first, second
        self._first_stage = threading.Semaphore(parallel)
        self._finishing = 1  # the turn whose second stage it is
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, Item] = {}
        self._last_turn: dict[Hashable, int] = {}
        self._turns = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f'{name} {i}', daemon=True)
            for i in range(parallel + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, source: Hashable, item: Item) -> Item | None:
        """Hand over an item and return at once.

        Returns:
            The item that will not be processed: the one of this source that still waited, or, after
            stop(), this one; None where there is none.
        """
        with self._changed:
            if self._stopping:
                return item
            replaced = self._waiting.get(source)
            self._waiting[source] = item
            self._changed.notify_all()
            return replaced

    def discard(self, source: Hashable) -> Item | None:
        """Empty the slot of a source; return what waited there, None where nothing did."""
        with self._changed:
            return self._waiting.pop(source, None)

    def stop_accepting(self) -> None:
        """Take no more items, and process none of those that wait."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self, timeout: float | None = None) -> bool:
        """Take no more items, finish those in hand and end the threads.

        What waits in the slots is not processed.

        Args:
            timeout: seconds to wait for the items in hand; None waits as long as it takes.

        Returns:
            Whether the threads have ended.
        """
        self.stop_accepting()
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while self._work_on_one():
            pass  # no variable holds the last item until the next one comes

    def _work_on_one(self) -> bool:
        """Take an item through both stages; return False when there is nothing more to do."""
        with self._first_stage:  # before an item is taken: it would grow old here
            taken = self._next()
            if taken is None:
                return False
            turn, item = taken
            half = _guarded(self._first, item)
        self._wait_for_turn(turn)
        if half is not None:
            _guarded(self._second, half)
        self._end_turn()
        return True

    def _wait_for_turn(self, turn: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._finishing == turn)

    def _end_turn(self) -> None:
        with self._changed:
            self._finishing += 1
            self._changed.notify_all()

    def _next(self) -> tuple[int, Item] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            if self._stopping:
                return None
            # min takes the first of equals; a slot keeps its place when its item is replaced.
            source = min(self._waiting, key=lambda key: self._last_turn.get(key, -1))
            self._turns += 1
            self._last_turn[source] = self._turns
            return self._turns, self._waiting.pop(source)


def _guarded(stage: Callable[[Any], Any], item: Any) -> Any:
    """Return what a stage returns, None where it raises: without memory, even reporting fails.

    The thread lives on: without it, all later items would wait forever.
    """
    try:
        return stage(item)
    except Exception:
        LOG.exception('an item is lost')
        return None
