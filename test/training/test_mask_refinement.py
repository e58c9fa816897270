# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The benchmark of masks after refining, on a small data set."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import write_toy_data

tiny = pytest.importorskip('tiny_refiners')


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / 'benchmarks' / 'mask_refinement.py'),
            '--repeats',
            '0',
            '--hold-out',
            '1:0',
            *map(str, arguments),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_the_table_tells_a_good_refiner_from_a_bad_one(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path)  # bright red rectangles in front of noise
    figures = {}
    for name, model in (
        ('good', tiny.red_things(tmp_path / 'red.onnx')),
        ('bad', tiny.counting(tmp_path / 'all.onnx', 1.0)),
    ):
        done = run(
            tmp_path,
            '--data',
            data.annotations,
            data.images,
            '--model',
            model,
            '--families',
            'soft',
            'superpixels',
            '--most',
            '4',
            '--output',
            tmp_path / name,
        )
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / name / 'results.json').read_text())
        figures[name] = results['seen']['refiner gan, 128']
        assert figures[name]['objects'] == 4 and results['unseen']['bilinear']['objects'] == 4
        assert 'superpixels (never trained on), 4 objects' in done.stdout
        for sheet in ('contact_sheet.png', 'worst.png'):
            picture = cv2.imread(str(tmp_path / name / sheet))
            assert picture is not None and len(np.unique(picture)) > 50
    good, bad = figures['good'], figures['bad']
    assert good['iou'] > 0.97 and good['clutter'] < 0.02 and good['harmed'] == 0
    assert bad['iou'] < 0.6 and bad['clutter'] > 0.7 and bad['harmed'] == 1
    assert good['gain'] > 0 > bad['gain']


def test_masks_of_a_real_detector_are_measured_where_they_lie_on_an_object(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path)
    found = [
        {'file_name': f'{i}.png', 'bbox': bbox, 'coarse_mask': np.ones((15, 15)).tolist()}
        for i, bbox in enumerate(([20, 25, 40, 50], [21, 25, 40, 25 + 6], [60, 60, 30, 30]))
    ]
    (tmp_path / 'coarse.json').write_text(json.dumps(found))
    done = run(
        tmp_path,
        '--data',
        data.annotations,
        data.images,
        '--families',
        'soft',
        '--most',
        '1',
        '--coarse',
        'coarse.json',
        '--output',
        'result',
        '--model',
        tiny.unchanged(tmp_path / 'unchanged.onnx'),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'result' / 'results.json').read_text())
    plain = results['families']['real detector']['bilinear']
    assert plain['objects'] == 2  # the third lies beside its object
    # The first fits exactly, the second lacks 19 of 50 rows.
    assert plain['iou'] == pytest.approx((1 + 31 / 50) / 2, abs=0.02)
    assert results['seen']['bilinear']['objects'] == 1


@pytest.mark.parametrize('hold_out', ['8', '0:0', 'a:b'])
def test_a_wrong_option_is_reported(tmp_path: Path, hold_out: str) -> None:
    done = run(tmp_path, '--data', 'a', 'b', '--hold-out', hold_out)
    assert done.returncode == 2 and f"'{hold_out}': expected N:K" in done.stderr
