# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""
Latency that the node adds: from the image published to the last result received, beyond the time
that the Segmenter itself takes for the same image.

Run it as `tools/run python benchmarks/node_latency.py`. One image is under way at a time, so no
waiting is measured. The Segmenter's own time is taken in the same minutes on the same machine, in
turns with the node, and with the same settings.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# Before DDS starts, here and in the node's process.
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))

import rclpy  # noqa: E402
from ament_index_python.packages import get_package_prefix  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from instance_seg_ros import Segmenter  # noqa: E402
from instance_seg_ros.msg import InstanceMaskArray  # noqa: E402
from instance_seg_ros.ros.image_codec import to_message  # noqa: E402

PHOTO = Path(__file__).resolve().parents[1] / 'demo' / 'photos' / 'grace_hopper.jpg'
SIZES = ((640, 480), (1280, 720))
TOPICS: dict[str, Any] = {'detections': Detection2DArray, 'instance_masks': InstanceMaskArray}
LOST_AFTER = 5.0  # seconds; an image that is lost on the way is not measured


class Client:
    """Sends images to the node and waits for the results."""

    def __init__(self) -> None:
        self._node = rclpy.create_node('node_latency')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._publisher = self._node.create_publisher(Image, 'image', qos_profile_sensor_data)
        self._answers: dict[str, int] = {}
        for topic, message_type in TOPICS.items():
            self._node.create_subscription(
                message_type, f'instance_seg/{topic}',
                lambda message, topic=topic: self._answers.update(
                    {topic: message.header.stamp.sec}), 5)
        self._number = 0

    def ask(self, image: np.ndarray) -> float | None:
        """Return the time from publishing to the last result, in ms; None for a lost image."""
        self._number += 1
        header = Header(frame_id='camera')
        header.stamp.sec = self._number
        message = to_message(image, 'bgr8', header)
        start = time.perf_counter()
        self._publisher.publish(message)
        while list(self._answers.values()) != [self._number] * len(TOPICS):
            self._executor.spin_once(timeout_sec=0.5)
            if time.perf_counter() - start > LOST_AFTER:
                return None
        return (time.perf_counter() - start) * 1e3


def measure(client: Client, segmenter: Segmenter, image: np.ndarray, count: int) -> None:
    """Print the medians for one size of image."""
    through_node: list[float] = []
    alone: list[float] = []
    lost = 0
    while client.ask(image) is None:  # until the node is there, and warm
        pass
    segmenter(image)
    while len(through_node) < count:
        latency = client.ask(image)
        if latency is None:
            lost += 1
            continue
        through_node.append(latency)
        start = time.perf_counter()
        segmenter(image)
        alone.append((time.perf_counter() - start) * 1e3)
    added = statistics.median(
        node - library for node, library in zip(through_node, alone, strict=True))
    height, width = image.shape[:2]
    print(f'{width}x{height}: through the node {statistics.median(through_node):.1f} ms, segmenter '
          f'alone {statistics.median(alone):.1f} ms, added {added:.1f} ms '
          f'(medians of {count}; {lost} lost)', flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=30, help='images of each size')
    arguments = parser.parse_args()
    photo = cv2.imread(str(PHOTO))
    script = Path(get_package_prefix('instance_seg_ros'), 'lib', 'instance_seg_ros')
    node = subprocess.Popen([str(script / 'instance_seg_node')])
    rclpy.init()
    try:
        client, segmenter = Client(), Segmenter()
        for size in SIZES:
            measure(client, segmenter, cv2.resize(photo, size), arguments.count)
    finally:
        node.send_signal(signal.SIGINT)
        node.wait()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
