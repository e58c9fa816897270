# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Rates and means over the last seconds, for fast, slow, irregular and ended streams."""

import pytest

from instance_seg_ros.ros.statistics import StreamStatistics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> StreamStatistics:
    return StreamStatistics(clock)


def feed(statistics: StreamStatistics, clock: Clock, rate: float, seconds: float) -> None:
    for _ in range(round(seconds * rate)):
        clock.now += 1 / rate
        statistics.count('processed', rate)


@pytest.mark.parametrize('rate', [0.05, 0.2, 1.0, 7.5, 30.0])
def test_the_rate_is_right_whenever_one_looks(
    rate: float, clock: Clock, statistics: StreamStatistics
) -> None:
    feed(statistics, clock, rate, 3 / rate + 30)
    started = clock.now
    for fraction in (0.0, 0.3, 0.6, 0.99):
        clock.now = started + fraction / rate
        assert statistics.rate('processed') == pytest.approx(rate, rel=0.01)


def test_the_rate_follows_a_change_within_the_window(
    clock: Clock, statistics: StreamStatistics
) -> None:
    feed(statistics, clock, 30.0, 20)
    feed(statistics, clock, 2.0, 11)
    assert statistics.rate('processed') == pytest.approx(2.0, rel=0.01)


def test_the_rate_falls_when_the_stream_ends(clock: Clock, statistics: StreamStatistics) -> None:
    feed(statistics, clock, 10.0, 20)
    rates = []
    for _ in range(4):
        clock.now += 5
        rates.append(statistics.rate('processed'))
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 8 and rates[-1] < 0.2
    assert statistics.total('processed') == 200
    assert statistics.recent('processed') == 0


def test_an_error_belongs_to_its_event_and_to_one_run(statistics: StreamStatistics) -> None:
    for event, text in (('failed', 'a'), ('malformed', 'b'), ('incomplete', 'c')):
        statistics.count_error(event, text)
    assert statistics.last_error('malformed') == 'b'
    assert statistics.last_error('malformed', 'failed') == 'b'
    statistics.count_error('failed', 'd')
    assert statistics.last_error('malformed', 'failed') == 'd'
    statistics.restart()
    assert statistics.last_error('malformed', 'failed', 'incomplete') == ''


def test_one_frame_makes_no_rate(clock: Clock, statistics: StreamStatistics) -> None:
    assert statistics.rate('processed') == 0.0
    statistics.count('processed')
    assert statistics.rate('processed') == 0.0


def test_means_are_those_of_the_window(clock: Clock, statistics: StreamStatistics) -> None:
    assert statistics.mean('age') is None
    for value in range(40):
        clock.now += 1
        statistics.count('age', value)
    assert statistics.mean('age') == pytest.approx(34.0, abs=0.6)
    assert statistics.maximum('age') == 39


def test_silence_counts_from_the_last_frame_or_the_start(
    clock: Clock, statistics: StreamStatistics
) -> None:
    clock.now += 3
    assert statistics.silence() == 3
    statistics.count('received')
    clock.now += 2
    assert statistics.silence() == 2
    statistics.restart()
    assert (statistics.silence(), statistics.total('received')) == (0, 0)


def test_values_that_later_frames_do_not_have_are_forgotten(
    clock: Clock, statistics: StreamStatistics
) -> None:
    for with_age in (True, False):
        for _ in range(100):
            clock.now += 0.2
            statistics.count('processed')
            if with_age:
                statistics.count('age', 5.0)
    assert statistics.mean('age') is None and statistics.maximum('age') is None


def test_values_of_a_slow_stream_are_those_of_its_last_frames(
    clock: Clock, statistics: StreamStatistics
) -> None:
    for value in range(8):
        clock.now += 20.0
        statistics.count('processed')
        statistics.count('age', value)
    assert (statistics.mean('age'), statistics.maximum('age')) == (5.5, 7)
