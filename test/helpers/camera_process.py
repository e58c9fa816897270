# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A camera driver in a process of its own, which a test can kill: sends one image at a rate.

    tools/run python test/helpers/camera_process.py /front/image photo.npy 5

The stamps count from 1: seconds since the driver was started have no part in them.
"""

import sys
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from instance_seg_ros.ros.image_codec import to_message


def main(topic: str, pixels: np.ndarray, rate: float) -> None:
    rclpy.init()
    node = rclpy.create_node('camera_driver')
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, topic, profile)
    number = 0
    while True:
        if publisher.get_subscription_count():
            number += 1
            header = Header(stamp=Time(sec=number), frame_id='driver')
            publisher.publish(to_message(pixels, 'bgr8', header))
        time.sleep(1 / rate)


if __name__ == '__main__':
    main(sys.argv[1], np.load(sys.argv[2]), float(sys.argv[3]))
