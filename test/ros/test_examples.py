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
from ros_harness import TIMEOUT, Camera, NodeProcess, decode_mask

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'


def command(name: str, namespace: str, *arguments: str) -> list[str]:
    script = [sys.executable, str(EXAMPLES / name), *arguments]
    return [*script, '--ros-args', '-r', f'__ns:=/{namespace}']


def run(name: str, namespace: str, *arguments: str) -> list[str]:
    result = subprocess.run(
        command(name, namespace, *arguments), capture_output=True, text=True, timeout=2 * TIMEOUT
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


@contextmanager
def listener(name: str, namespace: str, log: Path):
    """Run an example in the background; yields a function that returns what it has printed."""
    with log.open('w') as output:
        process = subprocess.Popen(
            command(name, namespace),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )
    try:
        yield log.read_text
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ('name', 'encoding', 'line'),
    [
        ('subscribe_to_masks.py', 'mono8', r'(\S+.*) [\d.]+: (\d+) of \d+ pixels'),
        ('subscribe_to_masks.py', 'rle', r'(\S+.*) [\d.]+: (\d+) of \d+ pixels'),
        ('decode_rle.py', 'rle', r'(\S+.*): \d+ runs are (\d+) of \d+ pixels'),
    ],
)
def test_a_listener_rebuilds_the_masks(
    name: str,
    encoding: str,
    line: str,
    connect: Callable[..., Camera],
    photo: np.ndarray,
    tmp_path: Path,
) -> None:
    camera = connect('example_listener', mask_encoding=encoding)
    camera.subscribe('instance_masks')
    image = camera.image(photo)
    masks = camera.ask(image)['instance_masks'].masks
    expected = [(mask.class_name, str(decode_mask(mask).sum())) for mask in masks]
    assert expected and all(int(pixels) > 1000 for _, pixels in expected)
    with listener(name, 'example_listener', tmp_path / 'output.txt') as said:
        camera.publish_until(
            image, lambda: set(expected) <= set(re.findall(line, said())), f'{name} says {expected}'
        )


def test_the_listener_of_run_lengths_says_what_to_set(
    connect: Callable[..., Camera], photo: np.ndarray, tmp_path: Path
) -> None:
    camera = connect('example_images', mask_encoding='mono8')
    with listener('decode_rle.py', 'example_images', tmp_path / 'output.txt') as said:
        camera.publish_until(
            camera.image(photo), lambda: 'set the parameter mask_encoding' in said(), 'advice'
        )


def test_a_node_segments_a_file_on_demand(
    connect: Callable[..., Camera], photo: np.ndarray, tmp_path: Path
) -> None:
    connect('example_demand')
    cv2.imwrite(str(tmp_path / 'photo.png'), photo)
    (line,) = run('segment_on_demand.py', 'example_demand', str(tmp_path / 'photo.png'))
    found = re.fullmatch(r'person [\d.]+: (\d+) pixels', line)
    assert found and int(found[1]) > 10_000, line


def test_a_manager_takes_the_node_through_its_life(start_node: Callable[..., NodeProcess]) -> None:
    start_node('example_manager', autostart=False)
    said = run('lifecycle_manager.py', 'example_manager')
    assert said == [
        'configure: now inactive',
        'activate: now active',
        'deactivate: now inactive',
        'cleanup: now unconfigured',
    ]
    assert run('lifecycle_manager.py', 'example_manager', 'configure', 'activate') == said[:2]
