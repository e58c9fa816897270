# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files, libraries and memory that fail under the running node; then frames are right again."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from right_results import SETTINGS as NODE
from right_results import assert_right_again, problems
from ros_harness import Camera, figures

from instance_seg_ros.instances import Instances
from instance_seg_ros.segmenter import Segmenter

HELPERS = Path(__file__).parents[1] / 'helpers'
REPOSITORY = Path(__file__).parents[2]


# ---- files
@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """Weights of a model with its text graph and labels, in a folder of their own."""
    for name in ('person_mask_rcnn.pb', 'person_mask_rcnn.pbtxt', 'person_labels.txt'):
        shutil.copy(REPOSITORY / 'models' / name, tmp_path)
    return tmp_path / 'person_mask_rcnn.pb'


def test_model_files_that_are_touched_deleted_and_replaced(
    connect: Callable[..., Camera], own_model: Path, photo: np.ndarray
) -> None:
    files = {'model_path': own_model, 'labels_path': own_model.parent / 'person_labels.txt'}
    camera = connect('files', **NODE, **files)
    camera.subscribe('detections', 'label_image')
    own = Segmenter(model_path=str(own_model), labels_path=str(files['labels_path']), **NODE)
    expected = own(photo)
    assert_right_again(camera, photo, expected)
    content = own_model.read_bytes()
    os.utime(own_model, (1, 1))
    # An image of this size needs the weights once more: they are the same.
    small = cv2.resize(photo, (130, 110))
    assert_right_again(camera, small, own(small))
    # So do others, when it is gone, and a package manager has put another in its place.
    before = camera.process.output
    own_model.unlink()
    other = cv2.resize(photo, (140, 121))
    assert_right_again(camera, other, own(other))
    own_model.write_bytes(b'another file')
    assert_right_again(camera, photo, expected)
    assert not problems(camera.process, before)
    own_model.unlink()
    # At the next configure the file is missing, then another one, then whole again.
    for transition in ('deactivate', 'cleanup'):
        assert camera.change_state(transition)
    for damaged in (None, content[:100_000], b'<html>not found</html>'):
        before = camera.process.output
        if damaged is not None:
            own_model.write_bytes(damaged)
        assert not camera.change_state('configure')
        (line,) = problems(camera.process, before)
        assert str(own_model) in line and 'configure failed' in line
    own_model.write_bytes(content)
    assert camera.change_state('configure') and camera.change_state('activate')
    camera.spin_until(lambda: camera.subscriptions_to_images() > 0, 'the node subscribes')
    camera.subscribe('detections')
    camera.subscribe('detections', 'label_image')
    assert_right_again(camera, photo, expected)


# ---- libraries that fail
def test_a_refiner_that_raises_in_mid_frame(
    connect: Callable[..., Camera], photo: np.ndarray, tmp_path: Path
) -> None:
    tiny = pytest.importorskip('tiny_refiners')
    path = tiny.raises_for_bright_images(tmp_path / 'fails.onnx')
    camera = connect('raises', confidence_threshold=0.3, refiner=path, trust_model=True)
    camera.subscribe('detections', 'label_image')
    dark = photo // 2
    expected = Segmenter(
        model='person_mask_rcnn', confidence_threshold=0.3, refiner=str(path), trust_model=True
    )(dark)
    assert len(expected)
    assert_right_again(camera, dark, expected)
    before = camera.process.output
    for _ in range(4):
        bright = camera.image(photo)
        camera.publish(bright)
        camera.spin_until(
            lambda bright=bright: any(
                each.header == bright.header for each in camera.received['detections']
            ),
            'its boxes, which need no refiner',
        )
    assert_right_again(camera, dark, expected)
    (line,) = problems(camera.process, before)
    assert 'ERROR' in line and 'Gather' in line


def test_without_memory_in_mid_frame(
    connect: Callable[..., Camera], photo: np.ndarray, expected: Instances
) -> None:
    camera = connect('no_memory', **NODE, input_max_side=1600)
    camera.subscribe('detections', 'label_image')
    assert_right_again(camera, photo, expected)
    before = camera.process.output
    large = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), (1600, 1600))
    pid = camera.process.process.pid
    used = int(Path(f'/proc/{pid}/statm').read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + 100_000_000, -1))
    try:
        for number in range(1, 4):
            camera.publish_until(
                camera.image(large, 'mono8'),
                lambda number=number: (
                    int(figures(camera.diagnostics('/no_memory/image'))['frames_failed']) >= number
                ),
                'the network has too little memory',
            )
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
    assert_right_again(camera, photo, expected)
    (line,) = problems(camera.process, before)
    assert 'ERROR' in line and 'emory' in line


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which('unshare'), reason='needs root, to fill a /dev/shm'
)
@pytest.mark.slow
def test_shared_memory_that_is_full(empty_domain: int) -> None:
    mount = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" "$@"'
    script = str(HELPERS / 'full_shared_memory.py')
    done = subprocess.run(
        ['unshare', '-m', 'bash', '-c', mount, sys.executable, script],
        env={**os.environ, 'ROS_DOMAIN_ID': str(empty_domain)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
