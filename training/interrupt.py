# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Ctrl-C between two steps: a checkpoint of half a step would not resume exactly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether the user wants to end."""

    def __init__(self) -> None:
        self._wanted = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was a Ctrl-C; to be called between two steps."""
        if self._wanted:
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._wanted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one acts at once


@contextmanager
def noted_interrupt() -> Iterator[Interrupt]:
    """Note Ctrl-C instead of raising KeyboardInterrupt; for the main thread."""
    interrupt = Interrupt()
    before = signal.signal(signal.SIGINT, interrupt._note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
