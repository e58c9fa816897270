# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Thresholds of single classes, small boxes, and the images of classes and scores."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import Segmenter
from instance_seg_ros.instances import Instances

PHOTO = Path(__file__).resolve().parents[2] / 'demo' / 'photos' / 'astronaut.jpg'


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter(model='person_mask_rcnn', refiner='none')


@pytest.fixture(scope='module')
def photo() -> np.ndarray:
    return cv2.imread(str(PHOTO))


def test_a_class_has_a_threshold_of_its_own(segmenter: Segmenter, photo: np.ndarray) -> None:
    segmenter.update(confidence_threshold=0.5, class_thresholds=[])
    score = float(segmenter(photo).scores[0])
    segmenter.update(class_thresholds=[f'person:{score + 0.01}'])
    assert len(segmenter(photo)) == 0
    segmenter.update(class_thresholds=[f'person:{score - 0.01}'], confidence_threshold=1.0)
    assert len(segmenter(photo)) == 1
    segmenter.update(class_thresholds=[], confidence_threshold=0.5)


@pytest.mark.parametrize(
    'text', ['person', 'person:', 'person:2', 'person:-1', ':0.5', 'person:nan']
)
def test_a_wrong_class_threshold_is_named(segmenter: Segmenter, text: str) -> None:
    with pytest.raises(ValueError, match='class_thresholds has .*expected a class name, a colon'):
        segmenter.update(class_thresholds=[text])
    assert segmenter.class_thresholds == ()


def test_an_unknown_class_in_the_thresholds_is_named(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="class_thresholds: the model has no class 'parson'"):
        segmenter.update(class_thresholds=['parson:0.5'])


def test_small_boxes_are_dropped(segmenter: Segmenter, photo: np.ndarray) -> None:
    area = float(np.prod(segmenter(photo).boxes[0, 2:] - segmenter(photo).boxes[0, :2]))
    segmenter.min_area = int(area) + 2
    assert len(segmenter(photo)) == 0
    segmenter.min_area = int(area) - 2
    assert len(segmenter(photo)) == 1
    segmenter.min_area = 0


def two_things() -> Instances:
    return Instances(
        np.array([[0, 0, 4, 4], [2, 2, 6, 6]], np.float32),
        np.array([0.9, 0.5], np.float32),
        np.array([0, 7], np.int32),
        ['person', 'truck'],
        np.array([[0, 0, 4, 4], [2, 2, 4, 4]], np.int32),
        [np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8)],
        np.zeros(2, bool),
        (8, 8),
    )


def test_a_class_image_tells_class_0_from_background() -> None:
    image = two_things().class_image()
    assert image.dtype == np.uint8
    assert image[0, 0] == 1 and image[5, 5] == 8 and image[7, 7] == 0
    assert image[3, 3] == 1  # the better score is on top


def test_a_class_id_above_254_is_named() -> None:
    instances = two_things()
    instances.class_ids[1] = 255
    with pytest.raises(ValueError, match='class id 255: expected at most 254'):
        instances.class_image()


def test_a_confidence_image_has_the_scores() -> None:
    image = two_things().confidence_image()
    assert image[0, 0] == 230 and image[5, 5] == 128 and image[7, 7] == 0
