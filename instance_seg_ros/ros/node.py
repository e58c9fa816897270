# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""
The node `instance_seg`: a camera image in; detections, masks and a debug image out.

It is thin: image codec, Segmenter, messages. Inference runs in one thread on the newest image, so
that the executor never waits for it. What nobody subscribes to is neither computed nor published.
"""
import signal
import threading
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError, ModelError
from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.ros.image_codec import to_bgr8, to_message
from instance_seg_ros.ros.messages import to_detections, to_instance_masks, to_label_image
from instance_seg_ros.ros.parameters import declare_parameters
from instance_seg_ros.ros.worker import LatestWorker
from instance_seg_ros.segmenter import Segmenter

NODE_NAME = 'instance_seg'
WARNING_PERIOD = 5.0  # seconds
STOP_PERIOD = 0.1  # seconds between looks at whether a signal has come
# As REP 2003 asks of those who read sensors: a camera's publisher of either reliability matches,
# and an image that is missed is not sent again. Only the newest one is of use.
SENSOR_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Matches subscribers of either reliability.
RESULT_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class _Wanted:
    """What has subscribers."""

    detections: bool
    masks: bool
    debug_image: bool
    label_image: bool

    def anything(self) -> bool:
        return self.detections or self.needs_masks()

    def needs_masks(self) -> bool:
        return self.masks or self.debug_image or self.label_image


class InstanceSegNode(Node):
    """
    See the README for topics and parameters.

    Raises:
        ModelError: if the model cannot be loaded.
        ValueError, rclpy.exceptions.ParameterException: for a parameter that cannot be used.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(NODE_NAME, **kwargs)
        settings = declare_parameters(self)
        self._mask_encoding = settings.pop('mask_encoding')
        self._segmenter = Segmenter(**settings)
        self._detections = self._publisher(Detection2DArray, '~/detections')
        self._masks = self._publisher(InstanceMaskArray, '~/instance_masks')
        self._debug_image = self._publisher(Image, '~/debug_image')
        self._label_image = self._publisher(Image, '~/label_image')
        self._worker: LatestWorker[Image] = LatestWorker(self._process_safely, 'inference')
        self._images = self.create_subscription(Image, 'image', self._on_image, SENSOR_QOS)
        self.get_logger().info(
            f'ready: model {self._segmenter.model_name}, refiner {self._segmenter.refiner}, '
            f'images from {self._images.topic_name}')

    def close(self) -> None:
        """Finish the image in hand and end the node."""
        self._worker.stop()
        self.destroy_node()

    def _publisher(self, message_type: type, topic: str) -> Publisher:
        return self.create_publisher(message_type, topic, RESULT_QOS)

    def _on_image(self, message: Image) -> None:
        if self._wanted().anything():
            self._worker.submit(message)

    def _wanted(self) -> _Wanted:
        return _Wanted(
            detections=self._detections.get_subscription_count() > 0,
            masks=self._masks.get_subscription_count() > 0,
            debug_image=self._debug_image.get_subscription_count() > 0,
            label_image=self._label_image.get_subscription_count() > 0)

    def _process_safely(self, message: Image) -> None:
        try:
            self._process(message)
        except ImageError as error:
            self.get_logger().warning(
                f'image on {self._images.topic_name} dropped: {error}',
                throttle_duration_sec=WARNING_PERIOD)
        except Exception as error:  # the next image may well succeed
            if self.context.ok():  # else the node is ending, and publishing fails for that reason
                self.get_logger().error(
                    f'image on {self._images.topic_name} dropped: '
                    f'{type(error).__name__}: {error}',
                    throttle_duration_sec=WARNING_PERIOD)

    def _process(self, message: Image) -> None:
        wanted = self._wanted()
        if not wanted.anything():
            return
        image = to_bgr8(message)
        instances = self._segmenter(image, masks=wanted.needs_masks())
        header = message.header
        if wanted.detections:
            self._detections.publish(to_detections(instances, header))
        if wanted.masks:
            self._masks.publish(to_instance_masks(instances, header, self._mask_encoding))
        if wanted.label_image:
            self._label_image.publish(to_label_image(instances, header))
        if wanted.debug_image:
            self._debug_image.publish(
                to_message(draw_instances(image, instances), 'bgr8', header))


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT or SIGTERM.

    Args:
        args: command line; the process's own if None.

    Returns:
        Exit code: 0 after a signal, 1 where the node could not start.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # rclpy's own handlers take the context away at any moment: while the node is being made or is
    # publishing, that raises anywhere, and now and then it deadlocks.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        _run(stop)
    except (ModelError, ParameterException, ValueError) as error:
        rclpy.logging.get_logger(NODE_NAME).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _run(stop: threading.Event) -> None:
    node = InstanceSegNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=STOP_PERIOD)
    finally:
        executor.shutdown()
        node.close()
