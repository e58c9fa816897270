# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Figures over the last seconds, right for fast and for slow streams; no ROS in here."""

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW = 10.0  # seconds
# The number of samples that are kept however old they are. At 0.2 Hz the window alone would hold
# two, and the rate would jump between 0.1 and 0.3 Hz.
LEAST_SAMPLES = 4


class Samples:
    """Values with the time at which each was taken, for the last WINDOW seconds.

    Not safe for threads: StreamStatistics holds the lock.
    """

    def __init__(self) -> None:
        self.total = 0
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float = 0.0) -> None:
        """Add a value that was taken now, in seconds of a steady clock."""
        self.total += 1
        self._samples.append((now, value))
        self._trim(now)

    def rate(self, now: float) -> float:
        """Return how many there are per second; it falls as soon as the next one is overdue."""
        self._trim(now)
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0][0], self._samples[-1][0]
        intervals = len(self._samples) - 1
        overdue = max(0.0, now - last - (last - first) / intervals)
        span = last - first + overdue
        return intervals / span if span > 0 else 0.0

    def recent(self, now: float) -> int:
        """Return how many there were in the last WINDOW seconds."""
        return sum(taken >= now - WINDOW for taken, _ in self._samples)

    def values(self, since: float) -> list[float]:
        """Return the values that were taken from a time on."""
        return [value for taken, value in self._samples if taken >= since]

    def earliest(self, count: int, default: float) -> float:
        """Return the time of the first of the last ``count``; the default where there is none."""
        latest = list(self._samples)[-count:]
        return latest[0][0] if latest else default

    def last(self) -> float | None:
        """Return the time of the last one; None without values."""
        return self._samples[-1][0] if self._samples else None

    def _trim(self, now: float) -> None:
        while len(self._samples) > LEAST_SAMPLES and self._samples[0][0] < now - WINDOW:
            self._samples.popleft()


class StreamStatistics:
    """Counts of the frames of one camera, and times.

    Safe to use from several threads.

    Args:
        clock: returns seconds of a steady clock; not the ROS time, which stands still and jumps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._samples: dict[str, Samples] = {}
        self._errors: dict[str, str] = {}  # the last of each event, the newest at the end

    def count(self, event: str, value: float = 0.0) -> None:
        """Add one to an event, such as a received frame, with a value where it has one."""
        with self._lock:
            self._samples.setdefault(event, Samples()).add(self._clock(), value)

    def count_error(self, event: str, text: str) -> None:
        """Add one to an event and remember what went wrong."""
        self.count(event)
        with self._lock:
            self._errors.pop(event, None)
            self._errors[event] = text

    def last_error(self, *events: str) -> str:
        """Return what went wrong last in one of some events; empty where nothing did."""
        with self._lock:
            return next((self._errors[e] for e in reversed(self._errors) if e in events), '')

    def restart(self) -> None:
        """Start again from zero: streaming has just started."""
        with self._lock:
            self._started = self._clock()
            self._samples.clear()
            self._errors.clear()

    def silence(self) -> float:
        """Return the seconds since the last frame was received, or since the start."""
        with self._lock:
            last = self._get('received').last()
            return self._clock() - (self._started if last is None else last)

    def rate(self, event: str) -> float:
        """Return how often the event occurs, per second."""
        with self._lock:
            return self._get(event).rate(self._clock())

    def total(self, event: str) -> int:
        """Return how often the event has occurred since the start."""
        with self._lock:
            return self._get(event).total

    def recent(self, event: str) -> int:
        """Return how often the event occurred in the last WINDOW seconds."""
        with self._lock:
            return self._get(event).recent(self._clock())

    def mean(self, event: str) -> float | None:
        """Return the mean value of the event; None where no frame of late had one."""
        values = self._values(event)
        return sum(values) / len(values) if values else None

    def maximum(self, event: str) -> float | None:
        """Return the largest value of the event; None where no frame of late had one."""
        return max(self._values(event), default=None)

    def _values(self, event: str) -> list[float]:
        """Return those of the last WINDOW seconds, or of the last frames where they are rarer.

        Not of the last ones whenever they were: frames after them may have had none.
        """
        with self._lock:
            start = self._clock() - WINDOW
            frames = self._get('processed').earliest(LEAST_SAMPLES, start)
            return self._get(event).values(min(start, frames))

    def _get(self, event: str) -> Samples:
        return self._samples.get(event) or Samples()
