# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How the node starts and ends."""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from random_models import SLOW_SIDE
from ros_harness import Camera, NodeProcess, shared_memory_left, shared_memory_of

from instance_seg_ros.srv import Segment

CONFIG = Path(get_package_share_directory('instance_seg_ros'), 'config', 'seg.yaml')
SIGNALS = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
EVERYTHING = ('detections', 'instance_masks', 'debug_image', 'label_image')


def assert_ends_cleanly(process: NodeProcess, number: int) -> None:
    files = shared_memory_of(process.process.pid)
    code, seconds = process.stop_timed(number)
    assert code == 0, process.output
    assert not shared_memory_left(files)
    assert seconds < 2.0
    assert 'Traceback' not in process.output
    assert 'rror' not in process.output


@SIGNALS
def test_a_signal_ends_the_idle_node(number: int, connect: Callable[..., Camera]) -> None:
    assert_ends_cleanly(connect(f'idle_{number}').process, number)


def test_a_signal_that_another_thread_gets_ends_the_node(connect: Callable[..., Camera]) -> None:
    # The kernel chooses the thread, and Python's handlers run in the main thread.
    process = connect('thread').process
    process.signal_a_thread(signal.SIGTERM)
    assert process.wait(5.0) == 0


@SIGNALS
def test_a_signal_ends_the_busy_node(
    number: int, connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect(f'busy_{number}')
    camera.subscribe(*EVERYTHING)
    camera.ask(camera.image(photo))
    for _ in range(5):
        camera.publish(camera.image(photo))
    assert_ends_cleanly(camera.process, number)


@pytest.fixture
def slow_camera(
    connect: Callable[..., Camera], slow_model: Path, request: pytest.FixtureRequest
) -> Camera:
    """A node that works on what large() returns for a while."""
    namespace = f'slow_{abs(hash(request.node.name))}'
    camera = connect(namespace, model=slow_model, input_max_side=SLOW_SIDE)
    camera.subscribe(*EVERYTHING)
    return camera


def large(photo: np.ndarray) -> np.ndarray:
    return cv2.resize(photo, (SLOW_SIDE, SLOW_SIDE))


@SIGNALS
def test_a_signal_ends_the_node_in_mid_inference(
    number: int, slow_camera: Camera, photo: np.ndarray
) -> None:
    image = slow_camera.image(large(photo))
    busy = slow_camera.process.cpu_seconds + 0.5
    slow_camera.publish_until(
        image, lambda: slow_camera.process.cpu_seconds > busy, 'the image is in hand'
    )
    assert not slow_camera.received['detections'], 'the model must be slower, to test anything'
    assert_ends_cleanly(slow_camera.process, number)


def test_a_signal_ends_the_node_while_a_service_is_answered(
    slow_camera: Camera, photo: np.ndarray
) -> None:
    answer = slow_camera.call_async(
        Segment, 'segment', Segment.Request(image=slow_camera.image(large(photo)))
    )
    busy = slow_camera.process.cpu_seconds + 0.5
    slow_camera.spin_until(lambda: slow_camera.process.cpu_seconds > busy, 'the image is in hand')
    assert not answer.done()
    assert_ends_cleanly(slow_camera.process, signal.SIGINT)


@SIGNALS
@pytest.mark.parametrize('delay', [0.0, 0.4, 0.8])
def test_a_signal_ends_the_starting_node(
    number: int, delay: float, start_node: Callable[..., NodeProcess], slow_model: Path
) -> None:
    process = start_node(f'starting_{number}', model=slow_model)
    process.wait_for_signal_handlers()
    time.sleep(delay)  # importing, joining DDS, loading the model: whatever it is doing then
    assert_ends_cleanly(process, number)


@pytest.mark.parametrize('pause', [0.0, 0.1, 0.175, 0.25])
def test_more_signals_than_one_end_it_as_well(pause: float, connect: Callable[..., Camera]) -> None:
    # Ctrl-C reaches the node from the terminal and once more from `ros2 launch`.
    process = connect('twice').process
    process.signal_again(signal.SIGINT)
    time.sleep(pause)
    process.signal_again(signal.SIGINT)
    assert process.wait() == 0, process.output
    assert 'Traceback' not in process.output


def test_the_config_file_starts_the_node(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('configured', ['--params-file', str(CONFIG)])
    Camera('configured', process).close()
    assert 'ready' in process.output
    assert process.stop() == 0


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['-p', 'confidence_threshold:=1.5'], 'confidence_threshold'),
        (['-p', 'confidence_threshold:=high'], 'confidence_threshold'),
    ],
)
def test_what_is_no_parameter_at_all_ends_the_node_with_one_clear_line(
    arguments: list[str], expected: str, start_node: Callable[..., NodeProcess]
) -> None:
    process = start_node('refused', arguments)
    assert process.wait() == 1
    assert expected in process.output
    assert 'FATAL' in process.output
    assert 'Traceback' not in process.output
    assert len(process.output.strip().splitlines()) == 1


class WithoutStandardOutput(NodeProcess):
    """A node whose standard output is closed, as that of a daemon."""

    def _start(self, log: Path, command: list[str], environment: Mapping[str, str]) -> None:
        super()._start(log, ['sh', '-c', 'exec "$0" "$@" >&-', *command], environment)


def test_a_node_without_standard_output_ends_in_mid_inference(
    tmp_path: Path, slow_model: Path, photo: np.ndarray
) -> None:
    process = WithoutStandardOutput(
        'daemon', tmp_path / 'log', model=slow_model, input_max_side=SLOW_SIDE, refiner='none'
    )
    try:
        camera = Camera('daemon', process)
        camera.subscribe(*EVERYTHING)
        busy = process.cpu_seconds + 0.5
        camera.publish_until(
            camera.image(large(photo)), lambda: process.cpu_seconds > busy, 'the image is in hand'
        )
        assert_ends_cleanly(process, signal.SIGTERM)
        camera.close()
    finally:
        process.kill()
