# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Decodes run-length masks with numpy alone: for programs that do not import instance_seg_ros.

The node sends them with the parameter mask_encoding:=rle.
"""

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException

from instance_seg_ros.msg import InstanceMask, InstanceMaskArray


def decode(mask: InstanceMask) -> np.ndarray:
    """Return the mask over its region of interest, bool (height, width)."""
    # Runs of pixels outside and inside take turns, column by column, the first one is outside.
    inside = np.arange(len(mask.rle_counts)) % 2 == 1
    columns = np.repeat(inside, mask.rle_counts)
    return columns.reshape(mask.roi.width, mask.roi.height).T


def on_masks(message: InstanceMaskArray) -> None:
    for mask in message.masks:
        if mask.encoding != InstanceMask.RLE_CROP:
            print('these masks are images: set the parameter mask_encoding to rle')
            return
        pixels = decode(mask)
        runs = len(mask.rle_counts)
        print(f'{mask.class_name}: {runs} runs are {pixels.sum()} of {pixels.size} pixels')


def main() -> None:
    rclpy.init()
    node = rclpy.create_node('rle_listener')
    node.create_subscription(InstanceMaskArray, 'instance_seg/instance_masks', on_masks, 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
