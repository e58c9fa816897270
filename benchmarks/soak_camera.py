# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A fast camera for soak.py, in a process of its own: a photo that moves, with depth if asked.

    tools/run python benchmarks/soak_camera.py /front/image --rate 60 --depth

It prints how many images it has sent, once a second.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from typing import Any

import numpy as np
import rclpy
from library import photo
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instance_seg_ros.ros.image_codec import to_message

POSITIONS = 8  # images that are sent in turn
DEPTH_SIZE = 640, 360


def main() -> None:
    """Send images until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument('topic')
    parser.add_argument('--width', type=int, default=1920)
    parser.add_argument('--height', type=int, default=1080)
    parser.add_argument('--rate', type=float, default=60.0)
    parser.add_argument('--depth', action='store_true')
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: sys.exit())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('soak_camera', namespace=arguments.topic.rpartition('/')[0])
    publishers = [node.create_publisher(Image, arguments.topic, qos_profile_sensor_data)]
    if arguments.depth:
        publishers.append(node.create_publisher(Image, 'depth', qos_profile_sensor_data))
        publishers.append(node.create_publisher(CameraInfo, 'depth_info', qos_profile_sensor_data))
    scenes = _scenes(arguments.width, arguments.height, arguments.depth)
    _send(node, publishers, scenes, arguments.rate)


def _scenes(width: int, height: int, depth: bool) -> list[list[Any]]:
    """Return the messages of each position. They are made once: making them takes longest."""
    image = photo(width, height)
    scenes: list[list[Any]] = []
    for position in range(POSITIONS):
        shifted = np.roll(image, 4 * position, axis=1)
        messages: list[Any] = [to_message(shifted, 'bgr8', Header(frame_id='camera'))]
        if depth:
            w, h = DEPTH_SIZE
            wall = np.full((h, w), 2000, np.uint16)
            messages.append(to_message(wall, 'mono16', Header(frame_id='camera')))
            p = [500.0, 0.0, w / 2, 0.0, 0.0, 500.0, h / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
            messages.append(CameraInfo(header=Header(frame_id='camera'), width=w, height=h, p=p))
        scenes.append(messages)
    return scenes


def _send(node: Any, publishers: list[Any], scenes: list[list[Any]], rate: float) -> None:
    started = time.monotonic()
    sent = reported = 0
    while True:
        stamp = node.get_clock().now().to_msg()
        for publisher, message in zip(publishers, scenes[sent % len(scenes)], strict=True):
            message.header.stamp = stamp
            publisher.publish(message)
        sent += 1
        elapsed = time.monotonic() - started
        if elapsed >= reported + 1:
            reported += 1
            print(sent, flush=True)
        due = sent / rate
        if due < elapsed - 1:  # too slow: what was missed is not made up for
            started += elapsed - due
        time.sleep(max(0.0, due - elapsed))


if __name__ == '__main__':
    main()
