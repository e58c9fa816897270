# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A depth camera that looks at a wall."""

from __future__ import annotations

from typing import Any

import numpy as np
from ros_harness import RELIABLE, Camera
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

FOCAL = 300.0  # pixels, of an image of 320 x 320
# Parameters of a node that takes its depth.
NODE = {
    'depth_topic': 'depth',
    'camera_info_topic': 'depth_info',
    'tracking': True,
    'refiner': 'none',
}


class DepthCamera:
    """Publishes depth of a wall beside the images of a camera."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.depth = camera.node.create_publisher(Image, 'depth', RELIABLE)
        self.info = camera.node.create_publisher(CameraInfo, 'depth_info', RELIABLE)

    def listened(self) -> int:
        """How many subscriptions there are to depth and info."""
        return self.depth.get_subscription_count() + self.info.get_subscription_count()

    def ask(self, image: Image, depth: Image, info: CameraInfo) -> dict[str, Any]:
        """Send all until every subscribed topic has answered; return the answers."""
        self.camera.publish_until(image, lambda: self.listened() == 2, 'the node reads depth')
        return self.camera.ask(image, also=lambda: self.publish(depth, info))

    def publish(self, depth: Image | None, info: CameraInfo | None) -> None:
        """Publish what there is, once."""
        if info is not None:
            self.info.publish(info)
        if depth is not None:
            self.depth.publish(depth)


def depth_image(
    header: Header, metres: float, side: int = 320, encoding: str = '16UC1', step: int = 0
) -> Image:
    """Return a wall, with holes of no measurement: 0 and, in floats, NaN."""
    if encoding == '16UC1':
        pixels = np.full((side, side), round(1000 * metres), np.uint16)
    else:
        pixels = np.full((side, side), metres, np.float32)
        pixels[1::4, 1::4] = np.nan
    pixels[::4, ::4] = 0
    row = side * pixels.itemsize
    padded = np.zeros((side, row + step), np.uint8)
    padded[:, :row] = pixels.view(np.uint8)
    message = Image(header=header, height=side, width=side, encoding=encoding, step=row + step)
    message.data.frombytes(padded.tobytes())
    return message


def camera_info(header: Header, side: int = 320) -> CameraInfo:
    focal, middle = FOCAL * side / 320, (side - 1) / 2
    return CameraInfo(
        header=header,
        width=side,
        height=side,
        p=[focal, 0.0, middle, 0.0, 0.0, focal, middle, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
