# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The example scripts that talk to the node, run as users run them beside a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from depth_camera import DepthCamera, camera_info, depth_image
from ros_harness import TIMEOUT, Camera, NodeProcess, decode_mask, kill_process

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
NAMESPACE = 'examples'


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared(
        NAMESPACE, refiner='none', depth_topic='depth', camera_info_topic='depth_info'
    )


def command(name: str, *arguments: str, namespace: str = NAMESPACE) -> list[str]:
    script = [sys.executable, str(EXAMPLES / name), *arguments]
    return [*script, '--ros-args', '-r', f'__ns:=/{namespace}']


def run(name: str, *arguments: str, namespace: str = NAMESPACE) -> list[str]:
    result = subprocess.run(
        command(name, *arguments, namespace=namespace),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


@contextmanager
def listener(name: str, log: Path):
    """Run an example in the background; yields a function that returns what it has printed."""
    with log.open('w') as output:
        process = subprocess.Popen(
            command(name),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )
    try:
        yield log.read_text
    finally:
        kill_process(process)


@pytest.mark.parametrize(
    ('name', 'encoding', 'line'),
    [
        ('subscribe_to_masks.py', 'mono8', r'(\S+.*) [\d.]+: (\d+) of \d+ pixels'),
        ('subscribe_to_masks.py', 'rle', r'(\S+.*) [\d.]+: (\d+) of \d+ pixels'),
        ('decode_rle.py', 'rle', r'(\S+.*): \d+ runs are (\d+) of \d+ pixels'),
    ],
)
def test_a_listener_rebuilds_the_masks(
    name: str, encoding: str, line: str, camera: Camera, photo: np.ndarray, tmp_path: Path
) -> None:
    assert camera.set_parameters(mask_encoding=encoding).successful
    camera.subscribe('instance_masks')
    image = camera.image(photo)
    masks = camera.ask(image)['instance_masks'].masks
    expected = [(mask.class_name, str(decode_mask(mask).sum())) for mask in masks]
    assert expected and all(int(pixels) > 1000 for _, pixels in expected)
    with listener(name, tmp_path / 'output.txt') as said:
        camera.publish_until(
            image, lambda: set(expected) <= set(re.findall(line, said())), f'{name} says {expected}'
        )


def test_the_listener_of_run_lengths_says_what_to_set(
    camera: Camera, photo: np.ndarray, tmp_path: Path
) -> None:
    assert camera.set_parameters(mask_encoding='mono8').successful
    with listener('decode_rle.py', tmp_path / 'output.txt') as said:
        camera.publish_until(
            camera.image(photo), lambda: 'set the parameter mask_encoding' in said(), 'advice'
        )


def test_a_node_segments_a_file_on_demand(
    camera: Camera, photo: np.ndarray, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / 'photo.png'), photo)
    (line,) = run('segment_on_demand.py', str(tmp_path / 'photo.png'))
    found = re.fullmatch(r'person [\d.]+: (\d+) pixels', line)
    assert found and int(found[1]) > 10_000, line


def test_a_manager_takes_the_node_through_its_life(start_node: Callable[..., NodeProcess]) -> None:
    start_node('example_manager', autostart=False)
    said = run('lifecycle_manager.py', namespace='example_manager')
    assert said == [
        'configure: now inactive',
        'activate: now active',
        'deactivate: now inactive',
        'cleanup: now unconfigured',
    ]
    again = run('lifecycle_manager.py', 'configure', 'activate', namespace='example_manager')
    assert again == said[:2]


def test_a_listener_follows_ids(camera: Camera, photo: np.ndarray, tmp_path: Path) -> None:
    nobody = np.full_like(photo, 128)
    with listener('follow_ids.py', tmp_path / 'output.txt') as said:
        for pixels, tracking, text in (
            (photo, False, 'no ids: ros2 param set /instance_seg tracking true'),
            (photo, True, 'person 1 came'),
            (nobody, True, 'person 1 is out of sight'),
        ):
            assert camera.set_parameters(tracking=tracking).successful
            camera.publish_until(
                camera.image(pixels), lambda text=text: text in said(), f'it says {text}'
            )


def test_a_listener_says_where_objects_are(
    camera: Camera, photo: np.ndarray, tmp_path: Path
) -> None:
    assert camera.set_parameters(tracking=False).successful
    depth = DepthCamera(camera)
    image = camera.image(photo)
    line = r'class 0 without an id: (\S+) right, \S+ down, 2.00 ahead of camera_optical; '
    with listener('where_objects_are.py', tmp_path / 'output.txt') as said:

        def answered() -> bool:
            depth.publish(depth_image(image.header, 2.0), camera_info(image.header))
            return re.search(line, said()) is not None

        camera.publish_until(image, answered, 'it says where the person is')
