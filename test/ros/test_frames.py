# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A frame's way from the image message to the output messages."""

import numpy as np
import pytest
from std_msgs.msg import Header

from instance_seg_ros.ros.frames import (
    DEBUG_JPEG,
    DETECTIONS_3D,
    OBJECTS,
    OUTPUTS,
    Frame,
    NodeConfiguration,
    decode,
    detect,
    output_messages,
)
from instance_seg_ros.ros.image_codec import to_message
from instance_seg_ros.ros.scene import Scene
from instance_seg_ros.ros.settings import NodeSettings
from instance_seg_ros.segmenter import Segmenter

WITHOUT_DEPTH = frozenset(OUTPUTS) - {DETECTIONS_3D, OBJECTS}


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter(refiner='none')


@pytest.fixture
def frame(segmenter: Segmenter, photo: np.ndarray) -> Frame:
    message = to_message(photo, 'bgr8', Header(frame_id='camera'))
    configuration = NodeConfiguration(
        **vars(segmenter.configuration), node=NodeSettings(mask_encoding='rle', jpeg_quality=80)
    )
    return Frame(message, WITHOUT_DEPTH, configuration, Scene())


def test_a_picture_that_is_too_wide_for_a_jpeg_is_all_that_is_left_out(
    segmenter: Segmenter, frame: Frame
) -> None:
    frame.message = to_message(np.full((40, 66000, 3), 99, np.uint8), 'bgr8', Header())
    decode(frame)
    detect(frame, segmenter)
    outputs = dict(output_messages(frame, segmenter))
    assert set(outputs) == WITHOUT_DEPTH - {DEBUG_JPEG}
    (problem,) = frame.problems
    assert '66000x40 pixels do not fit into a JPEG' in problem


def test_boxes_are_sent_before_masks_are_computed_and_pictures_last(
    segmenter: Segmenter, frame: Frame
) -> None:
    decode(frame)
    detect(frame, segmenter)
    messages = output_messages(frame, segmenter)
    name, detections = next(messages)
    assert name == 'detections'
    assert len(detections.detections) > 0
    assert 'masks' not in frame.timings
    others = dict(messages)
    assert [name, *others] == [name for name in OUTPUTS if name in WITHOUT_DEPTH]
    assert frame.timings['masks'] > 0
    masks = others['instance_masks'].masks
    assert [(m.class_id, m.score) for m in masks] == [
        (d.results[0].hypothesis.class_id, d.results[0].hypothesis.score)
        for d in detections.detections
    ]
