# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training runs of the refiner on toy data: they learn, resume exactly, and export."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

from instance_seg_ros.refinement.refiner import MaskRefiner

pytest.importorskip('torch', reason='the trainer needs PyTorch')
pytest.importorskip('onnx', reason='the refiner is exported by it')
onnxruntime = pytest.importorskip('onnxruntime', reason='it runs the refiner')


def run(command: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', 'training.refiner', command, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def options(data: ToyData, output: Path, *more: str) -> list[str]:
    return [
        '--data',
        str(data.annotations),
        str(data.images),
        '--hold-out',
        '0:0',
        '--output',
        str(output),
        '--batch-size',
        '2',
        '--workers',
        '0',
        '--threads',
        '1',
        *more,
    ]


def exported(folder: Path) -> bytes:
    done = run('export', '--run', folder, '--output', folder / 'refiner.onnx')
    assert done.returncode == 0, done.stderr
    return (folder / 'refiner.onnx').read_bytes()


def test_a_run_ends_as_a_model_of_the_contract(toy_data: ToyData, tmp_path: Path) -> None:
    done = run('train', *options(toy_data, tmp_path / 'run', '--steps', '51'))
    assert done.returncode == 0, done.stderr
    with (tmp_path / 'run' / 'curve.csv').open() as file:
        [row] = csv.DictReader(file)
    assert row['step'] == '50' and float(row['mask']) > 0
    assert float(row['discriminator']) > 0  # from 60 % of the run on
    session = onnxruntime.InferenceSession(exported(tmp_path / 'run'))
    assert [(i.name, len(i.shape)) for i in session.get_inputs()] == [('image', 4), ('coarse', 4)]
    assert session.get_modelmeta().custom_metadata_map == {
        'context': '0.25',
        'passes': '128,256',
        'threshold': '0.5',
        'version': '1',
    }
    for count, height, width in ((1, 128, 128), (3, 32, 48)):
        (alpha,) = session.run(
            None,
            {
                'image': np.zeros((count, 3, height, width), np.float32),
                'coarse': np.zeros((count, 1, height, width), np.float32),
            },
        )
        assert alpha.shape == (count, 1, height, width) and 0 <= alpha.min() <= alpha.max() <= 1


def test_a_resumed_run_ends_as_an_uninterrupted_one(toy_data: ToyData, tmp_path: Path) -> None:
    arguments = ('--steps', '12', '--checkpoint-minutes', '0', '--adversarial-from', '0.2')
    whole = run('train', *options(toy_data, tmp_path / 'whole', *arguments))
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'training.refiner',
            'train',
            *options(toy_data, tmp_path / 'parts', *arguments),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / 'parts' / 'checkpoint.pt'
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)  # as Ctrl-C does
    _, errors = process.communicate()
    assert process.returncode == 130 and 'the same command resumes' in errors
    resumed = run('train', *options(toy_data, tmp_path / 'parts', *arguments))
    assert resumed.returncode == 0, resumed.stderr
    assert 'resumed' in resumed.stderr
    assert exported(tmp_path / 'parts') == exported(tmp_path / 'whole')


def test_a_run_starts_from_another(toy_data: ToyData, tmp_path: Path) -> None:
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert run('train', *options(toy_data, first, '--steps', '2')).returncode == 0
    done = run(
        'train',
        *options(toy_data, second, '--steps', '1', '--init', str(first), '--adversarial-from', '1'),
    )
    assert done.returncode == 0, done.stderr
    assert exported(second) != exported(first)


def test_the_threshold_reaches_the_node(toy_data: ToyData, tmp_path: Path) -> None:
    assert run('train', *options(toy_data, tmp_path, '--steps', '1')).returncode == 0
    export = ('export', '--run', tmp_path, '--output', tmp_path / 'refiner.onnx', '--threshold')
    done = run(*export, '1')
    assert done.returncode == 2 and 'threshold 1.0: expected a probability' in done.stderr
    assert not (tmp_path / 'refiner.onnx').exists()
    assert run(*export, '0.6').returncode == 0
    assert MaskRefiner(tmp_path / 'refiner.onnx').traits.threshold == 0.6


@pytest.mark.parametrize(
    'more, reason',
    [
        (['--seed', '9'], 'checkpoint of other settings (seed was 0, now 9)'),
        (['--init', 'nowhere'], 'nowhere/checkpoint.pt: no such checkpoint'),
        (['--hold-out', 'x'], '--hold-out: "x" is not of the form'),
        (['--coarse', 'nowhere.json'], 'nowhere.json: has no coarse masks'),
    ],
)
def test_bad_input_is_reported_in_one_line(
    toy_data: ToyData, tmp_path: Path, more: list[str], reason: str
) -> None:
    assert run('train', *options(toy_data, tmp_path / 'run', '--steps', '1')).returncode == 0
    done = run('train', *options(toy_data, tmp_path / 'run', '--steps', '1', *more))
    assert done.returncode == 2
    assert reason in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.parametrize('content', [b'', b'broken'])
def test_a_broken_checkpoint_is_refused(toy_data: ToyData, tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'checkpoint.pt').write_bytes(content)
    done = run('export', '--run', tmp_path, '--output', tmp_path / 'refiner.onnx')
    assert done.returncode == 2
    assert 'cannot be read as a checkpoint' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'refiner.onnx').exists()
