# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A camera that shows sample photos, one after the other, until it is stopped."""

import argparse
import random
import sys
from collections.abc import Iterator

import rclpy
from photos import load_photos
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from instance_seg_ros.ros.compressed_codec import to_compressed
from instance_seg_ros.ros.image_codec import to_message

JPEG_QUALITY = 90


class Camera(Node):
    """Publishes the photos on `image`; the frame id of each tells which one it is."""

    def __init__(self, rate: float) -> None:
        super().__init__('camera')
        self._photos = load_photos()
        self._names = self._endless_names()
        self._publisher = self.create_publisher(Image, 'image', qos_profile_sensor_data)
        self._compressed = self.create_publisher(
            CompressedImage, 'image/compressed', qos_profile_sensor_data
        )
        self.create_timer(1 / rate, self._publish_next)

    def _endless_names(self) -> Iterator[str]:
        # In a new order each time: in a fixed one, a node that takes every second image would
        # never see half of the photos.
        shuffle = random.Random(0)  # nosec B311
        while True:
            yield from shuffle.sample(sorted(self._photos), len(self._photos))

    def _publish_next(self) -> None:
        name = next(self._names)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=name)
        self._publisher.publish(to_message(self._photos[name], 'bgr8', header))
        if self._compressed.get_subscription_count() > 0:
            self._compressed.publish(to_compressed(self._photos[name], JPEG_QUALITY, header))


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f'is {text}: expected a number above 0, at most 1000')
    return rate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rate', type=_rate, default=5.0, help='images per second')
    arguments, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    try:
        rclpy.spin(Camera(arguments.rate))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the ordinary end
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
