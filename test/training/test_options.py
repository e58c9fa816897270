# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Options of a training run that cannot be meant end it at once, in one line."""

import pytest
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.detector.__main__ import main


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['--sizes', '1:0'], '--sizes 1:0: expected a share of 0 or more, and 32 to 4096 pixels'),
        (['--sizes', '1:inf'], '--sizes: "1:inf" is not of the form NUMBER:NUMBER'),
        (['--hold-out', 'inf:5'], '--hold-out: "inf:5" is not of the form NUMBER:NUMBER'),
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
