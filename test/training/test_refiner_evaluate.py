# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What ``python -m training.refiner evaluate`` says of a refiner."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_data import ToyData, write_toy_data

pytest.importorskip('torch')
tiny = pytest.importorskip('tiny_refiners')

from training.refiner.__main__ import main

BOX = [20, 25, 40, 50]  # of the object in the first image


@pytest.fixture
def data(tmp_path: Path) -> ToyData:
    return write_toy_data(tmp_path)


def evaluated(data: ToyData, model: Path, *options: object) -> dict[str, Any]:
    """Return the figures by kind of coarse mask."""
    result = data.annotations.with_name('figures.json')
    arguments = ['evaluate', '--data', data.annotations, data.images, '--hold-out', '0:0']
    arguments += ['--model', model, '--families', 'soft', '--most', 1, '--json', result, *options]
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(result.read_text())


def write_coarse(path: Path, coarse: np.ndarray) -> Path:
    found = {'file_name': '0.png', 'bbox': BOX, 'coarse_mask': coarse.tolist()}
    path.write_text(json.dumps([found]))
    return path


def test_masks_of_a_real_detector_get_a_row(
    data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    coarse = write_coarse(tmp_path / 'coarse.json', np.ones((15, 15)))
    model = tiny.unchanged(tmp_path / 'unchanged.onnx')
    row = evaluated(data, model, '--coarse', coarse)['real detector']
    assert row['count'] == 1
    assert row['plain']['iou'] == row['refined']['iou'] == 1
    assert row['plain_parts'] == row['refined_parts'] == 1
    assert '| real detector | 1 | 1.000 to 1.000 |' in capsys.readouterr().out


def test_crumbs_are_left_out_as_the_node_leaves_them_out(data: ToyData, tmp_path: Path) -> None:
    speck = np.ones((15, 15))
    speck[0:3] = speck[:, 0:3] = 0
    speck[0, 0] = 1
    coarse = write_coarse(tmp_path / 'coarse.json', speck)
    model = tiny.unchanged(tmp_path / 'unchanged.onnx')
    tidy = evaluated(data, model, '--coarse', coarse)['real detector']
    as_they_are = evaluated(data, model, '--coarse', coarse, '--min-part', 0)['real detector']
    assert tidy['plain_parts'] == tidy['refined_parts'] == 1
    assert as_they_are['plain_parts'] == as_they_are['refined_parts'] == 2


def test_harm_is_counted_by_outline_and_by_area(data: ToyData, tmp_path: Path) -> None:
    coarse = write_coarse(tmp_path / 'coarse.json', np.ones((15, 15)))
    everything = tiny.counting(tmp_path / 'all.onnx', 1.0)  # takes in the surroundings
    row = evaluated(data, everything, '--coarse', coarse)['real detector']
    assert row['harmed'] == row['harmed_iou'] == 1
    unchanged = tiny.unchanged(tmp_path / 'unchanged.onnx')
    row = evaluated(data, unchanged, '--coarse', coarse)['real detector']
    assert row['harmed'] == row['harmed_iou'] == 0
