# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Options of a training run that cannot be meant end it at once, in one line."""

import argparse
import logging
from dataclasses import replace

import pytest
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.data_options import chosen_photos
from training.detector.__main__ import main


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['--sizes', '1:0'], '--sizes 1:0: expected a share of 0 or more, and 32 to 4096 pixels'),
        (['--sizes', '1:inf'], '--sizes: "1:inf" is not of the form NUMBER:NUMBER'),
        (['--hold-out', 'inf:5'], '--hold-out: "inf:5" is not of the form NUMBER:NUMBER'),
        (['--hold-out', '0.5:0'], '--hold-out 0.5:0: expected whole numbers N:K, K from 0 to N'),
        (['--hold-out', '8:9'], '--hold-out 8:9: expected whole numbers N:K, K from 0 to N - 1'),
        (['--classes', 'box', 'ball', 'box'], '--classes: has box twice. Expected each once'),
        (['--proposals', '100000'], 'proposals is 100000: expected at most 10000'),
        (['--anchor-sizes', 'nan'], 'anchor_sizes is (nan,): expected one or more positive'),
        (['--minutes', 'nan'], 'minutes is nan and steps is 0: expected one above 0'),
        pytest.param(
            ['--device', 'cuda'],
            '--device cuda: PyTorch finds no such device. Take cpu, or auto',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: list[str], expected: str, toy_data: ToyData, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_data.save()
    data = [str(toy_data.annotations), str(toy_data.images)]
    output = str(toy_data.images.parent / 'run')
    command = ['train', '--data', *data, '--classes', 'box', '--output', output, *options]
    assert main(command) == 2
    assert f'error: {expected}' in capsys.readouterr().err


def test_a_photo_of_two_files_is_held_out_in_both(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(toy_data, annotations=toy_data.annotations.with_name('other.json'))
    for image in other.content['images']:
        image['id'] += 3
    for annotation in other.content['annotations']:
        annotation['image_id'] += 3
    other.save()
    files = [[each.annotations, toy_data.images] for each in (toy_data, other)]
    options = argparse.Namespace(data=files, classes=['box', 'ball'], hold_out='4:1')
    parts = [{photo.path for photo in chosen_photos(options, held)} for held in (False, True)]
    assert parts[0].isdisjoint(parts[1]) and len(parts[0] | parts[1]) == 8
    assert sorted(path.name for path in parts[1]) == ['1.png', '2.png', '5.png', '6.png']
    with caplog.at_level(logging.WARNING):
        chosen_photos(options, False)
    assert 'no photo to train on has an object of class ball' in caplog.text
