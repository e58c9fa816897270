# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A topic in the browser: instance-seg view in a process of its own, a camera here."""

import json
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from rclpy.node import Node
from ros_harness import kill_process
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from instance_seg_ros.ros.compressed_codec import to_compressed
from instance_seg_ros.ros.image_codec import to_message

LIMIT = 100  # seconds; only ever reached by a failure


@pytest.fixture
def camera() -> Iterator[Node]:
    node = Node('view_camera')
    yield node
    node.destroy_node()


@pytest.mark.slow
@pytest.mark.parametrize('kind', [Image, CompressedImage])
def test_a_topic_is_shown_with_its_stamp(camera: Node, photo: np.ndarray, kind: type) -> None:
    topic = '/robot/color/image'
    if kind is CompressedImage:
        topic += '/compressed'
    command = [sys.executable, '-m', 'instance_seg_ros', 'view', f'topic:={topic}', '--port', '0']
    settings = ('--model', 'person_mask_rcnn', '--refiner', 'none')
    process = subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, text=True)
    try:
        line = next(each for each in process.stdout if each.startswith('open '))
        url = line.split()[1]
        if kind is Image:
            silent = picture(url, 0, lambda facts: facts['notice'].startswith('no image'))
            assert f'nobody publishes {topic}' in silent['notice']

        publisher = camera.create_publisher(kind, topic, 5)
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = 12, 34
        small = cv2.resize(photo, (320, 320))
        message = to_message(small, 'bgr8', header)
        if kind is CompressedImage:
            message = to_compressed(small, 95, header)
        found = picture(url, 0, lambda facts: 'frame' in facts, lambda: publisher.publish(message))
        assert found['frame'] == f'{topic}, stamp 12.000000034'
        assert found['size'] == [320, 320] and found['age'] > 0
        assert [each['name'] for each in found['instances']] == ['person']
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
    finally:
        kill_process(process)


def picture(
    url: str,
    number: int,
    wanted: Callable[[dict], bool],
    publish: Callable[[], None] = lambda: None,
) -> dict:
    """Return the facts of the first picture that is as wanted."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        publish()
        with urllib.request.urlopen(f'{url}frame?after={number}', timeout=LIMIT) as answer:
            body = answer.read()
        if body:
            (length,) = struct.unpack_from('>I', body)
            facts = json.loads(body[4 : 4 + length])
            if wanted(facts):
                return facts
        time.sleep(0.1)
    raise AssertionError('waited in vain')
