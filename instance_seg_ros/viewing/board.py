# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What all browsers see: one picture and what is said about it. A newer one replaces it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

# A browser asks for the next picture as soon as it has one.
_STILL_WATCHED = 3.0  # seconds since a browser last asked


@dataclass(frozen=True)
class Picture:
    """One state of the board.

    Attributes:
        number: counts the states from 1.
        jpeg: the file; empty before the first.
        facts: about it, ready for JSON.
    """

    number: int
    jpeg: bytes
    facts: dict[str, Any]


class Board:
    """Keeps the newest picture. Who puts it there never waits for a reader.

    Args:
        source: name of what is looked at.

    """

    def __init__(self, source: str) -> None:
        self._changed = threading.Condition()
        self._facts: dict[str, Any] = {'source': source}
        self._picture = Picture(1, b'', self._facts | {'notice': 'the model is being loaded'})
        self._waiting = 0
        self._asked: float | None = None
        self._closed = False

    def describe(self, facts: dict[str, Any]) -> None:
        """Add what is shown with every picture, such as the name of the model."""
        with self._changed:
            self._facts |= facts
            self._replace(b'', self._facts | {'notice': 'the first picture is on its way'})

    def show(self, jpeg: bytes, facts: dict[str, Any]) -> None:
        """Replace the picture; an earlier notice goes."""
        with self._changed:
            self._replace(jpeg, self._facts | facts)

    def say(self, notice: str, *, ended: bool = False) -> None:
        """Say something over the picture that is there.

        Args:
            notice: the text.
            ended: nothing more will come.

        """
        with self._changed:
            facts = self._picture.facts | {'notice': notice, 'ended': ended}
            if facts != self._picture.facts:
                self._replace(self._picture.jpeg, facts)

    def newer_than(self, number: int, timeout: float) -> Picture | None:
        """Return the picture once it is another than that of a number; None where it stays."""
        with self._changed:
            self._asked = time.monotonic()
            self._waiting += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(
                    lambda: self._closed or self._picture.number != number, timeout
                )
            finally:
                self._waiting -= 1
                self._asked = time.monotonic()
            if self._closed or self._picture.number == number:
                return None
            return self._picture

    def wait_until_watched(self) -> float:
        """Return once a browser looks, or the board is closed; the seconds that it took."""
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_watched())
        return time.monotonic() - began

    @property
    def closed(self) -> bool:
        """Whether no more pictures are wanted."""
        return self._closed

    def close(self) -> None:
        """Let all that wait go on: the end has come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_watched(self) -> bool:
        if self._waiting:
            return True
        return self._asked is not None and time.monotonic() - self._asked < _STILL_WATCHED

    def _replace(self, jpeg: bytes, facts: dict[str, Any]) -> None:
        self._picture = Picture(self._picture.number + 1, jpeg, facts)
        self._changed.notify_all()
