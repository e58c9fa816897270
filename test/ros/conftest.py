# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""ROS for the tests, in a domain that no other test session uses."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

try:
    import rclpy
    from ros_harness import Camera, NodeProcess

    import instance_seg_ros.msg  # noqa: F401
except ImportError as error:
    # The library is tested without ROS as well.
    MISSING = str(error)
    collect_ignore_glob = ['test_*.py']
else:
    MISSING = ''

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            f'test/ros is left out: {MISSING}. It needs ROS 2 and the built package: make test')


@pytest.fixture(scope='session', autouse=True)
def ros() -> Iterator[None]:
    # Read when DDS starts, here and in the nodes' processes.
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    os.environ['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA'
    # A range other than the default makes rmw_fastrtps replace those transports by its own, which
    # lose nearly every large image.
    for name in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY'):
        os.environ.pop(name, None)
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope='session')
def photo() -> np.ndarray:
    """A photo with a person, 320 x 320."""
    return cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (320, 320))


@pytest.fixture(scope='module')
def start_node(
        tmp_path_factory: pytest.TempPathFactory,
        request: pytest.FixtureRequest) -> Iterator[Callable[..., NodeProcess]]:
    """A function that starts a node; all that it started is ended with the module."""
    started: list[NodeProcess] = []

    def start(namespace: str, arguments: list[str] | None = None, **parameters: Any) -> NodeProcess:
        log = tmp_path_factory.mktemp('node') / 'output.txt'
        started.append(NodeProcess(namespace, log, arguments, **parameters))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope='module')
def connect(start_node: Callable[..., NodeProcess]) -> Iterator[Callable[..., Camera]]:
    """A function that starts a node and returns the camera that is connected to it."""
    cameras: list[Camera] = []

    def start(namespace: str, **parameters: Any) -> Camera:
        cameras.append(Camera(namespace, start_node(namespace, **parameters)))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.close()
