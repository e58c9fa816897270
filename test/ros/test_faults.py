# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Faults around the running node: afterwards the next two frames are right, and the log has a line.

What takes minutes, such as signals at 200 moments or hours of load, are programs: docs/faults.md.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_harness import Camera, NodeProcess, figures, kill_process, pixels_of
from std_srvs.srv import SetBool

from instance_seg_ros.instances import Instances
from instance_seg_ros.ros.causes import MOST_CAUSES
from instance_seg_ros.segmenter import Segmenter

HELPERS = Path(__file__).parents[1] / 'helpers'
REPOSITORY = Path(__file__).parents[2]
NODE = {'confidence_threshold': 0.3, 'refiner': 'none'}
LONG = 20.0  # seconds for a frame, on a machine that does much else
RESET_PERIOD = 0.01  # seconds


@pytest.fixture(scope='module')
def shared(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('faults', **NODE)


@pytest.fixture
def camera(shared: Camera) -> Camera:
    """The node, whose log had nothing but information before the test."""
    shared.subscribe('detections', 'label_image')
    return shared


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter(model='person_mask_rcnn', **NODE)


@pytest.fixture(scope='module')
def expected(segmenter: Segmenter, photo: np.ndarray) -> Instances:
    found = segmenter(photo)
    assert len(found)
    return found


def is_right(answers: dict[str, Any], expected: Instances) -> bool:
    """Compare detections and label image with what the library finds."""
    boxes = [
        (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y)
        for d in answers['detections'].detections
    ]
    x1, y1, x2, y2 = expected.boxes.T
    wanted = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    return (
        len(boxes) == len(wanted)
        and np.allclose(boxes, wanted, rtol=1e-3, atol=0.1)
        and np.array_equal(pixels_of(answers['label_image']), expected.label_image())
    )


def answer(camera: Camera, message: Any) -> dict[str, Any]:
    """Publish once; return the answers by topic, as far as they come."""
    camera.publish(message)
    found: dict[str, Any] = {}

    def all_there() -> bool:
        found.update(
            (topic, each)
            for topic in ('detections', 'label_image')
            for each in camera.received[topic]
            if each.header == message.header
        )
        return len(found) == 2

    camera.wait_for(all_there, LONG)
    return found


def assert_right_again(camera: Camera, photo: np.ndarray, expected: Instances) -> None:
    """One of the next two frames must give the right results."""
    for _ in range(2):
        found = answer(camera, camera.image(photo))
        if len(found) == 2 and is_right(found, expected):
            return
    raise AssertionError(f'no right results within two frames; {camera.process.state}')


def problems(process: NodeProcess, since: str = '') -> list[str]:
    """Return the lines of the log that are warnings or worse, after an earlier state of the log."""
    lines = process.output[len(since) :].splitlines()
    return [line for line in lines if 'INFO' not in line and line.strip()]


# ---- cameras
@pytest.fixture
def start_driver(
    photo: np.ndarray, tmp_path: Path
) -> Iterator[Callable[[], 'subprocess.Popen[bytes]']]:
    """A function that starts a camera driver in a process of its own."""
    np.save(tmp_path / 'photo.npy', photo)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> 'subprocess.Popen[bytes]':
        script = HELPERS / 'camera_process.py'
        arguments = ['/faults/image', str(tmp_path / 'photo.npy'), '5']
        started.append(subprocess.Popen([sys.executable, str(script), *arguments]))
        return started[-1]

    yield start
    for process in started:
        kill_process(process)


def test_a_camera_that_is_killed_and_started_again(
    camera: Camera, start_driver: Callable[[], Any], expected: Instances
) -> None:
    before = camera.process.output
    for _ in range(2):
        driver = start_driver()
        camera.received.clear()
        camera.spin_until(
            lambda: min(len(camera.received[t]) for t in ('detections', 'label_image')) >= 2,
            'two frames of the driver',
        )
        for number in range(2):
            assert is_right(
                {topic: camera.received[topic][number] for topic in camera.received}, expected
            )
        kill_process(driver)
    assert all('no image on' in line for line in problems(camera.process, before))


def test_size_encoding_and_rate_change_in_mid_stream(
    camera: Camera, photo: np.ndarray, segmenter: Segmenter
) -> None:
    before = camera.process.output
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    grey_bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    small, wide = cv2.resize(photo, (130, 110)), cv2.resize(photo, (801, 333))
    stream = [
        (photo, 'bgr8', photo),
        (small, 'bgr8', small),
        (np.ascontiguousarray(wide[..., ::-1]), 'rgb8', wide),
        (grey, 'mono8', grey_bgr),
        (np.zeros((1, 1, 3), np.uint8), 'bgr8', None),
        (small, 'bgr8', small),
        (grey.astype(np.uint16) * 257, 'mono16', grey_bgr),
        (photo, 'bgr8', photo),
    ]
    for pixels, encoding, shown in stream:
        message = camera.image(pixels, 'bgr8' if encoding == 'rgb8' else encoding)
        message.encoding = encoding
        if shown is None:
            camera.publish_until(  # no answer, and a line in the log
                message, lambda: 'image is 1x1 pixels' in camera.process.output, 'a warning'
            )
        else:
            assert is_right(answer(camera, message), segmenter(shown)), encoding
    for _ in range(60):  # faster than any answer: the newest is answered
        camera.publish(camera.image(photo))
    assert is_right(answer(camera, camera.image(photo)), segmenter(photo))
    assert len(problems(camera.process, before)) == 1


def test_two_cameras_on_one_topic(
    camera: Camera, photo: np.ndarray, segmenter: Segmenter, expected: Instances
) -> None:
    before = camera.process.output
    assert camera.set_parameters(tracking=True).successful
    other = Camera('faults', camera.process)
    narrow = np.ascontiguousarray(photo[:, 40:280])
    for _ in range(3):
        first, second = camera.image(photo), camera.image(narrow)
        second.header.frame_id, second.header.stamp.sec = 'other', 17
        other.publish(second)
        assert is_right(answer(camera, first), expected)
        assert is_right(answer(camera, second), segmenter(narrow))
    other.close()
    assert camera.set_parameters(tracking=False).successful
    assert_right_again(camera, photo, expected)
    assert not problems(camera.process, before)


LATEST, NEVER = 2**31 - 1, 2**32 - 1
STAMPS = [(10, 0), (0, 0), (0, 0), (-(2**31), 0), (LATEST, NEVER), (5, NEVER), (5, 1), (1_000, 0)]


def test_stamps_jump_repeat_and_are_zero(
    camera: Camera, photo: np.ndarray, expected: Instances
) -> None:
    before = camera.process.output
    assert camera.set_parameters(tracking=True).successful
    for sec, nanosec in STAMPS:
        message = camera.image(photo)
        message.header.stamp = Time(sec=sec, nanosec=nanosec)
        camera.received.clear()
        assert is_right(answer(camera, message), expected), (sec, nanosec)
    assert camera.set_parameters(tracking=False).successful
    assert not problems(camera.process, before)


def test_a_sender_of_ever_new_nonsense_does_not_fill_the_log(
    camera: Camera, photo: np.ndarray, expected: Instances
) -> None:
    before = camera.process.output

    def nonsense(number: int) -> Any:
        message = camera.image(np.zeros((40, 40, 3), np.uint8))
        message.encoding = chr(ord('A') + number) * (1 + number % 2 * 10_000)
        return message

    for number in range(57):  # each has a cause of its own
        camera.publish(nonsense(number))
        camera.spin_for(0.02)
    assert_right_again(camera, photo, expected)
    lines = problems(camera.process, before)
    assert 3 < len(lines) <= MOST_CAUSES + 1
    assert max(map(len, lines)) < 1000
    for number in range(5):
        camera.publish(nonsense(number))
        camera.spin_for(0.02)
    assert_right_again(camera, photo, expected)
    assert len(problems(camera.process, before)) <= MOST_CAUSES + 1


# ---- subscribers
def test_a_subscriber_that_is_stuck_and_then_vanishes_holds_nobody_up(
    camera: Camera, photo: np.ndarray, expected: Instances
) -> None:
    before = camera.process.output
    script = [sys.executable, str(HELPERS / 'stuck_subscriber.py'), '/faults/instance_seg']
    listener = subprocess.Popen(script, stdout=subprocess.PIPE)
    try:
        found = []
        topic = '/faults/instance_seg/instance_masks'
        camera.spin_until(lambda: camera.node.count_subscribers(topic) > 0, 'it subscribes')
        while not found:
            answer(camera, camera.image(photo))
            os.set_blocking(listener.stdout.fileno(), False)
            found = listener.stdout.readlines()
        listener.send_signal(signal.SIGSTOP)
        for _ in range(15):  # more than the outputs keep for it
            assert is_right(answer(camera, camera.image(photo)), expected)
    finally:
        kill_process(listener)
    assert_right_again(camera, photo, expected)
    assert not problems(camera.process, before)


# ---- parameters, and transitions
def test_parameters_a_hundred_times_a_second(
    camera: Camera, photo: np.ndarray, expected: Instances
) -> None:
    before = camera.process.output
    camera.set_parameters(max_instances=100)
    timer = camera.node.create_timer(0.2, lambda: camera.publish(camera.image(photo)))
    futures = []
    for number in range(300):
        name, value = [
            ('confidence_threshold', 0.2 + number % 7 / 10),
            ('max_instances', number % 11),  # 0 is refused
            ('refiner', ('none', 'smooth')[number // 2 % 2]),
            ('classes', ['person'] if number % 2 else ['nobody']),
        ][number % 4]
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        futures.append(camera.call_async(SetParameters, 'set_parameters', request))
        camera.spin_for(RESET_PERIOD)
        # A service keeps ten requests; on a busy machine a hundred a second are too many.
        camera.spin_until(
            lambda: sum(not future.done() for future in futures[-20:]) < 5, 'the answers'
        )
    camera.spin_until(lambda: all(future.done() for future in futures), 'all are answered')
    camera.node.destroy_timer(timer)
    accepted = [future.result().results[0].successful for future in futures]
    assert 150 < sum(accepted) < 300
    assert camera.set_parameters(**NODE, max_instances=100, classes=['']).successful
    assert_right_again(camera, photo, expected)
    assert not problems(camera.process, before)


MOVES = ('configure', 'activate', 'deactivate', 'cleanup')
ALLOWED = {
    ('unconfigured', 'configure'): 'inactive',
    ('inactive', 'activate'): 'active',
    ('inactive', 'cleanup'): 'unconfigured',
    ('active', 'deactivate'): 'inactive',
}


def test_transitions_in_any_order_and_in_mid_inference(
    connect: Callable[..., Camera], photo: np.ndarray, expected: Instances
) -> None:
    camera = connect('any_order', **NODE)
    camera.subscribe('detections', 'label_image')
    assert_right_again(camera, photo, expected)
    choose = random.Random(3)
    # rclpy of Humble and Jazzy raises at a transition that is not possible, and answers nothing.
    refuses = os.environ.get('ROS_DISTRO') not in ('humble', 'jazzy')
    state = 'active'
    for _ in range(24):
        possible = [move for move in MOVES if (state, move) in ALLOWED]
        move = choose.choice(MOVES if refuses and choose.random() > 0.75 else possible)
        for _ in range(3):  # one is in hand, one waits
            camera.publish(camera.image(photo))
        if choose.random() < 0.3:
            camera.call_async(SetBool, 'set_enabled', SetBool.Request(data=True))
        assert camera.change_state(move) == ((state, move) in ALLOWED), (state, move)
        state = ALLOWED.get((state, move), state)
        assert camera.state() == state
    for move in {'unconfigured': MOVES[:2], 'inactive': MOVES[1:2], 'active': ()}[state]:
        assert camera.change_state(move)
    camera.spin_until(lambda: camera.subscriptions_to_images() > 0, 'the node subscribes')
    camera.subscribe('detections')
    camera.subscribe('detections', 'label_image')
    assert_right_again(camera, photo, expected)
    # rclpy warns of transitions that there are not, the node of five seconds without an image.
    usual = ('ransition', 'no image on')
    lines = problems(camera.process)
    assert not [line for line in lines if not any(text in line for text in usual)]


# ---- files
@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """Weights of a model with its text graph and labels, in a folder of their own."""
    for name in ('person_mask_rcnn.pb', 'person_mask_rcnn.pbtxt', 'person_labels.txt'):
        shutil.copy(REPOSITORY / 'models' / name, tmp_path)
    return tmp_path / 'person_mask_rcnn.pb'


def test_model_files_that_are_touched_deleted_and_replaced(
    connect: Callable[..., Camera],
    own_model: Path,
    photo: np.ndarray,
    expected: Instances,
    segmenter: Segmenter,
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
