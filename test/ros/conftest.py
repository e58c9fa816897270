# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""ROS for the tests, in a domain that no other test session uses."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import pytest
from random_models import COCO_LABELS, SHEEP, STOP_SIGN, write_manifest, write_model

try:
    import rclpy
    from right_results import SETTINGS
    from ros_harness import Camera, NodeProcess

    import instance_seg_ros.msg  # noqa: F401
    from instance_seg_ros.instances import Instances
    from instance_seg_ros.ros.compatibility import large_images_environment
    from instance_seg_ros.segmenter import Segmenter
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
            f'test/ros is left out: {MISSING}. It needs ROS 2 and the built package: make test'
        )


# Where a test does not choose: a third of the time of the one that `auto` takes, and no refiner.
FAST_MODEL = 'person_mask_rcnn'


@pytest.fixture(scope='session', autouse=True)
def ros() -> Iterator[None]:
    # Read when DDS starts, here and in the nodes' processes.
    domain, lock = free_domain()
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    # LARGE_DATA, the other way to deliver images, at times took more than 100 s to find a process
    # that was started after others had been killed. A range other than the default makes
    # rmw_fastrtps replace the profile by its own, which loses nearly every large image.
    for name in (
        'FASTDDS_BUILTIN_TRANSPORTS',
        'ROS_AUTOMATIC_DISCOVERY_RANGE',
        'ROS_LOCALHOST_ONLY',
    ):
        os.environ.pop(name, None)
    os.environ.update(large_images_environment())
    rclpy.init()
    yield
    rclpy.try_shutdown()
    lock.close()


def free_domain() -> tuple[int, TextIO]:
    """Return a domain that no other test session on this machine uses, while the file is open."""
    for domain in range(1, 101):
        lock = Path(tempfile.gettempdir(), f'instance_seg_ros_domain_{domain}.lock').open('w')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return domain, lock
    raise RuntimeError('all ROS domains from 1 to 100 are in use by other test sessions')


@pytest.fixture
def empty_domain() -> Iterator[int]:
    """A domain that nobody is in."""
    domain, lock = free_domain()
    yield domain
    lock.close()


@pytest.fixture(scope='session')
def photo() -> np.ndarray:
    """A photo with a person, 320 x 320."""
    return cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (320, 320))


@pytest.fixture(scope='session')
def segmenter() -> Segmenter:
    """What a node with the parameters ``SETTINGS`` must agree with."""
    return Segmenter(model=FAST_MODEL, **SETTINGS)


@pytest.fixture(scope='session')
def expected(segmenter: Segmenter, photo: np.ndarray) -> Instances:
    """What it finds in the photo."""
    found = segmenter(photo)
    assert len(found)
    return found


@pytest.fixture(scope='session')
def coco_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a thin model of COCO's 90 class ids that finds stop signs and sheep."""
    folder = tmp_path_factory.mktemp('coco')
    write_model(folder, 0.125, 90, {STOP_SIGN + 1: 5.0, SHEEP + 1: 4.0})
    return write_manifest(folder, COCO_LABELS.read_text().splitlines())


@pytest.fixture(scope='session')
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a model that takes half a second and more for SLOW_SIDE x SLOW_SIDE pixels."""
    folder = tmp_path_factory.mktemp('slow')
    write_model(folder, 0.5, 90, {STOP_SIGN + 1: 5.0})
    return write_manifest(folder, COCO_LABELS.read_text().splitlines())


@contextmanager
def starter(factory: pytest.TempPathFactory) -> Iterator[Callable[..., NodeProcess]]:
    started: list[NodeProcess] = []

    def start(namespace: str, arguments: list[str] | None = None, **parameters: Any) -> NodeProcess:
        log = factory.mktemp('node') / 'output.txt'
        if arguments is None:
            parameters.setdefault('model', FAST_MODEL)
            parameters.setdefault('refiner', 'none')
        process = NodeProcess(namespace, log, arguments, **parameters)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@contextmanager
def connector(start_node: Callable[..., NodeProcess]) -> Iterator[Callable[..., Camera]]:
    cameras: list[Camera] = []

    def start(namespace: str, **parameters: Any) -> Camera:
        cameras.append(Camera(namespace, start_node(namespace, **parameters)))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.close()


@pytest.fixture
def start_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., NodeProcess]]:
    """A function that starts a node; all that it started is ended with the test."""
    with starter(tmp_path_factory) as start:
        yield start


@pytest.fixture
def connect(start_node: Callable[..., NodeProcess]) -> Iterator[Callable[..., Camera]]:
    """A function that starts a node and returns the camera that is connected to it."""
    with connector(start_node) as start:
        yield start


@pytest.fixture(scope='module')
def start_shared_node(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., NodeProcess]]:
    """start_node for a node that lives as long as the module."""
    with starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope='module')
def connect_shared(
    start_shared_node: Callable[..., NodeProcess],
) -> Iterator[Callable[..., Camera]]:
    """Connect for a node that lives as long as the module."""
    with connector(start_shared_node) as start:
        yield start
