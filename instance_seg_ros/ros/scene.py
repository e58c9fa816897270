# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is known of a camera beside its images: what counts of them, identities, and depth."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from instance_seg_ros.depth import DepthError, Object3D, locate
from instance_seg_ros.instances import Instances
from instance_seg_ros.regions import Region, apply_ignore_mask, read_ignore_mask
from instance_seg_ros.ros.depth_input import DepthInput
from instance_seg_ros.ros.settings import NodeSettings
from instance_seg_ros.settings import MIN_IMAGE_SIDE
from instance_seg_ros.tracking import InstanceTracker

NONE = 'none'
_ROI = re.compile(r'(\d+)x(\d+)\+(\d+)\+(\d+)')


class Scene:
    """A camera's region of interest, ignored pixels, tracker and depth. By default: none of them.

    One thread at a time uses it, in the order of the frames; reset_tracking() is for any thread.

    Args:
        tracked: whether its instances can be tracked: it sends more than one image.
        roi: what of the image is segmented; None for all.
        ignored: bool (H, W), pixels that do not count; None where all do.
        depth: of the camera; None where there is none.
    """

    def __init__(
        self,
        tracked: bool = False,
        roi: Region | None = None,
        ignored: np.ndarray | None = None,
        depth: DepthInput | None = None,
    ) -> None:
        self.tracked = tracked
        self._roi, self._ignored = roi, ignored
        self.depth = depth
        self._tracker: InstanceTracker | None = None

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Return what of an image (H, W, 3) is to be segmented.

        Raises:
            ImageError: the region of interest is not in the image.
        """
        return image if self._roi is None else self._roi.view(image)

    def mask_problem(self, image_size: tuple[int, int]) -> str:
        """Return why the ignore mask does not fit an image; empty if it fits or there is none."""
        if self._ignored is None or self._ignored.shape == image_size:
            return ''
        height, width = self._ignored.shape
        return (
            f'ignore_mask is left out: it is {width} x {height}, the image {image_size[1]} x '
            f'{image_size[0]}: expected the same size'
        )

    def restore(self, instances: Instances, image_size: tuple[int, int]) -> Instances:
        """Return instances of the cropped image in pixels of the image, without what is ignored."""
        if self._roi is not None:
            instances = self._roi.moved(instances, image_size)
        if self._ignored is not None and not self.mask_problem(image_size):
            instances = apply_ignore_mask(instances, self._ignored)
        return instances

    def track(self, instances: Instances, header: Header, max_age: float) -> Instances:
        """Return the instances with ids.

        Args:
            instances: of the next frame.
            header: of its image.
            max_age: of an object that is not seen, seconds.
        """
        tracker = self._tracker
        if tracker is None:
            tracker = self._tracker = InstanceTracker(max_age)
        tracker.max_age = max_age
        time = header.stamp.sec + 1e-9 * header.stamp.nanosec
        return replace(instances, track_ids=tracker.update(instances, time))

    def reset_tracking(self) -> None:
        """Forget all objects; ids begin at 1 again."""
        self._tracker = None

    def hold_depth(self, header: Header) -> None:
        """Keep the depth of an image, where there is depth, until locate() asks for it."""
        if self.depth is not None:
            self.depth.hold(header)

    def locate(self, instances: Instances, header: Header) -> list[Object3D]:
        """Find the places of instances.

        Raises:
            NoDepthYetError: there is no depth so short a time after the subscription.
            DepthError: there is no depth for this frame; the message says why.
        """
        if self.depth is None:
            raise DepthError('depth_topic and camera_info_topic are not set')
        depth = self.depth.at(header, instances.image_size)
        return locate(instances, depth.metres, depth.intrinsics)


def make_scenes(
    node: LifecycleNode, namespaces: Sequence[str], settings: NodeSettings, group: CallbackGroup
) -> list[Scene]:
    """Read what the settings say of each camera.

    Args:
        node: that subscribes to depth.
        namespaces: of the cameras.
        settings: of the node.
        group: in which depth is received.

    Raises:
        ValueError: a region, mask or number of them that cannot be used.
    """
    if bool(settings.depth_topic) != bool(settings.camera_info_topic):
        raise ValueError(
            f"depth_topic is '{settings.depth_topic}' and camera_info_topic "
            f"'{settings.camera_info_topic}': expected both or neither"
        )
    count = len(namespaces)
    rois = [parse_roi(text) for text in _of_each('roi', settings.roi, count)]
    masks = [
        read_ignore_mask(path) if path else None
        for path in _of_each('ignore_mask', settings.ignore_mask, count)
    ]
    return [
        Scene(True, roi, mask, _depth_input(node, namespace, settings, group))
        for roi, mask, namespace in zip(rois, masks, namespaces, strict=True)
    ]


def _of_each(name: str, values: Sequence[str], count: int) -> list[str]:
    """Return a value for each camera, '' where there is none."""
    if not values:
        return [''] * count
    if len(values) != count:
        raise ValueError(
            f'{name} has {len(values)} entries, and there are {count} cameras: expected one for '
            f"each, in the order of image_topics, '{NONE}' for a camera without"
        )
    return ['' if value == NONE else value for value in values]


def _depth_input(
    node: LifecycleNode, namespace: str, settings: NodeSettings, group: CallbackGroup
) -> DepthInput | None:
    if not settings.depth_topic:
        return None

    def full(topic: str) -> str:
        return topic if topic.startswith(('/', '~')) else f'{namespace}/{topic}'

    return DepthInput(
        node,
        full(settings.depth_topic),
        full(settings.camera_info_topic),
        settings.depth_tolerance,
        group,
    )


def parse_roi(text: str) -> Region | None:
    """Read a region of interest such as ``640x400+0+80``: width x height + x + y; empty is none.

    Raises:
        ValueError: another text.
    """
    if not text:
        return None
    match = _ROI.fullmatch(text.replace(' ', ''))
    if match is None:
        raise ValueError(
            f"roi has '{text}': expected width x height + x + y in pixels, such as 640x400+0+80"
        )
    width, height, x, y = (int(number) for number in match.groups())
    if min(width, height) < MIN_IMAGE_SIDE:
        raise ValueError(f"roi has '{text}': expected at least {MIN_IMAGE_SIDE} pixels a side")
    return Region(x, y, width, height)
