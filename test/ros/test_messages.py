# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instances become messages without loss."""

import array
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from ros_harness import decode_mask, pixels_of
from std_msgs.msg import Header

from instance_seg_ros.instances import Instances
from instance_seg_ros.messages import (
    mask_from_message,
    mask_from_rle_counts,
    masks_from_array,
    to_supervision,
)
from instance_seg_ros.msg import InstanceMask
from instance_seg_ros.ros.messages import (
    rle_counts,
    to_detections,
    to_instance_masks,
    to_label_image,
)

HEADER = Header(frame_id='camera')
HEADER.stamp.sec, HEADER.stamp.nanosec = 12, 34


@pytest.fixture
def instances() -> Instances:
    rng = np.random.default_rng(2)
    return Instances(
        boxes=np.array([[2.5, 3.0, 10.5, 9.0], [0.0, 0.0, 4.0, 20.0]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        class_ids=np.array([17, 0], np.int32),
        class_names=['dog', 'person'],
        rois=np.array([[2, 3, 9, 6], [0, 0, 4, 20]], np.int32),
        masks=[rng.integers(0, 2, (6, 9)).astype(np.uint8), np.ones((20, 4), np.uint8)],
        refined=np.array([True, False]),
        image_size=(20, 30),
    )


def test_detections(instances: Instances) -> None:
    message = to_detections(instances, HEADER)
    assert message.header == HEADER
    first, second = message.detections
    assert first.header == second.header == HEADER
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (6.5, 6.0)
    assert (first.bbox.size_x, first.bbox.size_y, first.bbox.center.theta) == (8.0, 6.0, 0.0)
    assert [result.hypothesis.class_id for result in first.results] == ['17']
    assert [result.hypothesis.class_id for result in second.results] == ['0']
    assert first.results[0].hypothesis.score == pytest.approx(0.75)
    assert first.id == second.id == ''


@pytest.mark.parametrize('encoding', ['mono8', 'rle'])
def test_masks_survive(encoding: str, instances: Instances) -> None:
    message = to_instance_masks(instances, HEADER, encoding)
    assert message.header == HEADER
    assert (message.image_height, message.image_width) == (20, 30)
    assert [mask.detection_index for mask in message.masks] == [0, 1]
    assert [mask.class_name for mask in message.masks] == ['dog', 'person']
    assert [mask.class_id for mask in message.masks] == ['17', '0']
    assert [mask.refined for mask in message.masks] == [True, False]
    assert [mask.score for mask in message.masks] == [0.75, 0.5]
    roi = message.masks[0].roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (2, 3, 9, 6)
    for mask, expected in zip(message.masks, instances.masks, strict=True):
        np.testing.assert_array_equal(decode_mask(mask), expected == 1)


def test_only_one_encoding_is_filled(instances: Instances) -> None:
    mono8 = to_instance_masks(instances, HEADER, 'mono8').masks[0]
    assert (mono8.encoding, len(mono8.rle_counts)) == (InstanceMask.MONO8_CROP, 0)
    assert (mono8.mask.encoding, mono8.mask.header) == ('mono8', HEADER)
    rle = to_instance_masks(instances, HEADER, 'rle').masks[0]
    assert (rle.encoding, len(rle.mask.data)) == (InstanceMask.RLE_CROP, 0)


@pytest.mark.parametrize(
    'mask',
    [
        np.zeros((3, 5), np.uint8),
        np.ones((3, 5), np.uint8),
        np.eye(7, dtype=np.uint8),
        np.ones((1, 1), np.uint8),
        np.zeros((0, 4), np.uint8),
        (np.random.default_rng(3).random((33, 21)) > 0.5).astype(np.uint8),
    ],
)
def test_run_lengths_are_those_of_coco(mask: np.ndarray) -> None:
    counts = rle_counts(mask)
    assert counts.typecode == 'I'
    assert sum(counts) == mask.size
    if mask.size:
        uncompressed = {'counts': list(counts), 'size': list(mask.shape)}
        decoded = coco_mask.decode(coco_mask.frPyObjects(uncompressed, *mask.shape))
        np.testing.assert_array_equal(decoded, mask)


def test_run_lengths_by_hand() -> None:
    assert rle_counts(np.array([[1, 0], [1, 1]])) == array.array('I', [0, 2, 1, 1])
    assert rle_counts(np.array([[0, 1], [0, 1]])) == array.array('I', [2, 2])


def test_label_image(instances: Instances) -> None:
    message = to_label_image(instances, HEADER)
    assert (message.header, message.encoding) == (HEADER, 'mono16')
    np.testing.assert_array_equal(pixels_of(message), instances.label_image())


def test_an_empty_frame_gives_empty_messages() -> None:
    empty = Instances.empty((20, 30))
    assert to_detections(empty, HEADER).detections == []
    masks = to_instance_masks(empty, HEADER, 'rle')
    assert (list(masks.masks), masks.image_height, masks.image_width) == ([], 20, 30)
    assert not pixels_of(to_label_image(empty, HEADER)).any()


def test_what_cannot_be_converted_is_reported(instances: Instances) -> None:
    with pytest.raises(ValueError, match="'png'.*mono8, rle"):
        to_instance_masks(instances, HEADER, 'png')
    instances.masks = None
    with pytest.raises(ValueError, match='masks=True'):
        to_instance_masks(instances, HEADER, 'rle')


@pytest.mark.parametrize('encoding', ['mono8', 'rle'])
def test_masks_are_rebuilt_from_messages(encoding: str, instances: Instances) -> None:
    message = to_instance_masks(instances, HEADER, encoding)
    size = (message.image_height, message.image_width)
    for i, mask in enumerate(message.masks):
        cropped = mask_from_message(mask)
        assert cropped.dtype == np.uint8 and (cropped == instances.masks[i]).all()
        assert (mask_from_message(mask, size) == instances.full_mask(i)).all()


def test_rows_of_a_mask_may_have_padding(instances: Instances) -> None:
    mask = to_instance_masks(instances, HEADER, 'mono8').masks[0]
    rows = np.frombuffer(mask.mask.data, np.uint8).reshape(6, 9)
    mask.mask.data = np.pad(rows, ((0, 0), (0, 7)), constant_values=255).tobytes()
    mask.mask.step = 16
    assert (mask_from_message(mask) == instances.masks[0]).all()


def test_a_mask_that_does_not_fit_its_roi_is_refused(instances: Instances) -> None:
    mono8 = to_instance_masks(instances, HEADER, 'mono8').masks[0]
    rle = to_instance_masks(instances, HEADER, 'rle').masks[0]
    with pytest.raises(ValueError, match='9 x 6 at .2, 3.: it does not lie inside an image of 10'):
        mask_from_message(mono8, (20, 10))
    mono8.roi.width = rle.roi.width = 8
    with pytest.raises(ValueError, match="expected 'mono8' of the roi's 8 x 6"):
        mask_from_message(mono8)
    with pytest.raises(ValueError, match='rle_counts add up to 54, expected 48 for a roi of 8 x 6'):
        mask_from_message(rle)
    rle.encoding = 7
    with pytest.raises(ValueError, match='encoding is 7, expected MONO8_CROP'):
        mask_from_message(rle)


@pytest.mark.parametrize('mask', [np.eye(3), np.zeros((2, 5)), np.ones((4, 1))])
def test_run_lengths_are_decoded(mask: np.ndarray) -> None:
    assert (mask_from_rle_counts(rle_counts(mask), *mask.shape) == mask).all()


@pytest.mark.parametrize('encoding', ['mono8', 'rle'])
def test_all_masks_of_an_array_over_the_image(encoding: str, instances: Instances) -> None:
    masks = masks_from_array(to_instance_masks(instances, HEADER, encoding))
    assert masks.shape == (2, 20, 30) and masks.dtype == np.uint8
    for i, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, instances.full_mask(i))
    nothing = to_instance_masks(Instances.empty((20, 30)), HEADER, encoding)
    assert masks_from_array(nothing).shape == (0, 20, 30)


def test_to_supervision(instances: Instances) -> None:
    pytest.importorskip('supervision', reason='to_supervision needs it')
    plain = to_supervision(to_instance_masks(instances, HEADER, 'rle'))
    assert plain.class_id.tolist() == [17, 0] and plain.tracker_id is None
    assert plain.data['class_name'].tolist() == ['dog', 'person']
    np.testing.assert_allclose(plain.confidence, [0.75, 0.5])
    assert plain.xyxy.tolist() == [[2, 3, 11, 9], [0, 0, 4, 20]]
    np.testing.assert_array_equal(plain.mask[0], instances.full_mask(0) > 0)
    instances.track_ids = np.array([4, 9])
    tracked = to_supervision(to_instance_masks(instances, HEADER, 'mono8'))
    assert tracked.tracker_id.tolist() == [4, 9]
    assert len(to_supervision(to_instance_masks(instances[[]], HEADER, 'mono8'))) == 0


def test_without_supervision_the_message_says_what_to_install(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match='pip install supervision'):
        to_supervision(to_instance_masks(instances, HEADER, 'rle'))
