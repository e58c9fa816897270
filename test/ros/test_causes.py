# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A cause is logged once, and again after a minute; a sender of ever new causes is limited."""

import pytest

from instance_seg_ros.ros.causes import MOST_CAUSES, REMINDER_PERIOD, Causes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_cause_is_news_once_a_period(clock: Clock) -> None:
    causes = Causes(clock)
    assert causes.is_news('left', 'cut off after 100 bytes')
    assert not causes.is_news('left', 'cut off after 20.5 bytes')
    assert causes.is_news('right', 'cut off after 100 bytes')
    assert causes.is_news('left', 'empty')
    clock.now = REMINDER_PERIOD / 2
    assert not causes.is_news('left', 'empty')
    clock.now = REMINDER_PERIOD
    assert causes.is_news('left', 'empty')
    causes.forget()
    assert causes.is_news('left', 'empty')


def test_ever_new_causes_count_as_one(clock: Clock) -> None:
    causes = Causes(clock)
    letters = [chr(ord('a') + number) for number in range(5 * MOST_CAUSES)]
    assert sum(causes.is_news('left', letter) for letter in letters) == MOST_CAUSES + 1
    assert causes.is_news('right', letters[-1])  # whose causes are its own
    clock.now = REMINDER_PERIOD
    assert causes.is_news('left', letters[-1])
