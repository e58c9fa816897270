# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Depth images and camera infos of one camera, kept until the results of an image need them.

An image waits for no depth: its network takes longer than the depth image. What is not there when
the masks are done is not waited for, so message_filters' synchronizer, which would hold images
back, is not used. Depth is received only while somebody wants to know what comes of it.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instance_seg_ros.depth import DepthError, Intrinsics, depth_in_metres
from instance_seg_ros.ros.compatibility import without_events
from instance_seg_ros.ros.qos import overridden
from instance_seg_ros.text_files import one_line, shown

KEPT = 30  # depth images: a second of a 30 Hz camera
MOST_HELD = 20  # frames in hand: parallel_nets is at most 16
KEPT_BYTES = 256_000_000  # of all of them: 30 of 1920 x 1080 in floats
SETTLING = 2.0  # seconds after a subscription in which messages may still be missing
# Sides of two images of one view may differ by rounding, and by a few rows that a driver cuts off.
SHAPE_TOLERANCE = 0.05
# Encodings of depth as REP 118 has them, and the type of a pixel.
_TYPES = {'16UC1': np.uint16, 'mono16': np.uint16, '32FC1': np.float32}


@dataclass(frozen=True)
class Depth:
    """A depth image with its camera.

    Attributes:
        metres: float32 (H, W), NaN where there is none.
        intrinsics: of the depth camera.
    """

    metres: np.ndarray
    intrinsics: Intrinsics


class NoDepthYetError(DepthError):
    """There is no depth, but the subscription is so young that it may still come."""


class DepthInput:
    """Subscribes to the depth images and the camera info of a camera, while listen() says so.

    Args:
        node: that subscribes.
        depth_topic: of sensor_msgs/Image, 16UC1 in millimetres or 32FC1 in metres, registered to
            the camera's images.
        info_topic: of sensor_msgs/CameraInfo, for the depth images.
        tolerance: between the stamps of an image and its depth image, seconds.
        group: in which messages are received.

    Raises:
        ValueError: both topics are the same, or a QoS override of one is invalid.
    """

    def __init__(
        self,
        node: LifecycleNode,
        depth_topic: str,
        info_topic: str,
        tolerance: float,
        group: CallbackGroup,
    ) -> None:
        self._node, self._tolerance, self._group = node, tolerance, group
        self._lock = threading.Lock()
        self._listening = threading.Lock()
        self._is_open = True
        self._images: deque[Image] = deque(maxlen=KEPT)
        # By the stamp of each frame in hand: the depth image that is nearest to it so far.
        self._held: dict[float, Image | None] = {}
        self._info: CameraInfo | None = None
        self._depth_name, self._info_name = depth_topic, info_topic
        self.depth_topic = node.resolve_topic_name(depth_topic)
        self.info_topic = node.resolve_topic_name(info_topic)
        if self.depth_topic == self.info_topic:
            raise ValueError(
                f'depth_topic and camera_info_topic are both {self.depth_topic}: expected the '
                'topic of the depth images, and that of their camera info'
            )
        for topic in (depth_topic, info_topic):
            overridden(node, topic, 'subscription')  # raises here what it would when listening
        self._subscriptions: list[Any] = []
        self._problem = ''  # why the topics cannot be subscribed to
        self._since = 0.0

    def open(self) -> None:
        """Let listen() subscribe from now on, as at first."""
        with self._listening:
            self._is_open = True

    def close(self) -> None:
        """Receive no more, whatever listen() is asked for by a callback that is under way."""
        with self._listening:
            self._is_open = False
            self._listen(False)

    def listen(self, wanted: bool) -> None:
        """Begin to receive messages, or receive no more."""
        with self._listening:
            self._listen(wanted and self._is_open)

    def _listen(self, wanted: bool) -> None:
        if not wanted:
            self._unsubscribe()
            self._problem = ''
        elif not self._subscriptions and not self._problem:
            self._since = time.monotonic()
            try:
                self._subscribe(Image, self._depth_name, self._on_image)
                self._subscribe(CameraInfo, self._info_name, self._on_info)
            except Exception as error:  # such as a topic of another type: the images go on
                self._unsubscribe()
                self._problem = (
                    f'{self.depth_topic} and {self.info_topic} cannot be subscribed to as depth '
                    f'images and camera info: {one_line(error)}. Correct depth_topic and '
                    'camera_info_topic'
                )

    def _unsubscribe(self) -> None:
        if not self._subscriptions:
            return
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        with self._lock:
            self._images.clear()
            self._held.clear()
            # The camera info stays, as it may be sent once only; a newer one takes its place.

    def hold(self, header: Header) -> None:
        """Keep the depth of an image whose segmenting begins: it may take longer than KEPT images.

        Args:
            header: of the image.
        """
        stamp = _seconds(header.stamp)
        with self._lock:
            self._held[stamp] = _nearest(self._images, stamp)
            while len(self._held) > MOST_HELD:
                del self._held[next(iter(self._held))]

    def at(self, header: Header, image_size: tuple[int, int]) -> Depth:
        """Return the depth that belongs to an image.

        Args:
            header: of the image.
            image_size: its height and width.

        Raises:
            NoDepthYetError: there is none, but it may still come.
            DepthError: there is none; the message says what is missing.
        """
        try:
            return self._find(header, image_size)
        except DepthError as error:
            if time.monotonic() - self._since < SETTLING:
                raise NoDepthYetError(str(error)) from None
            raise

    def _find(self, header: Header, image_size: tuple[int, int]) -> Depth:
        if self._problem:
            raise DepthError(self._problem)
        stamp = _seconds(header.stamp)
        with self._lock:
            held = self._held.pop(stamp, None)
            images, info = [*self._images, *[held] * (held is not None)], self._info
        nearest = _nearest(images, stamp)
        if nearest is None:
            raise DepthError(f'no depth image on {self.depth_topic} yet')
        if info is None:
            raise DepthError(f'no camera info on {self.info_topic} yet{self._sent_before()}')
        apart = abs(_seconds(nearest.header.stamp) - stamp)
        if apart > self._tolerance:
            raise DepthError(
                f'the depth image on {self.depth_topic} that is nearest in time is {apart:.3f} s '
                f'apart: expected depth_tolerance, {self._tolerance:g} s, at most. Are both '
                'stamped by one clock?'
            )
        if nearest.header.frame_id != header.frame_id:
            raise DepthError(
                f'the depth image on {self.depth_topic} is in the frame '
                f'{shown(nearest.header.frame_id)}, the image in {shown(header.frame_id)}: '
                'expected depth that is registered to the image (depth_image_proc, or aligned '
                'depth of the camera driver)'
            )
        try:
            intrinsics = _intrinsics(info)
        except DepthError as error:
            raise DepthError(f'{self.info_topic}: {error}') from None
        self._check_shape(nearest, 'image', image_size)
        size = intrinsics.height, intrinsics.width
        self._check_shape(nearest, f'camera info on {self.info_topic}', size)
        return Depth(depth_in_metres(_pixels(nearest)), intrinsics)

    def _sent_before(self) -> str:
        """Return what to do where the camera info may have been sent once, before we listened."""
        own = [each.qos_profile for each in self._subscriptions]
        others = self._node.get_publishers_info_by_topic(self.info_topic)
        if any(map(_is_latched, own)) or not any(_is_latched(p.qos_profile) for p in others):
            return ''
        prefix = f'qos_overrides.{self.info_topic}.subscription'
        return (
            '. It may be sent once only, as its publisher is transient_local: start the node with '
            f'{prefix}.durability:=transient_local and {prefix}.reliability:=reliable'
        )

    def _check_shape(self, depth: Image, other: str, size: tuple[int, int]) -> None:
        """Check that the depth image shows the same view, at any resolution."""
        height, width = size
        if abs(depth.width * height - depth.height * width) > SHAPE_TOLERANCE * (
            depth.height * width
        ):
            raise DepthError(
                f'the depth image on {self.depth_topic} is {depth.width} x {depth.height}, the '
                f'{other} {width} x {height}: expected the same view, so the same ratio of the '
                'sides'
            )

    def _on_image(self, message: Image) -> None:
        with self._lock:
            self._images.append(message)
            for stamp, so_far in self._held.items():
                if so_far is None or _nearest([so_far, message], stamp) is message:
                    self._held[stamp] = message
            while self._bytes() > KEPT_BYTES:
                if len(self._images) > 1:
                    self._images.popleft()
                elif self._held:
                    del self._held[next(iter(self._held))]
                else:
                    break

    def _bytes(self) -> int:
        """Return the size of all images that are kept; the same one may be so for two reasons."""
        images = [*self._images, *(image for image in self._held.values() if image is not None)]
        return sum(len(image.data) for image in {id(image): image for image in images}.values())

    def _on_info(self, message: CameraInfo) -> None:
        with self._lock:
            self._info = message

    def _subscribe(self, message_type: type, topic: str, callback: Any) -> None:
        self._subscriptions.append(
            self._node.create_subscription(
                message_type,
                topic,
                callback,
                copy(qos_profile_sensor_data),
                callback_group=self._group,
                qos_overriding_options=overridden(self._node, topic, 'subscription'),
                **without_events('subscription'),
            )
        )


def _intrinsics(info: CameraInfo) -> Intrinsics:
    """Return those of what the camera sends: P is of the whole sensor, roi what is sent of it."""
    whole = Intrinsics.from_projection(list(info.p), info.width, info.height)
    roi = info.roi
    if not roi.width or not roi.height:  # by convention the same as the whole
        return whole
    return whole.cropped_to(roi.x_offset, roi.y_offset, roi.width, roi.height)


def _nearest(images: Iterable[Image], stamp: float) -> Image | None:
    """Return the image whose stamp is nearest, the last of equals; None of none."""
    newest_first = reversed(list(images))
    return min(
        newest_first, key=lambda image: abs(_seconds(image.header.stamp) - stamp), default=None
    )


def _is_latched(qos: QoSProfile) -> bool:
    """Whether a late subscription gets what was sent before."""
    return (
        qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and qos.reliability == ReliabilityPolicy.RELIABLE
    )


def _seconds(stamp: Time) -> float:
    return float(stamp.sec) + 1e-9 * stamp.nanosec


def _pixels(message: Image) -> np.ndarray:
    kind = _TYPES.get(message.encoding)
    if kind is None:
        raise DepthError(
            f'the depth image has the encoding {shown(message.encoding)}: expected 16UC1 '
            '(millimetres) or 32FC1 (metres)'
        )
    data = np.frombuffer(message.data, np.uint8)
    row = message.width * np.dtype(kind).itemsize
    if message.width == 0 or message.step < row or len(data) < message.step * message.height:
        raise DepthError(
            f'the depth image is {message.width} x {message.height} with {message.step} bytes a '
            f'row, and has {len(data)} bytes: expected {row} a row and all rows'
        )
    rows = data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(kind)
    return pixels.byteswap() if bool(message.is_bigendian) != (sys.byteorder == 'big') else pixels
