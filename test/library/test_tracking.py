# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities: what lasts from frame to frame, and what ends."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.instances import Instances
from instance_seg_ros.tracking import InstanceTracker

SIZE = (480, 640)


def frame(*boxes: tuple[float, float, float, float], class_ids: list[int] | None = None):
    """Return instances with these boxes x1, y1, x2, y2."""
    count = len(boxes)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Instances(
        array,
        np.full(count, 0.9, np.float32),
        np.array(class_ids or [0] * count, np.int32),
        ['thing'] * count,
        np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], 1).astype(np.int32),
        None,
        np.zeros(count, bool),
        SIZE,
    )


def walker(time: float, speed: float = 60.0, start: float = 20.0, y: float = 100.0):
    """Return the box of somebody who walks to the right, pixels a second."""
    x = start + speed * time
    return x, y, x + 60, y + 150


def ids(tracker: InstanceTracker, time: float, *boxes) -> list[int]:
    return tracker.update(frame(*boxes), time).tolist()


@pytest.mark.parametrize('rate', [2.0, 10.0, 30.0])
def test_people_keep_their_ids_at_any_rate(rate: float) -> None:
    tracker = InstanceTracker()
    for index in range(int(4 * rate)):
        time = index / rate
        left, right = walker(time), walker(time, -60, 500, 250)
        # The order is that of the scores, which change.
        if index % 2:
            assert ids(tracker, time, right, left) == [2, 1]
        else:
            assert ids(tracker, time, left, right) == [1, 2]


def test_an_id_survives_an_occlusion_while_the_object_goes_on() -> None:
    tracker = InstanceTracker()
    for index in range(20):
        assert ids(tracker, index / 10, walker(index / 10)) == [1]
    for index in range(20, 32):  # more than a second; it goes on by more than its width
        assert ids(tracker, index / 10) == []
    assert ids(tracker, 3.2, walker(3.2)) == [1]


def test_an_id_survives_frames_that_were_never_processed() -> None:
    tracker = InstanceTracker()
    times = [*np.arange(0, 2, 0.1), *np.arange(3.3, 4, 0.1)]  # a gap of 1.3 s
    assert {each for time in times for each in ids(tracker, time, walker(time))} == {1}


def test_crossing_people_keep_their_ids() -> None:
    tracker = InstanceTracker()
    for index in range(60):
        time = index / 10
        a, b = walker(time, 80, 20, 100), walker(time, -80, 480, 110)
        assert ids(tracker, time, a, b) == [1, 2], time


def test_what_is_away_for_longer_than_max_age_is_another_one() -> None:
    tracker = InstanceTracker(max_age=1.0)
    for index in range(10):
        ids(tracker, index / 10, walker(0))
    assert ids(tracker, 1.8, walker(0)) == [1]
    assert ids(tracker, 2.9, walker(0)) == [2]


def test_classes_are_never_mixed_up() -> None:
    tracker = InstanceTracker()
    box = walker(0)
    assert tracker.update(frame(box, class_ids=[0]), 0.0).tolist() == [1]
    assert tracker.update(frame(box, class_ids=[3]), 0.1).tolist() == [2]
    assert tracker.update(frame(box, box, class_ids=[3, 0]), 0.2).tolist() == [2, 1]


def test_a_time_that_jumps_back_ends_all_objects() -> None:
    tracker = InstanceTracker()
    for index in range(10):
        ids(tracker, 100 + index / 10, walker(index / 10))
    assert ids(tracker, 3.0, walker(0)) == [2]
    assert ids(tracker, 3.1, walker(0.1)) == [2]


@pytest.mark.parametrize('step', [0.05, 1.0])
def test_a_clock_that_goes_back_a_little_ends_nothing(step: float) -> None:
    tracker = InstanceTracker()
    time = 100.0
    for index in range(40):
        time += 0.1 if index != 10 else -step
        assert ids(tracker, time, walker(index / 10)) == [1]


def test_times_in_another_order_than_the_images_end_nothing() -> None:
    tracker = InstanceTracker()
    for index, time in enumerate([0.1, 0.2, 0.15, 0.3, 0.25, 0.4, 0.35, 0.5]):
        assert ids(tracker, time, walker(index / 10)) == [1]


def test_the_same_image_twice_changes_nothing() -> None:
    tracker = InstanceTracker()
    for index in range(10):
        for _ in range(3):
            assert ids(tracker, index / 10, walker(index / 10)) == [1]


def test_with_constant_times_who_is_away_for_long_is_another_one() -> None:
    tracker = InstanceTracker()
    for _ in range(10):
        assert ids(tracker, 0.0, walker(0)) == [1]
    for _ in range(30):  # hidden for a second of a camera with 30 Hz
        ids(tracker, 0.0)
    assert ids(tracker, 0.0, walker(0)) == [1]
    for _ in range(70):
        ids(tracker, 0.0)
    assert ids(tracker, 0.0, walker(0)) == [2]


def test_what_was_seen_with_a_constant_time_goes_on_when_the_time_does() -> None:
    tracker = InstanceTracker()
    for _ in range(600):  # a simulation that is paused
        assert ids(tracker, 5.0, walker(0), walker(5)) == [1, 2]
    for index in range(1, 31):
        assert ids(tracker, 5 + index / 10, walker(0)) == [1]
    assert ids(tracker, 8.1, walker(0), walker(5)) == [1, 3]  # the other was away for 3 s


def test_each_image_twice_does_not_make_an_occlusion_longer() -> None:
    tracker = InstanceTracker()
    for index in range(32):
        for _ in range(2):
            ids(tracker, index / 10, *[walker(0)] * (index < 20))
    assert ids(tracker, 3.2, walker(0)) == [1]


@pytest.mark.parametrize('time', [float('nan'), float('inf'), float('-inf')])
def test_a_time_that_is_none_is_refused_and_the_tracker_goes_on(time: float) -> None:
    tracker = InstanceTracker()
    assert ids(tracker, 0.0, walker(0)) == [1]
    with pytest.raises(ValueError, match=f'time is {time}: expected the seconds of the frame'):
        ids(tracker, time, walker(0))
    assert ids(tracker, 0.1, walker(0), walker(5)) == [1, 2]


def test_reset_begins_at_1_again_and_other_trackers_do_not_count() -> None:
    tracker, other = InstanceTracker(), InstanceTracker()
    assert ids(other, 0.0, walker(0), walker(3)) == [1, 2]
    assert ids(tracker, 0.0, walker(0), walker(3)) == [1, 2]
    assert ids(tracker, 0.1, (500, 10, 600, 60)) == [3]
    tracker.reset()
    assert ids(tracker, 0.2, walker(0)) == [1]


def test_no_instances_are_fine() -> None:
    tracker = InstanceTracker()
    found = tracker.update(Instances.empty(SIZE), 0.0)
    assert found.shape == (0,) and found.dtype == np.int64


@pytest.mark.parametrize('max_age', [0, -1.0, float('nan'), float('inf')])
def test_a_max_age_that_is_no_time_is_refused(max_age: float) -> None:
    with pytest.raises(ValueError, match='expected seconds above 0'):
        InstanceTracker(max_age)


def test_a_false_alarm_is_not_waited_for() -> None:
    tracker = InstanceTracker()
    assert ids(tracker, 0.0, walker(0)) == [1]
    for index in range(1, 6):
        ids(tracker, index / 10)
    assert ids(tracker, 0.6, walker(0)) == [2]


def test_somebody_who_was_seen_only_twice_is_waited_for() -> None:
    tracker = InstanceTracker()
    for index in range(2):
        assert ids(tracker, index / 10, walker(0)) == [1]
    for index in range(2, 15):
        ids(tracker, index / 10)
    assert ids(tracker, 1.5, walker(0)) == [1]


def test_at_a_high_rate_who_comes_beside_somebody_who_is_hidden_is_another_one() -> None:
    tracker = InstanceTracker()
    for index in range(30):
        ids(tracker, index / 30, (100, 100, 160, 250))
    ids(tracker, 1.0)
    assert ids(tracker, 31 / 30, (165, 100, 225, 250)) == [2]
    assert ids(tracker, 32 / 30, (165, 100, 225, 250), (100, 100, 160, 250)) == [2, 1]


def test_the_nearest_pair_is_matched_first() -> None:
    tracker = InstanceTracker()
    left, right = (100, 100, 160, 250), (125, 100, 185, 250)
    assert ids(tracker, 0.0, left, right) == [1, 2]
    assert ids(tracker, 0.1, right, left) == [2, 1]


def test_who_comes_far_from_somebody_who_left_is_another_one() -> None:
    tracker = InstanceTracker()
    for index in range(10):
        ids(tracker, index / 10, (20, 100, 80, 250))
    for index in range(10, 25):
        ids(tracker, index / 10)
    assert ids(tracker, 2.5, (500, 100, 560, 250)) == [2]


def test_at_2_hz_a_square_object_may_go_on_by_its_width() -> None:
    tracker = InstanceTracker()
    assert ids(tracker, 0.0, (100, 100, 160, 160)) == [1]
    assert ids(tracker, 0.5, (155, 100, 215, 160)) == [1]


def test_who_walks_fast_is_found_again_after_frames_that_were_never_processed() -> None:
    tracker = InstanceTracker()
    for time in [*np.arange(0, 1, 0.1), 2.0]:
        assert ids(tracker, time, walker(time, speed=200)) == [1], time


def test_who_comes_when_the_rate_has_fallen_step_by_step_keeps_the_id() -> None:
    tracker, time = InstanceTracker(), 0.0
    for rate in (10, 6, 3.6):
        for _ in range(20):
            time += 1 / rate
            ids(tracker, time)
    for index in range(10):
        assert ids(tracker, time + (index + 1) / 3.6, walker(0)) == [1]


@pytest.mark.parametrize('rate', [2.0, 5.0, 10.0])
def test_who_walks_while_the_rate_falls_keeps_the_id(rate: float) -> None:
    tracker = InstanceTracker()
    for time in [*(k / 30 for k in range(40)), *(1.3 + k / rate for k in range(1, 20))]:
        assert ids(tracker, time, walker(time, speed=200)) == [1], time


@pytest.mark.parametrize('rate', [2.0, 5.0, 10.0])
def test_who_comes_after_the_rate_fell_from_30_hz_at_once_keeps_the_id(rate: float) -> None:
    tracker = InstanceTracker()
    for index in range(30):
        ids(tracker, index / 30)
    found = [ids(tracker, 1 + index / rate, walker(0)) for index in range(20)]
    assert found[5:] == [found[5]] * 15


def test_the_first_two_frames_may_be_very_near_each_other() -> None:
    tracker = InstanceTracker()
    for time in [0.0, 0.001, *(index / 30 for index in range(1, 60))]:
        assert ids(tracker, time, walker(time)) == [1], time


@pytest.mark.parametrize(
    ('max_age', 'step', 'expected'), [(2.0, 1.5, 2), (0.5, 0.8, 2), (0.5, 0.4, 1)]
)
def test_a_step_back_of_more_than_a_second_or_max_age_ends_all_objects(
    max_age: float, step: float, expected: int
) -> None:
    tracker = InstanceTracker(max_age)
    for index in range(10):
        assert ids(tracker, 100 + index / 10, walker(0)) == [1]
    assert ids(tracker, 100.9 - step, walker(0)) == [expected]
