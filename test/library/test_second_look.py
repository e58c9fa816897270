# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Models that look at every image twice."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from random_models import REPOSITORY

from instance_seg_ros import Segmenter
from instance_seg_ros.detection.net_loader import opencv_problem
from instance_seg_ros.detection.second_look import agreed_rows

SHIPPED = REPOSITORY / 'models' / 'person_mask_rcnn.yaml'


def rows(*found: tuple[int, float, tuple[float, float, float, float]]) -> np.ndarray:
    """Rows of class id, score and box."""
    listed = [(0, class_id, score, *box) for class_id, score, box in found]
    return np.array(listed, np.float32).reshape(-1, 7)


def test_an_object_of_both_looks_has_the_mean_score_and_a_box_in_between() -> None:
    first = rows((3, 0.9, (0.1, 0.1, 0.5, 0.5)))
    second = rows((3, 0.6, (0.1, 0.1, 0.55, 0.5)))
    found = agreed_rows(first, second)
    np.testing.assert_allclose(found, [[0, 3, 0.75, 0.1, 0.1, 0.52, 0.5]], atol=1e-6)


def test_what_one_look_alone_finds_loses_score_and_keeps_its_box() -> None:
    box = (0.25, 0.25, 0.5, 0.75)
    for look, (first, second) in enumerate(
        ((rows((1, 0.8, box)), rows()), (rows(), rows((1, 0.8, box))))
    ):
        (found,) = agreed_rows(first, second)
        assert found[0] == look and 0.4 < found[2] < 0.8
        assert tuple(found[3:]) == box


def test_that_the_other_look_saw_it_badly_takes_no_more_than_that_it_did_not() -> None:
    found = rows((1, 0.9, (0.1, 0.1, 0.5, 0.5)))
    alone, beside = (
        agreed_rows(found, other) for other in (rows(), rows((1, 0.1, (0.1, 0.1, 0.5, 0.5))))
    )
    assert alone[0, 2] == beside[0, 2]


def test_another_class_is_another_object() -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    found = agreed_rows(rows((1, 0.8, box)), rows((2, 0.6, box)))
    assert found[:, 1].tolist() == [1, 2]
    assert found[0, 2] < 0.8


def test_what_both_looks_see_comes_before_what_one_sees_more_clearly() -> None:
    here, there = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)
    found = agreed_rows(rows((1, 0.9, here), (1, 0.8, there)), rows((1, 0.7, there)))
    assert found[:, 3].tolist() == pytest.approx([0.6, 0.1])


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """Manifest of the person model with a second look."""
    content = yaml.safe_load(SHIPPED.read_text()) | {'second_look': 0.7}
    for role in ('weights', 'text_graph', 'labels'):
        content[role] = str(SHIPPED.parent / content[role])
    path = tmp_path / 'twice.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


def load(manifest: Path, **settings: object) -> Segmenter:
    return Segmenter(model=str(manifest), refiner='none', **settings)  # type: ignore[arg-type]


@pytest.mark.skipif(bool(opencv_problem()), reason=opencv_problem())
def test_a_second_look_sees_the_same_person_in_both_engines(twice: Path, photo: np.ndarray) -> None:
    pytest.importorskip('onnxruntime', reason='the second engine')
    once = load(SHIPPED)(photo)
    ours, theirs = (load(twice, engine=engine)(photo) for engine in ('onnxruntime', 'opencv'))
    assert once.class_names == ours.class_names == theirs.class_names == ['person']
    assert once.scores[0] != pytest.approx(ours.scores[0], abs=1e-3)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.1)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
    for a, b in zip(ours.masks or [], theirs.masks or [], strict=True):
        assert (a != b).mean() < 1e-3
        assert a.mean() > 0.3


def test_presets_look_once(twice: Path, photo: np.ndarray) -> None:
    fast = load(twice, speed_preset='fast')(photo)
    np.testing.assert_array_equal(fast.scores, load(SHIPPED, speed_preset='fast')(photo).scores)
