# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One camera: its subscription, its outputs and the statistics of its frames."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo, VisionInfo

from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.output_names import (
    CLASS_IMAGE,
    CONFIDENCE_IMAGE,
    DEBUG_IMAGE,
    DEBUG_JPEG,
    DETECTIONS,
    DETECTIONS_3D,
    LABEL_IMAGE,
    MASKS,
    OBJECTS,
)
from instance_seg_ros.ros.compatibility import without_events
from instance_seg_ros.ros.frames import SPATIAL, Frame
from instance_seg_ros.ros.qos import LATCHED_QOS, overridden, profile
from instance_seg_ros.ros.scene import Scene
from instance_seg_ros.ros.settings import COMPRESSED, NodeSettings
from instance_seg_ros.ros.silence import IMAGE_TYPES, Silence, explain_silence
from instance_seg_ros.ros.statistics import StreamStatistics

OUTPUT_TYPES = {
    DETECTIONS: Detection2DArray,
    MASKS: InstanceMaskArray,
    DETECTIONS_3D: Detection3DArray,
    OBJECTS: PointCloud2,
    LABEL_IMAGE: Image,
    CLASS_IMAGE: Image,
    CONFIDENCE_IMAGE: Image,
    DEBUG_IMAGE: Image,
    DEBUG_JPEG: CompressedImage,
}
LABEL_INFO = 'label_info'
CLASS_LABEL_INFO = 'class_label_info'
VISION_INFO = 'vision_info'
_COMPRESSED = '/compressed'
# An older stamp is of another clock, as in a bag that is played without its time.
BELIEVABLE_AGE = 3600.0  # seconds


@dataclass(frozen=True)
class CameraTopics:
    """Topics of a camera and its outputs.

    Attributes:
        subscribed: what is subscribed to: a name that remappings have yet to be applied to.
        image: the same after remappings.
        namespace: of the camera, where its outputs and the names of its other topics are.
        output_prefix: what the names of the outputs begin with.
    """

    subscribed: str
    image: str
    namespace: str
    output_prefix: str


def camera_topics(
    node: LifecycleNode, topics: Sequence[str], compressed: bool
) -> list[CameraTopics]:
    """Resolve the topics of all cameras.

    Args:
        node: its namespace and remappings count.
        topics: the parameter image_topics.
        compressed: whether the images are compressed.

    Returns:
        For no topics the one named image, with outputs below the node's own name; else each topic,
        with outputs in its own namespace, below the node's name there. Where remappings have put
        two topics into one namespace, those of the names before count.

    Raises:
        ValueError: if the outputs of two topics would have the same names.
    """
    names = [_subscribed_topic(node, topic, compressed) for topic in topics or ['image']]
    images = [node.resolve_topic_name(name) for name in names]
    namespaces = [_namespace(image) for image in images]
    if not topics:
        return [CameraTopics(names[0], images[0], namespaces[0], '~')]
    _warn_of_unused_remapping(node, topics)
    if _first_of_equals(namespaces) is not None:
        namespaces = [_namespace(node.resolve_topic_name(t, only_expand=True)) for t in topics]
    if (equals := _first_of_equals(namespaces)) is not None:
        first, second = (images[i] for i in equals)
        raise ValueError(
            f'image_topics: the outputs of {first} and {second} would both be in '
            f'{namespaces[equals[0]]}/{node.get_name()}. Expected each camera in a namespace of '
            'its own. Give names of your own and remap them, such as '
            f"image_topics: ['/left/image', '/right/image'] with -r /left/image:={first} "
            f'-r /right/image:={second}'
        )
    return [
        CameraTopics(name, image, namespace, f'{namespace}/{node.get_name()}')
        for name, image, namespace in zip(names, images, namespaces, strict=True)
    ]


def _subscribed_topic(node: LifecycleNode, topic: str, compressed: bool) -> str:
    """Return the name to subscribe to, which remappings are applied to once."""
    full = node.resolve_topic_name(topic, only_expand=True)
    if not compressed or full.endswith(_COMPRESSED):
        return full
    if node.resolve_topic_name(full + _COMPRESSED) != full + _COMPRESSED:
        return full + _COMPRESSED
    # As with image_transport, a remapping of the camera's topic counts for this one, too.
    base = node.resolve_topic_name(topic)
    return base if base.endswith(_COMPRESSED) else base + _COMPRESSED


def _warn_of_unused_remapping(node: LifecycleNode, topics: Sequence[str]) -> None:
    expanded, *others = (
        node.resolve_topic_name(topic, only_expand=True) for topic in ('image', *topics)
    )
    mapped = node.resolve_topic_name('image')
    if mapped != expanded and expanded not in others:
        node.get_logger().warning(
            f'image is remapped to {mapped}, without effect: image_topics names the cameras. Add '
            'the topic there, or leave image_topics empty'
        )


def _namespace(topic: str) -> str:
    return topic.removesuffix(_COMPRESSED).rpartition('/')[0]


def _first_of_equals(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the places of the first name that is there twice."""
    return next(((names.index(n), i) for i, n in enumerate(names) if n in names[:i]), None)


class Camera:
    """Subscribes to a camera and publishes what was found in its frames: a Source of images.

    Args:
        node: that has the publishers.
        topics: of the camera and the outputs.
        settings: of the node.
        group: in which images are received.
        on_malformed: called in a thread with this camera and the fault of its image.
        on_failure: called in a thread with this camera and what went wrong with its frame.
        on_incomplete: called in a thread with this camera and what the results of its frame lack.
        scene: what is known of it beside its images.
        left_out: outputs that the model does not allow.
    """

    def __init__(
        self,
        node: LifecycleNode,
        topics: CameraTopics,
        settings: NodeSettings,
        group: CallbackGroup,
        on_malformed: Callable[['Camera', str], None],
        on_failure: Callable[['Camera', str], None],
        on_incomplete: Callable[['Camera', str], None],
        scene: Scene,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        self.scene = scene
        self._left_out = left_out
        self._last_due = self._last_ignored = -math.inf
        self.topic = self.key = topics.image
        self._subscribed = topics.subscribed
        self.statistics = StreamStatistics()
        self._node = node
        self._group = group
        self._on_malformed, self._on_failure = on_malformed, on_failure
        self._on_incomplete = on_incomplete
        self._type = CompressedImage if settings.image_transport == COMPRESSED else Image
        self._qos = profile(settings.input_reliability, settings.input_depth)
        self._images: Any = None
        self._publishers: list[Any] = []
        try:
            self._make_publishers(topics.output_prefix, settings)
        except Exception:  # whatever rclpy raises: what was made would stay
            self.close()
            raise

    def _make_publishers(self, prefix: str, settings: NodeSettings) -> None:
        qos = profile(settings.output_reliability, settings.output_depth)
        self._outputs = {
            name: self._publisher(message_type, f'{prefix}/{name}', qos)
            for name, message_type in OUTPUT_TYPES.items()
        }
        self._label_info, self._class_label_info = (
            self._publisher(LabelInfo, f'{prefix}/{name}', LATCHED_QOS)
            for name in (LABEL_INFO, CLASS_LABEL_INFO)
        )
        self._vision_info = self._publisher(VisionInfo, f'{prefix}/{VISION_INFO}', LATCHED_QOS)

    @property
    def label_topic(self) -> str:
        """Full name of the topic with the names of the classes."""
        return str(self._label_info.topic_name)

    def subscribe(self, on_image: Callable[['Camera', Any], None]) -> None:
        """Begin to receive images; each is handed over with this camera."""
        self.statistics.restart()
        self._last_due = -math.inf
        if self.scene.depth is not None:
            self.scene.depth.open()
        self._images = self._node.create_subscription(
            self._type,
            self._subscribed,
            lambda message: on_image(self, message),
            copy(self._qos),
            callback_group=self._group,
            qos_overriding_options=overridden(self._node, self._subscribed, 'subscription'),
            **without_events('subscription'),
        )

    def unsubscribe(self) -> None:
        """Receive no more images: the camera need not send any to this node."""
        if self._images is not None:
            self._node.destroy_subscription(self._images)
            self._images = None
        if self.scene.depth is not None:
            self.scene.depth.close()

    def close(self) -> None:
        """Remove all topics."""
        self.unsubscribe()
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def is_due(self, max_rate: float) -> bool:
        """Return whether an image that arrives now is to be segmented.

        Args:
            max_rate: images a second at most; 0 is no limit.
        """
        if max_rate <= 0:
            return True
        now, interval = time.monotonic(), 1 / max_rate
        due = self._last_due + interval
        if now < due:
            return False
        # The rhythm of due times is kept, so that the mean rate is the one that was asked for.
        self._last_due = now if now - due >= interval else due
        return True

    def wanted(self) -> frozenset[str]:
        """Return the outputs that have subscribers."""
        return frozenset(
            name
            for name, publisher in self._outputs.items()
            if publisher.get_subscription_count() > 0 and name not in self._left_out
        )

    def listen_to_depth(self, enabled: bool) -> None:
        """Receive depth while it is wanted; called with each image, and now and then without."""
        if self.scene.depth is not None:
            self.scene.depth.listen(enabled and bool(self.wanted() & SPATIAL))

    def deliver(self, frame: Frame, messages: Iterable[tuple[str, Any]]) -> None:
        """Publish a frame's messages, each with the name of its output, as they are computed."""
        for name, message in messages:
            with frame.timed('publish'):
                self._outputs[name].publish(message)
        for problem in frame.problems:
            self._on_incomplete(self, problem)
        self._count(frame)

    def drop(self) -> None:
        """Count an image that a newer one replaced."""
        self.statistics.count('dropped')

    def ignore(self) -> None:
        """Note that an image was not to be processed: nobody wants results, or it is disabled."""
        self._last_ignored = time.monotonic()

    def processed_for(self) -> float:
        """Return for how many seconds no image was ignored."""
        return time.monotonic() - self._last_ignored

    def reject(self, problem: str) -> None:
        """Report an image that cannot be used."""
        self._on_malformed(self, problem)

    def fail(self, problem: str) -> None:
        """Report an image that could not be segmented or published."""
        self._on_failure(self, problem)

    def publish_info(
        self, label_info: LabelInfo, class_label_info: LabelInfo, vision_info: VisionInfo
    ) -> None:
        """Publish the latched descriptions."""
        self._label_info.publish(label_info)
        self._class_label_info.publish(class_label_info)
        self._vision_info.publish(vision_info)

    def silence(self) -> Silence:
        """Explain why no image arrives."""
        type_name = IMAGE_TYPES[0] if self._type is Image else IMAGE_TYPES[1]
        # The subscription's own profile has the overrides.
        qos = self._images.qos_profile if self._images is not None else self._qos
        return explain_silence(self._node, self.topic, type_name, qos)

    def _count(self, frame: Frame) -> None:
        self.statistics.count('processed')
        for stage, milliseconds in frame.timings.items():
            self.statistics.count(stage, milliseconds)
        age = self._age(frame)
        if age is not None:
            self.statistics.count('age', age)

    def _age(self, frame: Frame) -> float | None:
        # Not through rclpy's Time, which refuses a stamp before 1970.
        stamp = frame.message.header.stamp
        age = self._node.get_clock().now().nanoseconds / 1e9 - stamp.sec - stamp.nanosec / 1e9
        return age if 0 <= age < BELIEVABLE_AGE else None

    def _publisher(self, message_type: type, topic: str, qos: QoSProfile) -> Any:
        # rclpy writes the overrides into the profile that it is given.
        publisher = self._node.create_lifecycle_publisher(
            message_type,
            topic,
            copy(qos),
            qos_overriding_options=overridden(self._node, topic, 'publisher'),
            **without_events('publisher'),
        )
        self._publishers.append(publisher)
        return publisher
