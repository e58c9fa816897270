# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Prints where objects are: for a node with depth_topic and camera_info_topic."""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from vision_msgs.msg import Detection3DArray


class Locator(Node):
    """Prints each object's class id, place and size in metres."""

    def __init__(self) -> None:
        super().__init__('locator')
        self.create_subscription(
            Detection3DArray, 'instance_seg/detections_3d', self._on_objects, 10
        )

    def _on_objects(self, message: Detection3DArray) -> None:
        for found in message.detections:
            place, size = found.bbox.center.position, found.bbox.size
            print(
                f'class {found.results[0].hypothesis.class_id} {found.id or "without an id"}: '
                f'{place.x:.2f} right, {place.y:.2f} down, {place.z:.2f} ahead of '
                f'{message.header.frame_id}; {size.x:.2f} x {size.y:.2f} x {size.z:.2f} m'
            )


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Locator())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
