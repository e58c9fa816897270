# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Starts the real node in a process of its own, and talks to it over DDS."""
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from instance_seg_ros.msg import InstanceMask, InstanceMaskArray
from instance_seg_ros.ros.image_codec import to_message

TIMEOUT = 60.0  # seconds; only ever reached by a failure
RESEND_PERIOD = 2.0  # seconds; images are best effort, so one may be lost
TOPICS: dict[str, Any] = {
    'detections': Detection2DArray,
    'instance_masks': InstanceMaskArray,
    'debug_image': Image,
    'label_image': Image,
}


class NodeProcess:
    """The installed node script, started; `parameters` as on the command line."""

    def __init__(self, namespace: str, log: Path, arguments: list[str] | None = None,
                 **parameters: Any) -> None:
        script = Path(get_package_prefix('instance_seg_ros'), 'lib', 'instance_seg_ros')
        command = [
            str(script / 'instance_seg_node'), '--ros-args', '-r', f'__ns:=/{namespace}',
            *(arguments or [])]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT,
                env=dict(os.environ, PYTHONUNBUFFERED='1'))

    @property
    def output(self) -> str:
        """What the node has printed so far, logs included."""
        return self._log.read_text('utf-8', 'replace')

    def wait(self) -> int:
        """Return the exit code, once there is one."""
        return self.process.wait(TIMEOUT)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Camera:
    """A ROS node that publishes images and collects what the node under test answers."""

    def __init__(
            self, namespace: str, node_process: NodeProcess, wait_until_ready: bool = True) -> None:
        self.process = node_process
        self._namespace = namespace
        self.node = rclpy.create_node('camera', namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        # Reliable, so that only the node's own choice can lose an image.
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = self.node.create_publisher(Image, 'image', qos)
        self._subscriptions: dict[str, Any] = {}
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._stamp = 0
        self.spin_until(
            lambda: self._publisher.get_subscription_count() > 0, 'the node subscribes to images')
        if wait_until_ready:
            self.spin_until(lambda: 'ready' in node_process.output, 'the node is ready')

    def close(self) -> None:
        """End the ROS node."""
        self._executor.remove_node(self.node)
        self.node.destroy_node()

    def subscribe(self, *topics: str) -> None:
        """Subscribe to exactly these topics of the node under test, and wait for the match."""
        for topic in set(self._subscriptions) - set(topics):
            self.node.destroy_subscription(self._subscriptions.pop(topic))
        for topic in set(topics) - set(self._subscriptions):
            self._subscriptions[topic] = self.node.create_subscription(
                TOPICS[topic], f'instance_seg/{topic}',
                lambda message, topic=topic: self.received[topic].append(message), 10)
        self.received.clear()
        for topic in topics:
            self.spin_until(
                lambda topic=topic: self.node.count_publishers(
                    f'/{self._namespace}/instance_seg/{topic}') > 0, f'{topic} is published')

    def header(self) -> Header:
        """Return a new header, with a stamp that no other has."""
        self._stamp += 1
        return Header(
            stamp=Time(sec=1_000_000 + self._stamp, nanosec=123_456_789), frame_id='camera_optical')

    def image(self, pixels: np.ndarray, encoding: str = 'bgr8') -> Image:
        """Return an image message with a new header."""
        return to_message(pixels, encoding, self.header())

    def publish(self, message: Image) -> None:
        """Publish once."""
        self._publisher.publish(message)

    def ask(self, message: Image) -> dict[str, Any]:
        """Publish until each subscribed topic has answered; return the answers by topic."""
        def answers() -> dict[str, Any]:
            return {
                topic: found for topic in self._subscriptions
                for found in self.received[topic] if found.header.stamp == message.header.stamp}

        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.publish(message)
            if self._spin(lambda: len(answers()) == len(self._subscriptions), RESEND_PERIOD):
                return answers()
        raise AssertionError(
            f'only {sorted(answers())} answered to the image; the node says:\n'
            f'{self.process.output}')

    def publish_until(self, message: Image, condition: Callable[[], bool], what: str) -> None:
        """Publish again and again until the condition holds; fail where it never does."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.publish(message)
            if self._spin(condition, RESEND_PERIOD):
                return
        raise AssertionError(f'waited in vain: {what}; the node says:\n{self.process.output}')

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service of the node under test and return the response."""
        client = self.node.create_client(service_type, f'instance_seg/{name}')
        self.spin_until(client.service_is_ready, f'service {name}')
        future = client.call_async(request)
        self.spin_until(future.done, f'a response of {name}')
        self.node.destroy_client(client)
        return future.result()

    def spin_until(self, condition: Callable[[], bool], what: str) -> None:
        """Process messages until the condition holds; fail where it never does."""
        if not self._spin(condition, TIMEOUT):
            raise AssertionError(f'waited in vain: {what}; the node says:\n{self.process.output}')

    def _spin(self, condition: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or (self.process.process.poll() is not None):
                return condition()
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True


def pixels_of(message: Image) -> np.ndarray:
    """Return the pixels of a bgr8, mono8 or mono16 message, read without the codec under test."""
    dtype, channels = {
        'bgr8': (np.uint8, 3), 'mono8': (np.uint8, 1), 'mono16': (np.uint16, 1),
    }[message.encoding]
    pixels = np.frombuffer(bytes(message.data), dtype)
    return pixels.reshape(message.height, message.width, channels).squeeze(axis=2) \
        if channels == 1 else pixels.reshape(message.height, message.width, channels)


def decode_mask(mask: InstanceMask) -> np.ndarray:
    """Return the mask of either encoding as a bool array of the size of the ROI."""
    height, width = mask.roi.height, mask.roi.width
    if mask.encoding == InstanceMask.MONO8_CROP:
        pixels = pixels_of(mask.mask)
        assert set(np.unique(pixels)) <= {0, 255}
        return pixels == 255
    assert sum(mask.rle_counts) == height * width
    inside = np.repeat(np.arange(len(mask.rle_counts)) % 2 == 1, mask.rle_counts)
    return inside.reshape(width, height).T
