# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Models and photos that the library's tests share."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import COCO_LABELS, REPOSITORY, SHEEP, STOP_SIGN, write_manifest, write_model

from instance_seg_ros import Segmenter


@pytest.fixture(autouse=True)
def no_models_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('INSTANCE_SEG_ROS_MODELS', raising=False)


@pytest.fixture(scope='session')
def photo() -> np.ndarray:
    """A photo with a person, 512 x 512."""
    return cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'))


@pytest.fixture(scope='session')
def coco_names() -> list[str]:
    """The lines of COCO's label file: 90, gaps included."""
    return COCO_LABELS.read_text().splitlines()


@pytest.fixture(scope='session')
def small_model(tmp_path_factory: pytest.TempPathFactory, coco_names: list[str]) -> Path:
    """Manifest of a thin model of COCO's 90 class ids that finds stop signs and sheep."""
    folder = tmp_path_factory.mktemp('small')
    write_model(folder, 0.125, 90, {STOP_SIGN + 1: 5.0, SHEEP + 1: 4.0})
    return write_manifest(folder, coco_names)


@pytest.fixture(scope='session')
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a model of three classes."""
    folder = tmp_path_factory.mktemp('other')
    write_model(folder, 0.125, 3)
    return write_manifest(folder, ['cup', 'fork', 'plate'])


@pytest.fixture(scope='session')
def full_size_model(tmp_path_factory: pytest.TempPathFactory, coco_names: list[str]) -> Path:
    """Manifest of a model of the published one's size: 67 MB."""
    folder = tmp_path_factory.mktemp('full')
    # Its weights prefer number 67, which is a gap; without that it finds several classes.
    write_model(folder, 1.0, 90, {67 + 1: -30.0})
    return write_manifest(folder, coco_names)


@pytest.fixture(scope='session')
def half_size_model(tmp_path_factory: pytest.TempPathFactory, coco_names: list[str]) -> Path:
    """Manifest of a model of half the published one's channels, a quarter of its work: 17 MB."""
    folder = tmp_path_factory.mktemp('half')
    write_model(folder, 0.5, 90, {67 + 1: -30.0})
    return write_manifest(folder, coco_names)


@pytest.fixture
def segmenter(small_model: Path) -> Segmenter:
    """A Segmenter that finds several instances in any image."""
    return Segmenter(model=str(small_model), refiner='none', confidence_threshold=0.3)
