# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Subscribes to the masks of a running node and rebuilds them as numpy arrays."""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from instance_seg_ros.messages import mask_from_message
from instance_seg_ros.msg import InstanceMaskArray


class MaskListener(Node):
    """Prints every instance with the number of pixels of its mask."""

    def __init__(self) -> None:
        super().__init__('mask_listener')
        self.create_subscription(
            InstanceMaskArray, 'instance_seg/instance_masks', self._on_masks, 10
        )

    def _on_masks(self, message: InstanceMaskArray) -> None:
        image_size = (message.image_height, message.image_width)
        for mask in message.masks:
            # Without image_size: the mask of the region of interest, mask.roi, alone.
            pixels = mask_from_message(mask, image_size)
            print(f'{mask.class_name} {mask.score:.2f}: {pixels.sum()} of {pixels.size} pixels')


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(MaskListener())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
