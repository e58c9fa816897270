# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One thread that always works on the newest item."""
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class LatestWorker(Generic[Item]):
    """
    Runs a function in a thread of its own, on the newest item only.

    An item that arrives while the function runs waits in a slot; a newer one replaces it there.
    So the work lags behind by at most one item, however slow the function is.

    Args:
        process: called with each item, in the worker's thread. It must not raise.
        name: name of the thread, as debuggers show it.
    """

    def __init__(self, process: Callable[[Item], None], name: str = 'worker') -> None:
        self._process = process
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._stopping = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of items that were replaced before their turn came."""
        return self._dropped

    def submit(self, item: Item) -> None:
        """Hand over an item and return at once; an item still waiting is dropped."""
        with self._changed:
            if self._item is not None:
                self._dropped += 1
            self._item = item
            self._changed.notify()

    def stop(self) -> None:
        """Finish the item in hand, drop the waiting one, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            item = self._next()
            if item is None:
                return
            self._process(item)

    def _next(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._item is not None)
            item, self._item = self._item, None
            return None if self._stopping else item
