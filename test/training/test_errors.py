# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a model does wrong is counted by kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros import Instances, Segmenter
from training.detector.dataset import Annotation, Photo
from training.detector.errors import as_table, count_errors, kinds_of_detections, kinds_of_objects
from training.detector.evaluate import evaluate

CAT, DOG = 0, 1
BOX = (100, 100, 200, 200)
SHIFTED = (150, 100, 250, 200)  # IoU 1/3
AWAY = (300, 300, 400, 400)


def thing(class_index: int, box: tuple[int, ...], ignore: bool = False) -> Annotation:
    return Annotation(class_index, np.array(box, np.float32), None, ignore)


def found(*detections: tuple[int, float, tuple[int, ...]]) -> Instances:
    classes, scores, boxes = zip(*detections, strict=True) if detections else ((), (), ())
    return Instances(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32),
        class_ids=np.array(classes, np.int32),
        class_names=['cat' if c == CAT else 'dog' for c in classes],
        rois=np.array(boxes, np.int32).reshape(-1, 4),
        masks=None,
        refined=np.zeros(len(classes), bool),
        image_size=(480, 640),
    )


@pytest.mark.parametrize(
    ('detections', 'kind'),
    [
        ([(CAT, 0.9, BOX)], 'found'),
        ([(CAT, 0.2, BOX)], 'unsure'),
        ([(CAT, 0.9, SHIFTED)], 'misplaced'),
        ([(DOG, 0.9, BOX)], 'other class'),
        ([(DOG, 0.9, SHIFTED)], 'missed'),
        ([(CAT, 0.9, AWAY)], 'missed'),
        ([(DOG, 0.9, BOX), (CAT, 0.3, BOX)], 'unsure'),
        ([], 'missed'),
    ],
)
def test_an_object_is_found_or_missed_in_one_way(detections: list, kind: str) -> None:
    assert kinds_of_objects(found(*detections), [thing(CAT, BOX)]) == [kind]


def test_every_detection_is_right_or_wrong_in_one_way() -> None:
    detections = found(
        (CAT, 0.9, BOX), (CAT, 0.8, BOX), (CAT, 0.7, SHIFTED), (DOG, 0.6, BOX), (DOG, 0.5, AWAY)
    )
    assert kinds_of_detections(detections, [thing(CAT, BOX)]) == [
        'found',
        'duplicate',
        'misplaced',
        'other class',
        'nothing there',
    ]


def test_what_lies_in_a_crowd_is_neither() -> None:
    detections = found((CAT, 0.9, BOX), (DOG, 0.8, BOX))
    crowd = [thing(CAT, (50, 50, 400, 400), ignore=True)]
    assert kinds_of_detections(detections, crowd) == ['', 'nothing there']


def test_errors_of_a_model_on_photos(tmp_path: Path) -> None:
    image = cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'grace_hopper.jpg'))
    cv2.imwrite(str(tmp_path / 'person.png'), image)
    size = image.shape[:2]
    person = thing(0, (5, 22, 512, 600))
    speck = thing(0, (2, 2, 12, 12))
    photo = Photo(1, tmp_path / 'person.png', size, [person, speck])
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none', confidence_threshold=0.05)
    objects, detections = count_errors(segmenter, [photo], ['person'], progress=False)
    assert objects['> 96 px'] == {'found': 1}
    assert objects['< 32 px'].total() == 1 and objects['< 32 px']['found'] == 0
    assert detections['found'] == 1
    assert '| > 96 px | 1 | 1 | 0 | 0 | 0 | 0 |' in as_table(objects, detections)


def test_classes_that_a_model_lacks_are_no_zeros(caplog: pytest.LogCaptureFixture) -> None:
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none', confidence_threshold=0.05)
    with pytest.raises(ValueError, match='classes cup: expected classes of the model, .* person'):
        evaluate(segmenter, [], ['cup'])
    evaluate(segmenter, [], ['person', 'cup'])
    assert 'the model has no class cup: its objects count as missed' in caplog.text
