# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The settings that only the node has: topics, quality of service, diagnostics.

As ``instance_seg_ros.settings``, and with the same imports: nothing of ROS, so that launch files
and tools/generate.py can read them. After a change run ``make generate``.
"""

from __future__ import annotations

from dataclasses import dataclass

from instance_seg_ros.schema import Applies, Group, Setting, check_settings, setting, settings_of
from instance_seg_ros.settings import ModelSettings, Settings

RAW, COMPRESSED = 'raw', 'compressed'
MONO8, RLE = 'mono8', 'rle'
MASK_ENCODINGS = (MONO8, RLE)
RELIABILITIES = ('best_effort', 'reliable')


@dataclass(frozen=True)
class NodeSettings:
    """What the node does with images and results."""

    image_topics: tuple[str, ...] = setting(
        (),
        'Topics of several cameras, each in its own namespace, such as /front/image_raw: they take '
        'turns with the model, and each has its outputs in its namespace, such as '
        '/front/instance_seg/detections; empty: one camera, on the topic image',
        Group.CAMERAS,
        applies=Applies.AT_CONFIGURE,
    )
    image_transport: str = setting(
        RAW,
        'raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage on TOPIC/compressed',
        Group.CAMERAS,
        choices=(RAW, COMPRESSED),
        applies=Applies.AT_CONFIGURE,
    )
    input_reliability: str = setting(
        'best_effort',
        'Reliability of the subscription to images; best_effort matches every camera, reliable '
        'only a reliable one; qos_overrides.TOPIC.subscription.* change the rest',
        Group.CAMERAS,
        choices=RELIABILITIES,
        applies=Applies.AT_CONFIGURE,
    )
    input_depth: int = setting(
        1,
        'Images that the subscription keeps until the node takes them; only the newest is used',
        Group.CAMERAS,
        limits=(1, 100),
        applies=Applies.AT_CONFIGURE,
    )
    max_rate: float = setting(
        0.0,
        'Highest rate at which images of each camera are segmented; others are dropped',
        Group.CAMERAS,
        unit='Hz',
        limits=(0, 1000),
        zero='as fast as possible',
    )
    roi: tuple[str, ...] = setting(
        (),
        'Part of the image that is segmented, width x height + x + y in pixels such as '
        '640x400+0+80, one for each of image_topics in order, none for the whole image; results '
        'are still in pixels of the whole image',
        Group.CAMERAS,
        applies=Applies.AT_CONFIGURE,
    )
    ignore_mask: tuple[str, ...] = setting(
        (),
        'Paths of PNG images, white where pixels are ignored, such as on the robot itself, one for '
        'each of image_topics in order, none for no mask: instances that are mostly there are '
        'dropped, masks are cut',
        Group.CAMERAS,
        applies=Applies.AT_CONFIGURE,
    )
    tracking: bool = setting(
        False,
        'Give each object an id that lasts from image to image, in the messages and the debug '
        'image',
        Group.TRACKING,
    )
    track_max_age: float = setting(
        2.0,
        'An object that is not seen for longer than this loses its id',
        Group.TRACKING,
        unit='seconds',
        limits=(0.01, 3600),
    )
    depth_topic: str = setting(
        '',
        'Depth images that are registered to the camera images, for detections_3d and objects; a '
        "name without a slash in front is in each camera's namespace; empty: no depth",
        Group.DEPTH,
        applies=Applies.AT_CONFIGURE,
    )
    camera_info_topic: str = setting(
        '',
        'Camera info of the depth images, named in the same way',
        Group.DEPTH,
        applies=Applies.AT_CONFIGURE,
    )
    depth_tolerance: float = setting(
        0.05,
        'Largest difference between the stamps of an image and its depth image',
        Group.DEPTH,
        unit='seconds',
        limits=(0, 10),
        applies=Applies.AT_CONFIGURE,
    )
    mask_encoding: str = setting(
        MONO8,
        'How instance_masks carries masks: mono8 (one crop per instance) or rle (run lengths, '
        'about 30 times smaller)',
        Group.OUTPUTS,
        choices=MASK_ENCODINGS,
    )
    jpeg_quality: int = setting(
        90, 'Quality of debug_image/compressed', Group.OUTPUTS, unit='per cent', limits=(1, 100)
    )
    output_reliability: str = setting(
        'reliable',
        'Reliability of all outputs; reliable matches every subscriber, best_effort does not '
        'repeat lost messages; qos_overrides.TOPIC.publisher.* change the rest',
        Group.OUTPUTS,
        choices=RELIABILITIES,
        applies=Applies.AT_CONFIGURE,
    )
    output_depth: int = setting(
        5,
        'Messages that each output keeps for slow subscribers',
        Group.OUTPUTS,
        limits=(1, 1000),
        applies=Applies.AT_CONFIGURE,
    )
    image_timeout: float = setting(
        5.0,
        'Without images for this long, the log and the diagnostics say why',
        Group.DIAGNOSTICS,
        unit='seconds',
        limits=(0.1, 3600),
    )
    processed_rate_warn: float = setting(
        0.0,
        'The diagnostics warn below this rate of processed images, where somebody subscribes',
        Group.DIAGNOSTICS,
        unit='Hz',
        limits=(0, 1000),
        zero='never',
    )
    processed_rate_error: float = setting(
        0.0,
        'The diagnostics report an error below this rate of processed images, where somebody '
        'subscribes',
        Group.DIAGNOSTICS,
        unit='Hz',
        limits=(0, 1000),
        zero='never',
    )
    age_warn: float = setting(
        0.0,
        'The diagnostics warn above this mean age of an image when its results are published',
        Group.DIAGNOSTICS,
        unit='seconds',
        limits=(0, 3600),
        zero='never',
    )
    age_error: float = setting(
        0.0,
        'The diagnostics report an error above this mean age of an image when its results are '
        'published',
        Group.DIAGNOSTICS,
        unit='seconds',
        limits=(0, 3600),
        zero='never',
    )
    autostart: bool = setting(
        True,
        'Configure and activate at start; false leaves that to a lifecycle manager (of '
        "Nav2's set bond_timeout: 0.0, because nodes in Python make no bond)",
        Group.LIFECYCLE,
        applies=Applies.AT_START,
    )

    def __post_init__(self) -> None:
        """Check all values; raises ValueError with the name, the value and what was expected."""
        check_settings(self)


# Of every node: declared by rclpy, and an argument of the launch files.
USE_SIM_TIME = Setting(
    'use_sim_time',
    False,
    'bool',
    'Take the time from /clock, as in a simulation or with a bag',
    Group.LIFECYCLE,
)


def all_settings() -> tuple[Setting, ...]:
    """Return the settings of the library and of the node, those of a group together."""
    return settings_of(ModelSettings, Settings, NodeSettings)
