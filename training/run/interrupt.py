# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Ctrl-C, or SIGTERM, between two steps: a checkpoint of half a step would not resume exactly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupt:
    """Whether the user wants to end."""

    def __init__(self) -> None:
        self._wanted = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was a signal; to be called between two steps."""
        if self._wanted:
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._wanted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one acts at once
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def noted_interrupt() -> Iterator[Interrupt]:
    """Note the first signal instead of ending at once; for the main thread.

    Raises:
        KeyboardInterrupt: the block fails after a signal that was sent to all processes, as
            PyTorch raises a RuntimeError when it has ended a worker.
    """
    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt._note) for number in _SIGNALS}
    try:
        yield interrupt
    except RuntimeError:
        interrupt.check()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_interrupts_to_the_parent() -> None:
    """Ignore Ctrl-C in a worker: the terminal sends it to all, and the parent ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
