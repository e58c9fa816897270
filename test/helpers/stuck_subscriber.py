# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Subscribes to a node's outputs, reliably, and says so; then it can be stopped or killed.

tools/run python test/helpers/stuck_subscriber.py /front/instance_seg
"""

import sys

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from instance_seg_ros.msg import InstanceMaskArray

TYPES = {'detections': Detection2DArray, 'instance_masks': InstanceMaskArray, 'debug_image': Image}


def main(prefix: str) -> None:
    rclpy.init()
    node = rclpy.create_node('listener')
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    for name, message_type in TYPES.items():
        node.create_subscription(
            message_type, f'{prefix}/{name}', lambda _: print('received', flush=True), profile
        )
    rclpy.spin(node)


if __name__ == '__main__':
    main(sys.argv[1])
