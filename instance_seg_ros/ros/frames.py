# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A frame's way from the image message to the output messages: decode, detect, output_messages.

Each stage takes a Frame, so that one can be decoded and detected in one thread while the messages
of the one before are built in another.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from instance_seg_ros.configuration import Configuration, PendingInstances
from instance_seg_ros.depth import DepthError, Object3D
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError
from instance_seg_ros.instances import Instances
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
from instance_seg_ros.ros.compressed_codec import compressed_to_bgr8, to_compressed
from instance_seg_ros.ros.depth_input import NoDepthYetError
from instance_seg_ros.ros.image_codec import to_bgr8, to_message
from instance_seg_ros.ros.messages import (
    to_class_image,
    to_confidence_image,
    to_detections,
    to_instance_masks,
    to_label_image,
)
from instance_seg_ros.ros.messages_3d import to_detections_3d, to_point_cloud
from instance_seg_ros.ros.scene import Scene
from instance_seg_ros.ros.settings import NodeSettings
from instance_seg_ros.segmenter import Segmenter

# Topics below the node's name; camera.py has the types. In the order in which they are published:
# first what robots act on, last the pictures for people.
OUTPUTS = (
    DETECTIONS,
    MASKS,
    DETECTIONS_3D,
    OBJECTS,
    LABEL_IMAGE,
    CLASS_IMAGE,
    CONFIDENCE_IMAGE,
    DEBUG_IMAGE,
    DEBUG_JPEG,
)

# Those that have the places in space, where there is depth.
SPATIAL = frozenset({DETECTIONS_3D, OBJECTS, DEBUG_IMAGE, DEBUG_JPEG})

# The stages that are timed; detect, masks and refine come from the Segmenter.
STAGES = ('convert', 'detect', 'masks', 'refine', 'track', 'locate', 'draw', 'publish')


@dataclass(frozen=True)
class NodeConfiguration(Configuration):
    """The Segmenter's configuration and the node's settings. A frame uses one from start to end.

    Attributes:
        node: the settings of the node.
    """

    node: NodeSettings


@dataclass
class Frame:
    """One image on its way.

    Attributes:
        message: as it came.
        wanted: those of OUTPUTS that are to be computed.
        configuration: what it is segmented with.
        scene: of the camera that it is from.
        image: uint8 (height, width, 3), BGR, once it is decoded.
        pending: the instances that wait for their masks, once they are detected.
        timings: milliseconds of each stage so far.
        problems: what its results lack, and why; none where they are complete.
    """

    message: Image | CompressedImage
    wanted: frozenset[str]
    configuration: NodeConfiguration
    scene: Scene
    image: np.ndarray | None = None
    pending: PendingInstances | None = None
    timings: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image, once it is decoded."""
        assert self.image is not None
        height, width = self.image.shape[:2]
        return height, width

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = 1e3 * (time.perf_counter() - started)
            self.timings[stage] = self.timings.get(stage, 0.0) + elapsed

    def build(self, convert: Callable[..., Any], *arguments: Any) -> Any:
        """Build a message by a function; the time counts as publishing."""
        with self.timed('publish'):
            return convert(*arguments)


def decode(frame: Frame) -> None:
    """First stage: the message's pixels.

    Raises:
        ImageError: if the message is malformed.
    """
    with frame.timed('convert'):
        convert = to_bgr8 if isinstance(frame.message, Image) else compressed_to_bgr8
        frame.image = convert(frame.message)
    if frame.wanted & SPATIAL:
        frame.scene.hold_depth(frame.message.header)


def detect(frame: Frame, segmenter: Segmenter) -> None:
    """Second stage: the box network.

    Raises:
        ImageError: if the image is too small, or the camera's region is not in it.
    """
    assert frame.image is not None
    problem = frame.scene.mask_problem(frame.image_size)
    if problem:
        frame.problems.append(problem)
    # Masks put the parts of an object in several tiles together: without them, boxes would depend
    # on who else subscribes.
    has_tiles = frame.configuration.tiles != (1, 1)
    frame.pending = segmenter.detect(
        frame.scene.crop(frame.image),
        masks=has_tiles or frame.wanted != {DETECTIONS},
        configuration=frame.configuration,
    )


def output_messages(frame: Frame, segmenter: Segmenter) -> Iterator[tuple[str, Any]]:
    """Last stage, for one thread only: the masks, and the wanted messages.

    Each message is yielded, so that it can be sent, before the next is built: the boxes before
    their masks are computed and refined.

    Yields:
        The output's name and its message, in the order of OUTPUTS.
    """
    header = frame.message.header
    boxes = _boxes_first(frame, segmenter)
    if boxes is not None and DETECTIONS in frame.wanted:
        yield DETECTIONS, frame.build(to_detections, boxes, header)
    instances = _finished(frame, segmenter, boxes)
    if boxes is None and DETECTIONS in frame.wanted:
        yield DETECTIONS, frame.build(to_detections, instances, header)
    if MASKS in frame.wanted:
        encoding = frame.configuration.node.mask_encoding
        yield MASKS, frame.build(to_instance_masks, instances, header, encoding)
    places = _places(frame, instances)
    if places is not None:
        yield from _in_space(frame, instances, places)
    for name, convert in _IMAGES_OF_MASKS.items():
        if name in frame.wanted:
            yield name, frame.build(convert, instances, header)
    if frame.wanted & {DEBUG_IMAGE, DEBUG_JPEG}:
        yield from _pictures(frame, instances, places or [])


def _boxes_first(frame: Frame, segmenter: Segmenter) -> Instances | None:
    """Return the instances before their masks, with ids.

    None where nobody needs them so early, or where they come with the masks.
    """
    assert frame.pending is not None
    if frame.pending.tiles or not (DETECTIONS in frame.wanted or _is_tracked(frame)):
        return None
    return _with_ids(frame, _restored(frame, segmenter.without_masks(frame.pending)))


def _finished(frame: Frame, segmenter: Segmenter, boxes: Instances | None) -> Instances:
    """Return the instances with their masks, and with the ids that their boxes have got."""
    assert frame.pending is not None
    instances = segmenter.finish(frame.pending)
    frame.timings.update(instances.timings)
    instances = _restored(frame, instances)
    if boxes is None:
        return _with_ids(frame, instances)
    return replace(instances, track_ids=boxes.track_ids)


_IMAGES_OF_MASKS = {
    LABEL_IMAGE: to_label_image,
    CLASS_IMAGE: to_class_image,
    CONFIDENCE_IMAGE: to_confidence_image,
}


def _restored(frame: Frame, instances: Instances) -> Instances:
    return frame.scene.restore(instances, frame.image_size)


def _is_tracked(frame: Frame) -> bool:
    return frame.configuration.node.tracking and frame.scene.tracked


def _with_ids(frame: Frame, instances: Instances) -> Instances:
    """Return the instances with ids where they are tracked; once for each frame."""
    if not _is_tracked(frame):
        return instances
    max_age = frame.configuration.node.track_max_age
    with frame.timed('track'):
        return frame.scene.track(instances, frame.message.header, max_age)


def _places(frame: Frame, instances: Instances) -> list[Object3D] | None:
    """Return where the instances are; None where nobody wants to know or there is no depth."""
    asked = frame.wanted & {DETECTIONS_3D, OBJECTS}
    if not asked and not (frame.scene.depth and frame.wanted & {DEBUG_IMAGE, DEBUG_JPEG}):
        return None
    try:
        with frame.timed('locate'):
            return frame.scene.locate(instances, frame.message.header)
    except NoDepthYetError:
        return None
    except DepthError as error:  # the other outputs go on
        frame.problems.append(f'no places in space: {error}')
        return None


def _in_space(
    frame: Frame, instances: Instances, objects: list[Object3D]
) -> Iterator[tuple[str, Any]]:
    assert frame.image is not None
    header = frame.message.header
    if DETECTIONS_3D in frame.wanted:
        yield DETECTIONS_3D, frame.build(to_detections_3d, instances, objects, header)
    if OBJECTS in frame.wanted:
        yield OBJECTS, frame.build(to_point_cloud, instances, objects, frame.image, header)


def _pictures(
    frame: Frame, instances: Instances, objects: list[Object3D]
) -> Iterator[tuple[str, Any]]:
    assert frame.image is not None
    with frame.timed('draw'):
        distances = {each.index: each.distance for each in objects}
        drawn = draw_instances(frame.image, instances, distances=distances)
    header = frame.message.header
    if DEBUG_IMAGE in frame.wanted:
        yield DEBUG_IMAGE, frame.build(to_message, drawn, 'bgr8', header)
    if DEBUG_JPEG in frame.wanted:
        quality = frame.configuration.node.jpeg_quality
        try:
            message = frame.build(to_compressed, drawn, quality, header)
        except ImageError as error:  # the other outputs go on
            frame.problems.append(f'no {DEBUG_JPEG}: {error}')
        else:
            yield DEBUG_JPEG, message
