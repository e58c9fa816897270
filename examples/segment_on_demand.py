# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Asks a running node to segment one image: segment_on_demand.py photo.jpg."""

import sys

import cv2
import rclpy
from sensor_msgs.msg import Image

from instance_seg_ros.messages import mask_from_message
from instance_seg_ros.srv import Segment


def to_message(path: str) -> Image:
    """Return an image file as a message."""
    pixels = cv2.imread(path)
    if pixels is None:
        sys.exit(f'{path}: cannot be read as an image')
    height, width = pixels.shape[:2]
    return Image(height=height, width=width, encoding='bgr8', step=3 * width, data=pixels.tobytes())


def main() -> None:
    rclpy.init()
    node = rclpy.create_node('segment_client')
    client = node.create_client(Segment, 'instance_seg/segment')
    if not client.wait_for_service(timeout_sec=60):
        sys.exit(f'{client.srv_name}: no such service. Does the node run?')
    future = client.call_async(Segment.Request(image=to_message(sys.argv[1])))
    rclpy.spin_until_future_complete(node, future)
    response = future.result()
    if not response.success:
        sys.exit(response.message)
    for mask in response.instance_masks.masks:
        print(f'{mask.class_name} {mask.score:.2f}: {mask_from_message(mask).sum()} pixels')
    rclpy.shutdown()


if __name__ == '__main__':
    main()
