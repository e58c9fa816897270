# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What runs the node's callbacks, on rclpy itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.node import Node
from rclpy.waitable import NumberOfEntities, Waitable
from ros_harness import Camera

from instance_seg_ros.ros.executor import CallbackRunner

TIMEOUT = 30.0  # seconds; only ever reached by a failure
UNKNOWN_TYPE = 255


@pytest.fixture
def node() -> Iterator[Node]:
    node = rclpy.create_node('callbacks')
    yield node
    node.destroy_node()


def run_until(runner: CallbackRunner, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        runner.run_once(0.1)


def test_callbacks_of_two_groups_run_at_the_same_time(node: Node) -> None:
    meeting = threading.Barrier(2)
    met: list[int] = []

    def meet() -> None:
        met.append(meeting.wait(TIMEOUT))

    for _ in range(2):
        node.create_timer(0.01, meet, callback_group=MutuallyExclusiveCallbackGroup())
    runner = CallbackRunner(node, 2)
    run_until(runner, lambda: len(met) >= 2)
    meeting.abort()
    runner.shutdown()


def test_a_callback_that_waits_for_a_thread_costs_nothing(node: Node) -> None:
    """Releases of rclpy until 9.1.3 and 7.1.8 return it thousands of times in this time."""
    ended = threading.Event()
    calls: list[None] = []
    node.create_timer(0.01, ended.wait, callback_group=MutuallyExclusiveCallbackGroup())
    node.create_timer(
        0.01, lambda: calls.append(None), callback_group=MutuallyExclusiveCallbackGroup()
    )
    runner = CallbackRunner(node, 1)
    rounds = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        runner.run_once(0.1)
        rounds += 1
    ended.set()
    assert rounds < 100
    calls.clear()
    run_until(runner, lambda: len(calls) >= 2)
    runner.shutdown()


def test_a_callback_that_raises_is_logged_once_and_all_go_on(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = {'good': 0, 'bad': 0}

    def good() -> None:
        calls['good'] += 1

    def bad() -> None:
        calls['bad'] += 1
        raise KeyError('no such thing')

    node.create_timer(0.01, bad)
    node.create_timer(0.01, good)
    runner = CallbackRunner(node, 2)
    run_until(runner, lambda: min(calls.values()) >= 5)
    runner.shutdown()
    log = capfd.readouterr().err
    assert log.count('KeyError') == 1
    assert 'no such thing' in log
    assert Path(__file__).name in log
    assert 'Traceback' not in log


class Untakable(Waitable):
    """Something that is ready once and then fails to be taken."""

    def __init__(self, node: Node, group: CallbackGroup) -> None:
        super().__init__(group)
        self.guard = GuardCondition(None, None, context=node.context)
        self.tries = 0

    def __enter__(self) -> None:
        self.guard.handle.__enter__()

    def __exit__(self, *_: object) -> None:
        self.guard.handle.__exit__(None, None, None)

    def get_num_entities(self) -> NumberOfEntities:
        return NumberOfEntities(0, 1)

    def add_to_wait_set(self, wait_set: Any) -> None:
        self.index = wait_set.add_guard_condition(self.guard.handle)

    def is_ready(self, wait_set: Any) -> bool:
        return wait_set.is_ready('guard_condition', self.index)

    def take_data(self) -> None:
        self.tries += 1
        raise OSError('nothing to take')

    async def execute(self, taken: Any) -> None:
        raise AssertionError('nothing was taken')


def test_what_cannot_be_taken_does_not_block_its_callback_group(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    """The group is rclpy's own default one, with parameters and transitions."""
    calls: list[None] = []
    waitable = Untakable(node, node.default_callback_group)
    node.add_waitable(waitable)
    runner = CallbackRunner(node, 2)
    waitable.guard.trigger()
    run_until(runner, lambda: waitable.tries == 1)
    node.create_timer(0.01, lambda: calls.append(None))
    run_until(runner, lambda: len(calls) >= 5)
    runner.shutdown()
    node.remove_waitable(waitable)
    assert capfd.readouterr().err.count('nothing to take') == 1


def test_a_parameter_of_an_unknown_type_does_not_end_the_node(
    connect: Callable[..., Camera],
) -> None:
    camera = connect('unknown_type', refiner='none')
    value = ParameterValue(type=UNKNOWN_TYPE)
    request = SetParameters.Request(parameters=[Parameter(name='nms_threshold', value=value)])
    for _ in range(2):
        camera.call_async(SetParameters, 'set_parameters', request)
        camera.spin_until(lambda: 'set_parameters failed' in camera.process.output, 'it is logged')
    assert camera.set_parameters(nms_threshold=0.3).successful
    assert camera.state() == 'active'
    assert camera.process.output.count('set_parameters failed') == 1
    assert camera.process.stop() == 0
