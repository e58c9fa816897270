# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Several cameras share one node and its model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_harness import LATCHED, TOPICS, Camera, NodeProcess, figures
from sensor_msgs.msg import CompressedImage

from instance_seg_ros.ros.compressed_codec import to_compressed

NAMES = ('front', 'rear')


@pytest.fixture(scope='module')
def process(start_shared_node: Callable[..., NodeProcess]) -> NodeProcess:
    return start_shared_node('robot', image_topics="['front/image', '/robot/rear/image']")


@pytest.fixture(scope='module')
def cameras(process: NodeProcess) -> Iterator[dict[str, Camera]]:
    cameras = {
        name: Camera('robot', process, topic=f'{name}/image', outputs=f'{name}/instance_seg')
        for name in NAMES
    }
    yield cameras
    for camera in cameras.values():
        camera.close()


def test_each_camera_has_its_outputs_in_its_namespace(
    cameras: dict[str, Camera], photo: np.ndarray
) -> None:
    for camera in cameras.values():
        camera.subscribe(*TOPICS, *LATCHED)
        camera.spin_until(lambda camera=camera: bool(camera.received['label_info']), 'the labels')
        camera.subscribe(*TOPICS)
    for name, camera in cameras.items():
        other = cameras[NAMES[NAMES[0] == name]]
        image = camera.image(photo)
        image.header.frame_id = name
        answers = camera.ask(image)
        assert all(answer.header == image.header for answer in answers.values())
        # What was sent to the wrong camera would have come before its next answer.
        other.ask(other.image(photo))
        assert not any(
            message.header == image.header
            for messages in other.received.values()
            for message in messages
        )


def test_a_slow_camera_gets_its_turn_beside_a_fast_one(
    cameras: dict[str, Camera], photo: np.ndarray
) -> None:
    front, rear = cameras['front'], cameras['rear']
    front.subscribe('detections')
    rear.subscribe('detections')
    for camera in (front, rear):
        camera.ask(camera.image(photo))
    for _ in range(3):
        # The fast one always has an image that waits, and had it first.
        for _ in range(20):
            front.publish(front.image(photo))
        image = rear.image(photo)
        rear.publish(image)
        for _ in range(20):
            front.publish(front.image(photo))
        before = len(front.received['detections'])
        rear.spin_until(
            lambda image=image: any(
                answer.header == image.header for answer in rear.received['detections']
            ),
            'the slow camera is answered',
        )
        front.spin_until(
            lambda before=before: len(front.received['detections']) > before, 'the fast one too'
        )


def test_the_diagnostics_tell_the_cameras_apart(
    cameras: dict[str, Camera], photo: np.ndarray
) -> None:
    front, rear = cameras['front'], cameras['rear']
    before = int(figures(rear.diagnostics('/robot/rear/image'))['frames_received'])
    front.subscribe('detections')
    front.ask(front.image(photo))
    status = front.diagnostics_until(
        '/robot/front/image',
        lambda status: int(figures(status)['frames_processed']) > 0,
        'a frame is counted',
    )
    assert int(figures(status)['frames_received']) > 0
    assert int(figures(rear.diagnostics('/robot/rear/image'))['frames_received']) == before


def test_remapping_gives_two_cameras_of_one_namespace_places_of_their_own(
    start_node: Callable[..., NodeProcess], photo: np.ndarray
) -> None:
    process = start_node(
        'mapped',
        ['-r', 'left:=/mapped/left/image', '-r', 'right:=/mapped/right/image'],
        image_topics="['left', 'right']",
    )
    camera = Camera('mapped', process, topic='right/image', outputs='right/instance_seg')
    camera.subscribe('detections')
    image = camera.image(photo)
    assert camera.ask(image)['detections'].header == image.header
    camera.close()


def test_two_cameras_of_one_namespace_have_the_namespaces_of_names_that_are_remapped(
    start_node: Callable[..., NodeProcess], photo: np.ndarray
) -> None:
    remapped = ['-r', 'left/image:=stereo/left', '-r', 'right/image:=stereo/right']
    process = start_node('logical', remapped, image_topics="['left/image', 'right/image']")
    camera = Camera('logical', process, topic='stereo/right', outputs='right/instance_seg')
    camera.subscribe('detections')
    image = camera.image(photo)
    assert camera.ask(image)['detections'].header == image.header
    camera.close()
    process = start_node('refused', image_topics="['stereo/left', 'stereo/right']")
    camera = Camera('refused', process, wait_until_ready=False)
    camera.spin_until(lambda: 'configure failed' in process.output, 'the node says so')
    assert '-r /left/image:=/refused/stereo/left' in process.output  # what to do
    camera.close()


def test_a_remapping_without_effect_is_warned_of(start_node: Callable[..., NodeProcess]) -> None:
    remapped = ['-r', 'image:=front/image_raw']
    process = start_node('unused', remapped, image_topics="['left/image', 'right/image']")
    camera = Camera('unused', process, topic='left/image')
    assert 'image is remapped to /unused/front/image_raw, without effect' in process.output
    camera.close()


def test_cameras_that_are_remapped_to_each_other(
    start_node: Callable[..., NodeProcess], photo: np.ndarray
) -> None:
    swapped = ['-r', 'left/image:=right/image', '-r', 'right/image:=left/image']
    process = start_node('swapped', swapped, image_topics="['left/image', 'right/image']")
    for side in ('left', 'right'):
        camera = Camera('swapped', process, topic=f'{side}/image', outputs=f'{side}/instance_seg')
        camera.subscribe('detections')
        image = camera.image(photo)
        assert camera.ask(image)['detections'].header == image.header
        camera.close()


@pytest.mark.parametrize(
    ('remapped', 'topics', 'topic', 'outputs'),
    [
        ([], "['front/image_raw/compressed']", 'front/image_raw', 'front/instance_seg'),
        (['-r', 'image:=front/image'], "['']", 'front/image', 'instance_seg'),
        (['-r', 'image/compressed:=jpeg/compressed'], "['']", 'jpeg', 'instance_seg'),
    ],
)
def test_names_of_compressed_images(
    remapped: list[str],
    topics: str,
    topic: str,
    outputs: str,
    start_node: Callable[..., NodeProcess],
    photo: np.ndarray,
) -> None:
    process = start_node('jpegs', remapped, image_topics=topics, image_transport='compressed')
    camera = Camera(
        'jpegs', process, topic=f'{topic}/compressed', message_type=CompressedImage, outputs=outputs
    )
    assert f'ready: images from /jpegs/{topic}/compressed' in process.output
    camera.subscribe('detections')
    image = to_compressed(photo, 90, camera.header())
    assert camera.ask(image)['detections'].header == image.header
    camera.close()


def test_one_model_serves_all(start_node: Callable[..., NodeProcess], slow_model: Path) -> None:
    used = []
    for topics in ("['a/image']", "['a/image', 'b/image', 'c/image', 'd/image']"):
        process = start_node(
            f'memory_{len(used)}', image_topics=topics, model=slow_model, refiner='none'
        )
        Camera(f'memory_{len(used)}', process, topic='a/image').close()
        used.append(process.memory)
        process.stop()
    assert used[1] - used[0] < 12e6  # the model's file alone has 17 MB
