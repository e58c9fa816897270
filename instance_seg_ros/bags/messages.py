# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instances as serialized ROS 2 messages, without ROS: the fields are those of ros/messages."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.image import image_to_cvimage
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from instance_seg_ros.bags.vision_msgs import VISION_MSGS
from instance_seg_ros.image_messages import (
    JPEG_FORMAT,
    PlainImage,
    compressed_to_bgr8,
    encode_jpeg,
    image_to_bgr8,
)
from instance_seg_ros.images import check_image
from instance_seg_ros.installed import find_shared
from instance_seg_ros.instances import Instances
from instance_seg_ros.output_names import DEBUG_IMAGE, DEBUG_JPEG, DETECTIONS, MASKS
from instance_seg_ros.run_lengths import run_lengths
from instance_seg_ros.settings import MIN_IMAGE_SIDE

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
OUTPUT_TYPES = {
    DETECTIONS: 'vision_msgs/msg/Detection2DArray',
    MASKS: 'instance_seg_ros/msg/InstanceMaskArray',
    DEBUG_IMAGE: IMAGE,
    DEBUG_JPEG: COMPRESSED_IMAGE,
}
RLE, MONO8 = 'rle', 'mono8'
MASK_ENCODINGS = (RLE, MONO8)
_OUR_TYPES = ('InstanceMask', 'InstanceMaskArray')
# The constants of InstanceMask.msg.
_MONO8_CROP, _RLE_CROP = 0, 1


def make_typestore() -> Any:
    """Return rosbags' store of ROS 2's own types, with vision_msgs 4.1.1 and this package's.

    Raises:
        FileNotFoundError: the installation lacks the folder msg.

    """
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in VISION_MSGS.items():
        types |= get_types_from_msg(text, f'vision_msgs/msg/{name}')
    for name in _OUR_TYPES:
        text = find_shared(f'msg/{name}.msg').read_text('utf-8')
        types |= get_types_from_msg(text, f'instance_seg_ros/msg/{name}')
    store.register(types)
    return store


def to_bgr8(message: Any, message_type: str) -> NDArray[np.uint8]:
    """Return the pixels of an image message, by the node's own rules.

    Args:
        message: as rosbags deserializes it.
        message_type: one of IMAGE_TYPES.

    Returns:
        uint8 (height, width, 3), BGR.

    Raises:
        ImageError: the message is malformed, or the image too small.

    """
    convert = image_to_bgr8 if message_type == IMAGE else compressed_to_bgr8
    image = convert(message, _convert_pixels)
    check_image(image, min_side=MIN_IMAGE_SIDE)
    return image


def _convert_pixels(image: PlainImage, encoding: str) -> NDArray[Any]:
    return image_to_cvimage(image, encoding)


class MessageFactory:
    """Builds and serializes the output messages.

    Args:
        typestore: of make_typestore.
    """

    def __init__(self, typestore: Any) -> None:
        self._store, self._types = typestore, typestore.types

    def header(self, message: Any) -> Any:
        """Return the header of a message of any ROS, with its stamp and frame_id unchanged."""
        source = message.header
        return self._header(source.stamp.sec, source.stamp.nanosec, source.frame_id)

    def detections(self, instances: Instances, header: Any) -> bytes:
        """Return a Detection2DArray: centre and size of each box, in pixels of the image."""
        found = [self._detection(instances, i, header) for i in range(len(instances))]
        return self._serialize(
            DETECTIONS, self._make('vision_msgs', 'Detection2DArray', header, found)
        )

    def instance_masks(self, instances: Instances, header: Any, encoding: str) -> bytes:
        """Return an InstanceMaskArray; encoding is one of MASK_ENCODINGS.

        Raises:
            ValueError: the instances have no masks.

        """
        if instances.masks is None:
            raise ValueError('the instances have no masks: run the segmenter with masks=True')
        height, width = instances.image_size
        masks = [
            self._instance_mask(instances, i, mask, header, encoding)
            for i, mask in enumerate(instances.masks)
        ]
        message = self._make('instance_seg_ros', 'InstanceMaskArray', header, height, width, masks)
        return self._serialize(MASKS, message)

    def debug_image(self, pixels: NDArray[np.uint8], header: Any) -> bytes:
        """Return an Image, bgr8, of uint8 (height, width, 3)."""
        return self._serialize(DEBUG_IMAGE, self._image(pixels, 'bgr8', header))

    def debug_jpeg(self, pixels: NDArray[np.uint8], header: Any, quality: int) -> bytes:
        """Return a CompressedImage, a JPEG, of uint8 (height, width, 3), BGR."""
        data = encode_jpeg(pixels, quality).reshape(-1)
        message = self._make('sensor_msgs', 'CompressedImage', header, JPEG_FORMAT, data)
        return self._serialize(DEBUG_JPEG, message)

    def _serialize(self, output: str, message: Any) -> bytes:
        return bytes(self._store.serialize_cdr(message, OUTPUT_TYPES[output]))

    def _make(self, package: str, name: str, *fields: Any) -> Any:
        return self._types[f'{package}/msg/{name}'](*fields)

    def _header(self, sec: int, nanosec: int, frame_id: str) -> Any:
        stamp = self._make('builtin_interfaces', 'Time', sec, nanosec)
        return self._make('std_msgs', 'Header', stamp, frame_id)

    def _image(self, pixels: NDArray[np.uint8], encoding: str, header: Any) -> Any:
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).reshape(-1)
        step = len(data) // height if height else 0
        big = int(sys.byteorder == 'big')
        return self._make('sensor_msgs', 'Image', header, height, width, encoding, big, step, data)

    def _detection(self, instances: Instances, index: int, header: Any) -> Any:
        x1, y1, x2, y2 = (float(value) for value in instances.boxes[index])
        centre = self._make('vision_msgs', 'Point2D', (x1 + x2) / 2, (y1 + y2) / 2)
        pose = self._make('vision_msgs', 'Pose2D', centre, 0.0)
        box = self._make('vision_msgs', 'BoundingBox2D', pose, x2 - x1, y2 - y1)
        results = [self._hypothesis(instances, index)]
        return self._make('vision_msgs', 'Detection2D', header, results, box, '')

    def _hypothesis(self, instances: Instances, index: int) -> Any:
        class_id, score = str(int(instances.class_ids[index])), float(instances.scores[index])
        hypothesis = self._make('vision_msgs', 'ObjectHypothesis', class_id, score)
        # The pose is not known: the message's own defaults.
        position = self._make('geometry_msgs', 'Point', 0.0, 0.0, 0.0)
        orientation = self._make('geometry_msgs', 'Quaternion', 0.0, 0.0, 0.0, 1.0)
        pose = self._make('geometry_msgs', 'Pose', position, orientation)
        with_covariance = self._make('geometry_msgs', 'PoseWithCovariance', pose, np.zeros(36))
        return self._make('vision_msgs', 'ObjectHypothesisWithPose', hypothesis, with_covariance)

    def _instance_mask(
        self, instances: Instances, index: int, mask: NDArray[np.uint8], header: Any, encoding: str
    ) -> Any:
        if encoding == RLE:
            code, counts = _RLE_CROP, run_lengths(mask)
            image = self._image(np.zeros((0, 0), np.uint8), '', self._header(0, 0, ''))
        else:
            code, counts = _MONO8_CROP, np.zeros(0, np.uint32)
            pixels = np.where(mask != 0, np.uint8(255), np.uint8(0))
            image = self._image(pixels, 'mono8', header)
        x, y, width, height = (int(value) for value in instances.rois[index])
        return self._types['instance_seg_ros/msg/InstanceMask'](
            detection_index=index,
            id='',
            class_id=str(int(instances.class_ids[index])),
            class_name=instances.class_names[index],
            score=float(instances.scores[index]),
            roi=self._make('sensor_msgs', 'RegionOfInterest', x, y, height, width, False),
            encoding=code,
            mask=image,
            rle_counts=counts,
            refined=bool(instances.refined[index]),
        )
