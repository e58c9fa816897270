# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How the node starts and ends."""
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from ros_harness import Camera, NodeProcess

CONFIG = Path(get_package_share_directory('instance_seg_ros'), 'config', 'seg.yaml')
SIGNALS = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])


@SIGNALS
def test_a_signal_ends_the_idle_node(number: int, connect: Callable[..., Camera]) -> None:
    camera = connect(f'idle_{number}')
    assert camera.process.stop(number) == 0
    assert 'Traceback' not in camera.process.output


@SIGNALS
def test_a_signal_ends_the_busy_node(
        number: int, connect: Callable[..., Camera], photo: np.ndarray) -> None:
    camera = connect(f'busy_{number}')
    camera.subscribe('detections', 'instance_masks', 'debug_image', 'label_image')
    camera.ask(camera.image(photo))
    for _ in range(5):
        camera.publish(camera.image(photo))
    assert camera.process.stop(number) == 0
    assert 'Traceback' not in camera.process.output
    assert 'rror' not in camera.process.output


@SIGNALS
def test_a_signal_ends_the_starting_node(
        number: int, start_node: Callable[..., NodeProcess]) -> None:
    process = start_node(f'starting_{number}')
    Camera(f'starting_{number}', process, wait_until_ready=False).close()
    assert process.stop(number) == 0
    assert 'Traceback' not in process.output


def test_two_signals_end_it_as_well(connect: Callable[..., Camera]) -> None:
    # Ctrl-C reaches the node from the terminal and once more from `ros2 launch`.
    camera = connect('twice')
    camera.process.process.send_signal(signal.SIGINT)
    assert camera.process.stop(signal.SIGINT) == 0
    assert 'Traceback' not in camera.process.output


def test_the_config_file_starts_the_node(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('configured', ['--params-file', str(CONFIG)])
    camera = Camera('configured', process)
    camera.close()
    assert 'ready' in process.output
    assert process.stop() == 0


@pytest.mark.parametrize(('parameters', 'told'), [
    ({'model_path': '/nowhere/frozen_inference_graph.pb'}, '/nowhere/frozen_inference_graph.pb'),
    ({'model': 'no_such_model'}, 'no_such_model'),
    ({'confidence_threshold': 1.5}, 'confidence_threshold'),
    ({'confidence_threshold': 'high'}, 'confidence_threshold'),
    ({'mask_encoding': 'png'}, 'mono8, rle'),
    ({'classes': "['unicorn']"}, 'unicorn'),
    ({'refiner': '/nowhere/refiner.onnx'}, '/nowhere/refiner.onnx'),
])
def test_what_cannot_be_used_ends_the_node_with_one_clear_line(
        parameters: dict[str, object], told: str, start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('refused', **parameters)
    assert process.wait() == 1
    assert told in process.output
    assert 'FATAL' in process.output
    assert 'Traceback' not in process.output
    assert len(process.output.strip().splitlines()) == 1
