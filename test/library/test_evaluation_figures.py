# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Figures and mistakes of `instance-seg evaluate`, where each detection is known."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('faster_coco_eval', reason='instance_seg_ros[evaluate] is not installed')
from instance_seg_ros.evaluation.matching import precision_and_recall
from instance_seg_ros.evaluation.metrics import average_precision
from instance_seg_ros.evaluation.mistakes import mistakes_of
from instance_seg_ros.evaluation.reader import CocoPhoto
from instance_seg_ros.evaluation.run import Found, Run
from instance_seg_ros.evaluation.shapes import run_lengths_of_box
from instance_seg_ros.evaluation.truth import TrueObject, TruePhoto

SIZE = (100, 200)
CUP, FORK = 0, 1
NAMES = {CUP: 'cup', FORK: 'fork'}
A, B, C = (10, 10, 50, 50), (60, 10, 100, 50), (110, 10, 150, 90)


def annotated(*objects: tuple, counted: tuple[int, ...] = (CUP, FORK)) -> TruePhoto:
    """Return a photo with objects: class, x1, y1, x2, y2 and, for a crowd, True."""
    every = []
    for class_id, *box in objects:
        array = np.array(box[:4], np.float32)
        crowd = len(box) > 4
        every.append(TrueObject(class_id, array, run_lengths_of_box(array, SIZE), crowd))
    photo = CocoPhoto(1, 'a.png', Path('a.png'), SIZE)
    return TruePhoto(photo, every, frozenset(counted), frozenset(counted))


def run_of(*detections: tuple) -> Run:
    """Return what was found: class, score, x1, y1, x2, y2, the best first."""
    boxes = np.array([each[2:] for each in detections], np.float32).reshape(-1, 4)
    run = Run('exact', 'none', 'opencv')
    run.found[0] = Found(
        boxes,
        np.array([each[1] for each in detections], np.float32),
        np.array([each[0] for each in detections], np.int32),
        [run_lengths_of_box(box, SIZE) for box in boxes],
    )
    return run


@pytest.mark.parametrize(
    ('detections', 'expected'),
    [
        ([(CUP, 0.9, *A), (CUP, 0.8, *B)], (1.0, 1.0)),
        ([(CUP, 0.9, *A), (CUP, 0.8, *A)], (0.5, 0.5)),  # each object once
        ([(CUP, 0.9, *A), (CUP, 0.4, *B)], (1.0, 0.5)),  # below the score
        ([(CUP, 0.9, *A), (CUP, 0.5, *B)], (1.0, 1.0)),
        ([(FORK, 0.9, *A), (CUP, 0.8, *B)], (0.5, 0.5)),  # of another class
        ([(CUP, 0.9, *A), (CUP, 0.8, *C)], (0.5, 0.5)),
        ([], (None, 0.0)),
    ],
)
def test_precision_and_recall(detections: list, expected: tuple) -> None:
    photo = annotated((CUP, *A), (CUP, *B))
    assert precision_and_recall([photo], run_of(*detections), 0.5) == expected


def test_crowds_and_classes_that_are_not_counted_are_neither_right_nor_wrong() -> None:
    photo = annotated((CUP, *A), (CUP, *C, True), (FORK, *B), counted=(CUP,))
    inside = 115, 15, 145, 45
    run = run_of(
        (CUP, 0.9, *A), (CUP, 0.8, *inside), (CUP, 0.7, *inside), (FORK, 0.7, 0, 60, 40, 99)
    )
    assert precision_and_recall([photo], run, 0.5) == (1.0, 1.0)
    found = mistakes_of([photo], run, NAMES, 0.5)
    assert not found.false and not found.missed
    # A crowd of cups says nothing about forks.
    forks = annotated((CUP, *C, True), (FORK, *B))
    assert precision_and_recall([forks], run_of((FORK, 0.9, *inside)), 0.5) == (0.0, 0.0)


def test_why_a_detection_is_wrong() -> None:
    photo = annotated((CUP, *A), (FORK, *B))
    run = run_of(
        (CUP, 0.9, *A),
        (CUP, 0.8, 12, 10, 50, 50),
        (CUP, 0.7, *B),
        (CUP, 0.6, 30, 10, 70, 50),
        (CUP, 0.55, *C),
    )
    false = mistakes_of([photo], run, NAMES, 0.5).false
    assert [each.title for each in false] == ['cup 0.80', 'cup 0.70', 'cup 0.60', 'cup 0.55']
    assert [each.reason for each in false] == [
        'a second detection of one object (IoU 0.95)',
        'here is annotated: fork (IoU 1.00)',
        'the box fits badly (IoU 0.33)',
        'nothing of these classes is annotated here',
    ]
    assert false[-1].true is None and false[0].true.box.tolist() == list(A)


def test_why_an_object_is_missed() -> None:
    photo = annotated((CUP, *A), (FORK, *B), (CUP, *C), (CUP, 160, 10, 190, 40))
    run = run_of((CUP, 0.9, *B), (CUP, 0.8, 110, 10, 150, 45), (CUP, 0.3, *A))
    missed = mistakes_of([photo], run, NAMES, 0.5).missed
    assert [(each.title, each.reason) for each in missed] == [  # the largest first
        ('cup, 16 % of the photo', 'the box fits badly (IoU 0.44)'),
        ('cup, 8 % of the photo', 'found with a score of 0.30 only'),
        ('fork, 8 % of the photo', 'taken for cup 0.90'),
        ('cup, 4.5 % of the photo', 'nothing was found here'),
    ]
    assert missed[-1].found is None and missed[1].found.box.tolist() == list(A)


def test_the_worst_masks_come_first() -> None:
    photo = annotated((CUP, *A), (CUP, *B))
    run = run_of((CUP, 0.9, *A), (CUP, 0.8, 60, 10, 100, 40))
    masks = mistakes_of([photo], run, NAMES, 0.5).masks
    assert [each.reason for each in masks] == ['IoU of the masks 0.75', 'IoU of the masks 1.00']


def test_figures_at_several_ious() -> None:
    photo = annotated((CUP, *A), (FORK, *B))
    run = run_of((CUP, 0.9, 10, 10, 50, 40), (FORK, 0.8, *B))  # of the cup, three quarters
    figures = average_precision([photo], run, 'box')
    assert figures.totals['AP50'] == figures.totals['AP75'] == pytest.approx(1)
    assert figures.totals['AR'] == pytest.approx(0.8)
    cup = figures.classes[CUP]
    assert (cup.ap, cup.ap50) == pytest.approx((0.6, 1))
    assert cup.curve == pytest.approx(np.ones(101))
