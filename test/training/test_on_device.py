# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batches that are put together on the device are what the loader would have made."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_data import ToyData, write_toy_data

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.refiner import MaskRefiner, resized
from instance_seg_ros.refinement.refiner_file import PASSES
from instance_seg_ros.refinement.smoother import context_rois
from training.refiner.__main__ import main
from training.refiner.crops import Crop
from training.refiner.on_device import ObjectStore, windows
from training.refiner.reservoir import Drawn, Reservoir

SIZES = (90, 120), (200, 150), (300, 310)


def crop(height: int, width: int) -> Crop:
    rng = np.random.default_rng(height)
    image = cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (width, height))
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 6), 30, 0, 360, 1, -1)
    return Crop(image, mask, np.zeros_like(mask), height)


@pytest.fixture(scope='module')
def crops() -> list[Crop]:
    return [crop(*size) for size in SIZES]


@pytest.fixture(scope='module')
def drawn(crops: list[Crop]) -> Drawn:
    rng = np.random.default_rng(0)
    boxes = [[0.2 * w + 0.3, 0.3 * h, 0.8 * w, 0.72 * h + 0.4] for h, w in SIZES]
    twice = np.array(boxes * 2, np.float32)
    return Drawn(np.arange(6) % 3, twice, rng.random((6, 15, 15), np.float32))


def test_masks_lie_where_the_loader_would_put_them(crops: list[Crop], drawn: Drawn) -> None:
    store = ObjectStore(crops, torch.device('cpu'))
    small, large = store.samples(drawn, 3, torch.Generator().manual_seed(0))
    for i in range(6):
        part, side, row = (small, PASSES[0], i) if i < 3 else (large, PASSES[1], i - 3)
        mask = crops[drawn.rows[i]].mask
        x, y, w, h = (int(v) for v in context_rois(drawn.boxes[i][None], *mask.shape)[0])
        truth = resized(mask[y : y + h, x : x + w].astype(np.float32), side)
        first = PASSES[0]
        coarse = paste(
            drawn.coarse[i],
            drawn.boxes[i],
            (x, y),
            (w / first, h / first),
            (first, first),
            outside=False,
        )
        given = part.truth[row, 0].numpy(), part.coarse[row, 0].numpy()
        if np.abs(given[1] - coarse).max() > 1e-4:  # half of the samples are mirrored
            truth, coarse = truth[:, ::-1], coarse[:, ::-1]
        np.testing.assert_allclose(given[1], coarse, atol=1e-4)
        assert np.abs(given[0] - truth).mean() < 0.01
        image = part.image[row]
        assert image.shape == (3, side, side) and 0 <= image.min() and image.max() <= 1


def test_a_part_of_a_large_sample_goes_on_from_the_first_pass(
    crops: list[Crop], drawn: Drawn
) -> None:
    store = ObjectStore(crops, torch.device('cpu'))
    generator = torch.Generator().manual_seed(0)
    _, large = store.samples(drawn, 6, generator)
    first = torch.nn.functional.avg_pool2d(large.truth, 2)  # a first pass without fault
    image, coarse, truth = windows(large, first, generator)
    assert image.shape == (6, 3, PASSES[0], PASSES[0])
    assert (coarse - truth).abs().mean() < 0.02
    assert truth.amax((1, 2, 3)).min() == 1


def test_coarse_masks_of_a_real_detector_are_among_those_drawn() -> None:
    box, coarse = np.array([40, 40, 120, 90], np.float32), np.full((15, 15), 2, np.float32)
    plain = crop(90, 120)
    found = Crop(plain.image, plain.mask, plain.others, 1, ((box, coarse),))
    reservoir = Reservoir([found], processes=1, size=300, seed=0)
    try:
        reservoir.fill(400)
        drawn = reservoir.draw(500, np.random.default_rng(0))
    finally:
        reservoir.close()
    real = (drawn.coarse == 2).all((1, 2))
    assert 20 < real.sum() < 100
    assert (drawn.boxes[real] == box).all()
    assert drawn.coarse[~real].max() <= 1 and len(np.unique(drawn.boxes[~real, 0])) > 100


def test_a_run_on_the_device_ends_as_a_model(tmp_path: Path) -> None:
    data: ToyData = write_toy_data(tmp_path)
    run = tmp_path / 'run'
    arguments = ['train', '--data', data.annotations, data.images, '--hold-out', '0:0']
    arguments += ['--output', run, '--batch-size', 2, '--threads', 1, '--simulators', 1]
    assert main([*map(str, arguments), '--steps', '8', '--adversarial-from', '0.8']) == 0
    assert main(['export', '--run', str(run), '--output', str(run / 'refiner.onnx')]) == 0
    assert MaskRefiner(run / 'refiner.onnx').traits.passes == PASSES
