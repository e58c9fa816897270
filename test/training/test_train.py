# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training runs on toy data: they learn, resume exactly, and refuse what does not fit."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

from instance_seg_ros.models import read_manifest

pytest.importorskip('torch', reason='the trainer needs PyTorch')


def command(data: ToyData, output: Path, *more: str) -> list[str]:
    return [
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
    ]


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True)


def weights(folder: Path) -> bytes:
    return (folder / 'model.pb').read_bytes()


@pytest.mark.parametrize('optimizer', ['muon', 'adamw'])
def test_a_model_that_the_segmenter_takes(
    toy_data: ToyData, tmp_path: Path, optimizer: str
) -> None:
    result = run(command(toy_data, tmp_path / 'run', '--steps', '51', '--optimizer', optimizer))
    assert result.returncode == 0, result.stderr
    from instance_seg_ros import Segmenter

    segmenter = Segmenter(model=str(tmp_path / 'run' / 'model.yaml'), refiner='none')
    assert segmenter.class_names == {0: 'box'}
    with (tmp_path / 'run' / 'curve.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]['step'] == '50' and float(rows[0]['class']) < 1.0


def test_a_resumed_run_ends_as_an_uninterrupted_one(toy_data: ToyData, tmp_path: Path) -> None:
    whole = run(command(toy_data, tmp_path / 'whole', '--steps', '40'))
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        command(toy_data, tmp_path / 'parts', '--steps', '40', '--checkpoint-minutes', '0'),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / 'parts' / 'checkpoint.pt'
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and 'the same command resumes' in errors
    assert not (tmp_path / 'parts' / 'model.pb').exists()
    resumed = run(
        command(toy_data, tmp_path / 'parts', '--steps', '40', '--checkpoint-minutes', '0')
    )
    assert resumed.returncode == 0, resumed.stderr
    assert 'resumed' in resumed.stderr
    assert weights(tmp_path / 'parts') == weights(tmp_path / 'whole')


def test_a_checkpoint_of_other_settings_is_refused(toy_data: ToyData, tmp_path: Path) -> None:
    assert run(command(toy_data, tmp_path / 'run', '--steps', '2')).returncode == 0
    other = run(command(toy_data, tmp_path / 'run', '--steps', '2', '--seed', '9'))
    assert other.returncode == 2
    assert 'checkpoint of other settings (seed was 0, now 9)' in other.stderr
    assert 'Traceback' not in other.stderr


def test_a_broken_checkpoint_is_refused(toy_data: ToyData, tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'checkpoint.pt').write_bytes(b'broken')
    result = run(command(toy_data, tmp_path / 'run', '--steps', '2'))
    assert result.returncode == 2
    assert 'cannot be read as a checkpoint' in result.stderr


def test_a_shipped_model_is_a_start(toy_data: ToyData, tmp_path: Path) -> None:
    first = run(command(toy_data, tmp_path / 'first', '--steps', '2'))
    assert first.returncode == 0, first.stderr
    second = run(
        command(
            toy_data,
            tmp_path / 'second',
            '--steps',
            '2',
            '--init',
            str(tmp_path / 'first' / 'model.pb'),
        )
    )
    assert second.returncode == 0, second.stderr
    wrong = run(
        command(
            toy_data,
            tmp_path / 'third',
            '--steps',
            '2',
            '--init',
            str(REPOSITORY / 'models' / 'person_mask_rcnn.pb'),
        )
    )
    assert wrong.returncode == 2 and 'is of another network' in wrong.stderr


def test_export_from_a_checkpoint(toy_data: ToyData, tmp_path: Path) -> None:
    assert run(command(toy_data, tmp_path / 'run', '--steps', '2')).returncode == 0
    export = [
        sys.executable,
        '-m',
        'training.detector',
        'export',
        '--run',
        str(tmp_path / 'run'),
        '--output',
        str(tmp_path / 'out' / 'mine'),
        '--hold-out',
        '0:0',
        '--data',
        str(toy_data.annotations),
        str(toy_data.images),
        '--classes',
    ]
    result = run([*export, 'box', '--onnx'])
    assert result.returncode == 0, result.stderr
    manifest = read_manifest(tmp_path / 'out' / 'mine.yaml')
    assert not manifest.missing_files() and set(manifest.parts) == {'proposals', 'boxes', 'masks'}
    assert (tmp_path / 'out' / 'mine.pb').read_bytes() == weights(tmp_path / 'run')
    other = run([*export, 'tree', 'box'])
    assert other.returncode == 2 and 'run was trained on box. Expected the same' in other.stderr


def test_an_export_without_photos_keeps_the_scores_of_the_run(
    toy_data: ToyData, tmp_path: Path
) -> None:
    folder = tmp_path / 'run'
    assert run(command(toy_data, folder, '--steps', '2')).returncode == 0
    kept = {'step': 2, 'background': 0.5}
    export = [*command(toy_data, folder)[:3], 'export', '--run', str(folder), '--output']

    def exported(name: str) -> bytes:
        result = run([*export, str(tmp_path / name)])
        assert result.returncode == 0, result.stderr
        as_trained = 'the scores are as trained: give --data and --classes' in result.stderr
        assert as_trained == (kept['step'] != 2)
        return (tmp_path / f'{name}.pb').read_bytes()

    (folder / 'background_offset.json').write_text(json.dumps(kept))
    adjusted = exported('adjusted')
    kept['step'] = 1  # of another checkpoint
    (folder / 'background_offset.json').write_text(json.dumps(kept))
    assert exported('plain') != adjusted
    result = run([*export, str(tmp_path / 'no'), '--most-false', '0.1'])
    assert result.returncode == 2 and '--most-false needs --data and --classes' in result.stderr
    data = ['--data', str(toy_data.annotations), str(toy_data.images), '--hold-out', '0:0']
    result = run([*export, str(tmp_path / 'no'), '--max-upscale', 'nan', *data, '--classes', 'box'])
    assert result.returncode == 2 and 'error: max_upscale is nan, expected' in result.stderr
    assert not (tmp_path / 'no.pb').exists()


def test_samples_follow_the_objects(toy_data: ToyData) -> None:
    """Whatever is done to a photo, box and mask stay on the bright rectangle."""
    from training.detector.augment import Sampler
    from training.detector.dataset import load_photos
    from training.detector.photometric import Augmentation

    photos = load_photos(toy_data.annotations, toy_data.images, ['box'])
    plain = Augmentation(colour=0.0, gray=0.0, blur=0.0, erase=0.0, paste=0.0)
    sampler = Sampler(photos, plain)
    seen = 0
    for seed in range(30):
        sample = sampler.sample(seed % 8, (96, 128), np.random.default_rng(seed))
        bright = (sample.image[..., 0] > 200) & (sample.image[..., 2] < 90)
        for box, mask in zip(sample.boxes, sample.masks, strict=True):
            x1, y1, x2, y2 = box.round().astype(int)
            inside = bright[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3]
            assert inside.mean() > 0.95
            around = cv2.dilate(bright.astype(np.uint8), np.ones((3, 3)))  # masks are half as fine
            assert around[::2, ::2][mask > 200].mean() > 0.95
            seen += 1
    assert seen > 20
