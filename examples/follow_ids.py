# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Says when an object comes and goes: for a node that was started with tracking:=true."""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from instance_seg_ros.msg import InstanceMaskArray


class Doorkeeper(Node):
    """Remembers the ids of the last image."""

    def __init__(self) -> None:
        super().__init__('doorkeeper')
        self.present: dict[str, str] = {}
        self.create_subscription(
            InstanceMaskArray, 'instance_seg/instance_masks', self._on_masks, 10
        )

    def _on_masks(self, message: InstanceMaskArray) -> None:
        now = {mask.id: mask.class_name for mask in message.masks}
        if '' in now:
            print('no ids: ros2 param set /instance_seg tracking true')
            return
        for track_id in now.keys() - self.present.keys():
            print(f'{now[track_id]} {track_id} came')
        for track_id in self.present.keys() - now.keys():
            print(f'{self.present[track_id]} {track_id} is out of sight')
        self.present = now


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Doorkeeper())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
