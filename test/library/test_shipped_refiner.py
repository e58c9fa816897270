# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The refiner that ships with the package: outlines come out better than they went in."""

import hashlib

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros import Segmenter
from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.refiner import MaskRefiner

pytest.importorskip('onnxruntime', reason='it runs the refiner')

PATH = REPOSITORY / 'models' / 'mask_refiner.onnx'
HEIGHT, WIDTH = 300, 400


@pytest.fixture(scope='module')
def refiner() -> MaskRefiner:
    return MaskRefiner(PATH, num_threads=1)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A blob with a texture of its own before a darker or brighter background, and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = 80 + 20 * np.sin(3 * angles + seed) + 12 * np.cos(5 * angles - seed)
    outline = np.stack([200 + 1.3 * radii * np.cos(angles), 150 + radii * np.sin(angles)], 1)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
    inside, outside = rng.permutation([60, 180])
    colours = np.where(mask[..., None] > 0, inside, outside) + rng.integers(-20, 20, 3)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, WIDTH, 3)), (0, 0), 2)
    return (colours + grain).clip(0, 255).astype(np.uint8), mask


def coarse_mask(mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a mask head would say: 15x15 cells, a blob too much and one too little."""
    x, y, w, h = cv2.boundingRect(mask)
    wrong = mask.astype(np.float32)
    ys, xs = np.nonzero(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))))
    rng = np.random.default_rng(seed)
    for value in (1.0, 0.0):
        i = rng.integers(len(xs))
        cv2.circle(wrong, (int(xs[i]), int(ys[i])), 14, value, cv2.FILLED)
    cells = cv2.resize(wrong[y : y + h, x : x + w], (15, 15), interpolation=cv2.INTER_AREA)
    return np.array([x, y, x + w, y + h], np.float32), 0.02 + 0.96 * cells


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


@pytest.mark.parametrize('seed', range(4))
def test_an_outline_comes_closer_to_the_true_one(refiner: MaskRefiner, seed: int) -> None:
    image, mask = scene(seed)
    box, coarse = coarse_mask(mask, seed)
    plain = paste(coarse, box, (0, 0), (1, 1), (HEIGHT, WIDTH), outside=False) >= 0.5
    rois, alphas = refiner(image, box[None], coarse[None])
    refined = np.zeros((HEIGHT, WIDTH), bool)
    x, y, w, h = rois[0].tolist()
    refined[y : y + h, x : x + w] = next(iter(alphas)) >= 0.5
    truth = mask > 0
    assert 1 - overlap(refined, truth) < 0.7 * (1 - overlap(plain, truth))


def test_auto_takes_it_and_so_does_gan(photo: np.ndarray) -> None:
    for name in ('auto', 'gan'):
        segmenter = Segmenter(model='person_mask_rcnn', refiner=name, confidence_threshold=0.1)
        assert segmenter.refiner == 'gan'
    found = segmenter(photo)
    assert len(found) > 0 and found.refined.all()
    assert found.masks[0].any() and not found.masks[0].all()


def test_it_keeps_the_contract(refiner: MaskRefiner) -> None:
    assert refiner.traits.passes == (128, 256) and refiner.traits.context == 0.25
    assert refiner.traits.version not in ('', 'untrained')


def test_the_file_is_the_one_on_record_and_small() -> None:
    digest, name = PATH.with_name('mask_refiner.onnx.sha256').read_text().split()
    assert name == PATH.name
    assert hashlib.sha256(PATH.read_bytes()).hexdigest() == digest
    assert PATH.stat().st_size <= 8e6
