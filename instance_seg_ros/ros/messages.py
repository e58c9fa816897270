# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instances to messages: pure functions.

Messages are built through their constructors, and byte fields from array.array: assigned later or
from a list, rclpy checks them element by element.
"""

import array

import numpy as np
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
)

from instance_seg_ros.instances import Instances
from instance_seg_ros.msg import InstanceMask, InstanceMaskArray
from instance_seg_ros.ros.image_codec import to_message
from instance_seg_ros.ros.settings import MASK_ENCODINGS, RLE
from instance_seg_ros.run_lengths import run_lengths


def to_detections(instances: Instances, header: Header) -> Detection2DArray:
    """Convert the boxes.

    Args:
        instances: what was found; boxes in pixels of the source image.
        header: of the source image; every message gets it unchanged.

    Returns:
        One detection per instance, in the same order: centre and size in source pixels, the class
        id as text, and the track id as text, which is empty where nothing is tracked.
    """
    return Detection2DArray(
        header=header,
        detections=[_detection(instances, index, header) for index in range(len(instances))],
    )


def to_instance_masks(
    instances: Instances, header: Header, mask_encoding: str
) -> InstanceMaskArray:
    """Convert the masks.

    Args:
        instances: what was found, with masks.
        header: of the source image; every message gets it unchanged.
        mask_encoding: one of MASK_ENCODINGS.

    Returns:
        One mask per instance, in the order of to_detections.

    Raises:
        ValueError: if the instances have no masks, or for another mask_encoding.
    """
    if mask_encoding not in MASK_ENCODINGS:
        raise ValueError(
            f"mask_encoding is '{mask_encoding}', expected one of {', '.join(MASK_ENCODINGS)}"
        )
    if instances.masks is None:
        raise ValueError('the instances have no masks: run the segmenter with masks=True')
    height, width = instances.image_size
    return InstanceMaskArray(
        header=header,
        image_height=height,
        image_width=width,
        masks=[
            _instance_mask(instances, index, mask, header, mask_encoding)
            for index, mask in enumerate(instances.masks)
        ],
    )


def to_label_image(instances: Instances, header: Header) -> Image:
    """Convert the masks to one image.

    Args:
        instances: what was found, with masks.
        header: of the source image, taken unchanged.

    Returns:
        A mono16 image of the size of the source image: 0 is background, other values are the index
        of the instance plus 1; where masks overlap, the instance with the best score is on top.
    """
    return to_message(instances.label_image(), 'mono16', header)


def rle_counts(mask: np.ndarray) -> 'array.array[int]':
    """Encode a mask as the uncompressed run-length encoding of COCO.

    Args:
        mask: (height, width), zero outside of the object and non-zero inside.

    Returns:
        Lengths of the runs, column by column, zeros first; the first is 0 where the mask starts
        with the object. Their sum is height * width.
    """
    counts = array.array('I')
    counts.frombytes(run_lengths(mask).tobytes())
    return counts


def hypothesis_of(instances: Instances, index: int) -> ObjectHypothesisWithPose:
    """Return class id, as text, and score of an instance."""
    return ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(
            class_id=str(int(instances.class_ids[index])), score=float(instances.scores[index])
        )
    )


def id_text(instances: Instances, index: int) -> str:
    """Return the track id of an instance as text; empty where nothing tracks it."""
    return '' if instances.track_ids is None else str(int(instances.track_ids[index]))


def to_class_image(instances: Instances, header: Header) -> Image:
    """Convert the masks to one image of classes.

    Args:
        instances: what was found, with masks.
        header: of the source image, taken unchanged.

    Returns:
        A mono8 image of the size of the source image: 0 is background, else the class id + 1; where
        masks overlap, the best score is on top.
    """
    return to_message(instances.class_image(), 'mono8', header)


def to_confidence_image(instances: Instances, header: Header) -> Image:
    """Convert the masks to one image of scores, mono8: 255 is a score of 1, 0 background."""
    return to_message(instances.confidence_image(), 'mono8', header)


def _detection(instances: Instances, index: int, header: Header) -> Detection2D:
    x1, y1, x2, y2 = (float(value) for value in instances.boxes[index])
    return Detection2D(
        header=header,
        results=[hypothesis_of(instances, index)],
        id=id_text(instances, index),
        bbox=BoundingBox2D(
            center=Pose2D(position=Point2D(x=(x1 + x2) / 2, y=(y1 + y2) / 2)),
            size_x=x2 - x1,
            size_y=y2 - y1,
        ),
    )


def _instance_mask(
    instances: Instances, index: int, mask: np.ndarray, header: Header, mask_encoding: str
) -> InstanceMask:
    x, y, width, height = (int(value) for value in instances.rois[index])
    if mask_encoding == RLE:
        content = {'encoding': InstanceMask.RLE_CROP, 'rle_counts': rle_counts(mask)}
    else:
        pixels = np.where(mask != 0, np.uint8(255), np.uint8(0))
        content = {'encoding': InstanceMask.MONO8_CROP, 'mask': to_message(pixels, 'mono8', header)}
    return InstanceMask(
        detection_index=index,
        id=id_text(instances, index),
        class_id=str(int(instances.class_ids[index])),
        class_name=instances.class_names[index],
        score=float(instances.scores[index]),
        roi=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        refined=bool(instances.refined[index]),
        **content,
    )
