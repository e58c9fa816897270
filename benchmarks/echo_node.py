# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A node that answers every image at once, with empty messages: what DDS and rclpy take."""
from __future__ import annotations

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.ros.compatibility import Executor
from instance_seg_ros.ros.main import EXECUTOR_THREADS


def main() -> None:
    rclpy.init()
    node = rclpy.create_node('instance_seg')
    publishers = [
        (message_type, node.create_publisher(message_type, f'instance_seg/{topic}', 5))
        for topic, message_type in (('detections', Detection2DArray),
                                    ('instance_masks', InstanceMaskArray))]

    def answer(image: Image) -> None:
        for message_type, publisher in publishers:
            publisher.publish(message_type(header=image.header))

    node.create_subscription(Image, 'image', answer, qos_profile_sensor_data)
    executor = Executor(EXECUTOR_THREADS)
    executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()


if __name__ == '__main__':
    main()
