# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which problems are worth a line in the log: each cause once, whatever arrives; no ROS in here."""

import re
import threading
import time
from collections.abc import Callable, Hashable

REMINDER_PERIOD = 60.0  # seconds until a cause that still occurs is logged again
# A sender could vary its images so that each fails for another reason. What is beyond this
# number of reasons of one source in a period counts as one.
MOST_CAUSES = 20
_NUMBER = re.compile(r'[\d.]+')
_ALL_OTHERS = ''


class Causes:
    """Says whether a problem is news. Safe to use from several threads.

    Args:
        clock: returns seconds of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: dict[tuple[Hashable, str], float] = {}  # when, by source and cause

    def is_news(self, source: Hashable, problem: str) -> bool:
        """Return whether a problem is to be logged: its cause was not, for some time.

        Args:
            source: whose problem it is; each has causes of its own.
            problem: its text. Numbers in it do not count: they differ from frame to frame.
        """
        cause = source, _NUMBER.sub('', problem)
        now = self._clock()
        with self._lock:
            self._logged = {
                each: logged
                for each, logged in self._logged.items()
                if now - logged < REMINDER_PERIOD
            }
            of_source = sum(each == source for each, _ in self._logged)
            if of_source >= MOST_CAUSES and cause not in self._logged:
                cause = source, _ALL_OTHERS
            if cause in self._logged:
                return False
            self._logged[cause] = now
            return True

    def forget(self) -> None:
        """Take every cause for news again."""
        with self._lock:
            self._logged.clear()
