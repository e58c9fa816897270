# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The trainer is not installed: its packages are imported from the repository."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_data import ToyData, write_toy_data

REPOSITORY = Path(__file__).resolve().parents[2]
# Behind everything else, so that the built instance_seg_ros is the one that is found.
sys.path.append(str(REPOSITORY))

pytest.importorskip('tensorboard', reason='it has the schema of the graphs that are written')


@pytest.fixture(scope='session')
def photo() -> np.ndarray:
    """A real photo with a person, uint8 BGR (320, 320, 3)."""
    image = cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'))
    return cv2.resize(image, (320, 320), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope='session')
def published_text_graph() -> Path:
    """The published text graph, where it is at hand."""
    path = os.environ.get('INSTANCE_SEG_ROS_TEXT_GRAPH', '')
    if not path:
        pytest.skip('INSTANCE_SEG_ROS_TEXT_GRAPH does not name the published text graph')
    return Path(path)


@pytest.fixture(scope='session')
def teacher_folder() -> Path:
    """Folder of yolox-nano.param and .bin, which are not part of the repository."""
    folder = Path(os.environ.get('INSTANCE_SEG_ROS_TEACHER', REPOSITORY.parent / 'shared/teacher'))
    if not (folder / 'yolox-nano.bin').is_file():
        pytest.skip(f'the teacher is not part of the repository: no yolox-nano.bin in {folder}')
    return folder


@pytest.fixture
def toy_data(tmp_path: Path) -> ToyData:
    """A data set of 8 images, each with one "box" in the middle."""
    return write_toy_data(tmp_path / 'data')
