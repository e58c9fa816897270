# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Bags get the messages that the node publishes: ROS reads them, with every field the same."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from random_models import REPOSITORY
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from instance_seg_ros import Instances, Segmenter
from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.ros.compressed_codec import to_compressed
from instance_seg_ros.ros.image_codec import to_message
from instance_seg_ros.ros.messages import to_detections, to_instance_masks

pytest.importorskip('rosbags.rosbag2', reason='it builds the messages of bags')

from instance_seg_ros.bags.messages import MessageFactory, make_typestore

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id='camera')


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    photo = cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'))
    return cv2.resize(photo, (240, 200))


@pytest.fixture(scope='module')
def instances(image: np.ndarray) -> Instances:
    found = Segmenter(model='person_mask_rcnn', refiner='none')(image)
    assert len(found)
    return found


@pytest.fixture
def build() -> Callable[..., bytes]:
    """Build a message by a method of MessageFactory, its header that of an image in a bag."""
    typestore = make_typestore()
    factory = MessageFactory(typestore)
    in_bag = serialize_message(Image(header=HEADER))
    header = factory.header(typestore.deserialize_cdr(in_bag, 'sensor_msgs/msg/Image'))

    def call(method: str, content: object, *rest: object) -> bytes:
        return getattr(factory, method)(content, header, *rest)

    return call


def test_detections(build: Callable[..., bytes], instances: Instances) -> None:
    message = deserialize_message(build('detections', instances), Detection2DArray)
    assert message == to_detections(instances, HEADER)


@pytest.mark.parametrize('encoding', ['rle', 'mono8'])
def test_masks(encoding: str, build: Callable[..., bytes], instances: Instances) -> None:
    message = deserialize_message(build('instance_masks', instances, encoding), InstanceMaskArray)
    assert message == to_instance_masks(instances, HEADER, encoding)


def test_nothing_found(build: Callable[..., bytes]) -> None:
    nothing = Instances.empty((200, 240))
    message = deserialize_message(build('detections', nothing), Detection2DArray)
    assert message == to_detections(nothing, HEADER)
    masks = deserialize_message(build('instance_masks', nothing, 'rle'), InstanceMaskArray)
    assert masks == to_instance_masks(nothing, HEADER, 'rle')


def test_debug_images(build: Callable[..., bytes], image: np.ndarray) -> None:
    message = deserialize_message(build('debug_image', image), Image)
    assert message == to_message(image, 'bgr8', HEADER)
    compressed = deserialize_message(build('debug_jpeg', image, 80), CompressedImage)
    assert compressed == to_compressed(image, 80, HEADER)
