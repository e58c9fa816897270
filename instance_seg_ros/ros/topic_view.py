# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A topic of images as a source for instance-seg view: the node itself need not run."""

from __future__ import annotations

import threading
import time
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from instance_seg_ros.ros.compressed_codec import compressed_to_bgr8
from instance_seg_ros.ros.image_codec import to_bgr8
from instance_seg_ros.ros.qos import profile
from instance_seg_ros.ros.silence import IMAGE_TYPES, explain_silence
from instance_seg_ros.viewing.sources import Frame, Newest, Source, live_frames

_NODE = 'instance_seg_view'


def topic_source(topic: str) -> Source:
    """Subscribe to a topic.

    Args:
        topic: of sensor_msgs/Image; of sensor_msgs/CompressedImage where the name ends in
            /compressed.

    Returns:
        Its images, newest first, as a live source. Where none arrives it says why, as the node
        does. It is to be closed.

    Raises:
        ValueError: it is no valid name of a topic.

    """
    return _TopicView(topic).source()


class _TopicView:
    """The subscription, in a ROS context and a thread of its own."""

    def __init__(self, topic: str) -> None:
        self._compressed = topic.endswith('/compressed')
        self._newest = Newest()
        self._began = time.monotonic()
        self._qos = profile('best_effort', 1)
        self._context = Context()
        # rclpy takes its own arguments out of sys.argv, and the signals: both are not its here.
        self._context.init(args=[])
        try:
            self._node = Node(_NODE, context=self._context, enable_rosout=False)
            kind: Any = CompressedImage if self._compressed else Image
            subscription = self._node.create_subscription(kind, topic, self._receive, self._qos)
        except Exception as error:
            self._context.try_shutdown()
            if isinstance(error, rclpy.exceptions.InvalidTopicNameException):
                raise ValueError(f'topic:={topic}: is no name of a topic ({error})') from None
            raise
        self._topic = subscription.topic_name
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='topic', daemon=True)
        self._thread.start()

    def source(self) -> Source:
        frames = live_frames(self._newest, self._silence)
        return Source(self._topic, frames, live=True, close=self._close)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _receive(self, message: Any) -> None:
        arrived = time.monotonic()
        # Converted when it is shown: most images of a fast camera are not.
        convert = compressed_to_bgr8 if self._compressed else to_bgr8
        self._newest.put(
            Frame(self._name_of(message), arrived - self._began, lambda: convert(message), arrived)
        )

    def _name_of(self, message: Any) -> str:
        stamp = message.header.stamp
        return f'{self._topic}, stamp {stamp.sec}.{stamp.nanosec:09}'

    def _silence(self) -> str:
        kind = IMAGE_TYPES[self._compressed]
        why = explain_silence(self._node, self._topic, kind, self._qos).text
        return f'no image arrives: {why}'

    def _close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(1.0)
        self._node.destroy_node()
        self._context.try_shutdown()
