# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One thread that works on the newest item of each source, the sources in turn."""
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class LatestWorker(Generic[Item]):
    """
    Runs a function in a thread of its own, on the newest item of each source.

    Each source has one slot: an item that arrives while the thread is busy waits there, and a newer
    one of the same source replaces it. So the work lags behind by at most one item a source,
    however slow the function is. Of several sources that wait, the one comes next whose last turn
    is longest ago.

    Args:
        process: called with each item, in the worker's thread. It must not raise.
        name: name of the thread, as debuggers show it.
    """

    def __init__(self, process: Callable[[Item], None], name: str = 'worker') -> None:
        self._process = process
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, Item] = {}
        self._last_turn: dict[Hashable, int] = {}
        self._turns = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, source: Hashable, item: Item) -> Item | None:
        """
        Hand over an item and return at once.

        Returns:
            The item that will not be processed: the one of this source that still waited, or, after
            stop(), this one; None where there is none.
        """
        with self._changed:
            if self._stopping:
                return item
            replaced = self._waiting.get(source)
            self._waiting[source] = item
            self._changed.notify()
            return replaced

    def discard(self, source: Hashable) -> Item | None:
        """Empty the slot of a source; return what waited there, None where nothing did."""
        with self._changed:
            return self._waiting.pop(source, None)

    def stop(self, timeout: float | None = None) -> bool:
        """
        Take no more items, finish the one in hand and end the thread.

        What waits in the slots is not processed.

        Args:
            timeout: seconds to wait for the item in hand; None waits as long as it takes.

        Returns:
            Whether the thread has ended.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            item = self._next()
            if item is None:
                return
            self._process(item)

    def _next(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            if self._stopping:
                return None
            # Of equals the first one: a slot keeps its place when its item is replaced.
            source = min(self._waiting, key=lambda key: self._last_turn.get(key, -1))
            self._turns += 1
            self._last_turn[source] = self._turns
            return self._waiting.pop(source)
