# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the refiner learns from and is judged by: simulated coarse masks, crops, metrics."""

import json
from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_data import ToyData

from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.rois import clip_rois
from training.detector.dataset import DatasetError
from training.refiner.crops import cut_out, load_all_classes
from training.refiner.metrics import compare
from training.refiner.simulate import ALL_FAMILIES, FAMILIES, UNSEEN_FAMILIES, simulate

HEIGHT, WIDTH = 200, 300


@pytest.fixture
def mask() -> np.ndarray:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(drawn, (150, 100), (60, 80), 20, 0, 360, 1, cv2.FILLED)
    return drawn


@pytest.fixture
def image(photo: np.ndarray) -> np.ndarray:
    return cv2.resize(photo, (WIDTH, HEIGHT))


def pasted(box: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y, w, h = clip_rois(box[None], HEIGHT, WIDTH)[0].tolist()
    full[y : y + h, x : x + w] = paste(coarse, box, (x, y), (1, 1), (h, w), outside=True) >= 0.5
    return full


class TestSimulator:
    @pytest.mark.parametrize('family', ALL_FAMILIES)
    def test_a_coarse_mask_is_like_the_true_one_but_not_it(
        self, family: str, image: np.ndarray, mask: np.ndarray
    ) -> None:
        scores = []
        for seed in range(10):
            box, coarse = simulate(
                family, image, mask, np.zeros_like(mask), np.random.default_rng(seed)
            )
            assert box.shape == (4,) and box.dtype == np.float32
            assert coarse.shape == (15, 15) and coarse.dtype == np.float32
            assert 0 <= coarse.min() and coarse.max() <= 1
            scores.append(compare(pasted(box, coarse), mask, float(np.hypot(HEIGHT, WIDTH))).iou)
        assert 0.5 < np.mean(scores) < 0.97

    @pytest.mark.parametrize('family', ALL_FAMILIES)
    def test_the_same_generator_gives_the_same_mask(
        self, family: str, image: np.ndarray, mask: np.ndarray
    ) -> None:
        others = np.roll(mask, 100, 1) & ~mask
        one, other = (
            simulate(family, image, mask, others, np.random.default_rng(5)) for _ in range(2)
        )
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)

    @pytest.mark.parametrize('family', ALL_FAMILIES)
    @pytest.mark.parametrize('place', ['a corner', 'a pixel', 'the whole image'])
    def test_masks_at_the_limits(self, family: str, place: str, image: np.ndarray) -> None:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[
            {'a corner': np.s_[-30:, -20:], 'a pixel': np.s_[7, 9], 'the whole image': np.s_[:]}[
                place
            ]
        ] = 1
        for seed in range(3):
            _, coarse = simulate(
                family, image, mask, np.zeros_like(mask), np.random.default_rng(seed)
            )
            assert np.isfinite(coarse).all()

    def test_merged_neighbours_take_in_the_other_object(self, image: np.ndarray) -> None:
        mask, others = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        mask[50:150, 100:150] = 1
        others[50:150, 150:200] = 1
        taken = []
        for seed in range(20):
            box, coarse = simulate('neighbours', image, mask, others, np.random.default_rng(seed))
            taken.append(pasted(box, coarse)[60:140, 151:].sum())
        alone = [
            pasted(*simulate('box', image, mask, others, np.random.default_rng(seed)))[
                60:140, 151:
            ].sum()
            for seed in range(20)
        ]
        assert np.mean(taken) > 2 * np.mean(alone)

    def test_a_family_is_kept_out_of_training(self) -> None:
        assert UNSEEN_FAMILIES and not set(UNSEEN_FAMILIES) & set(FAMILIES)


class TestMetrics:
    def test_the_same_mask(self, mask: np.ndarray) -> None:
        assert astuple(compare(mask, mask, 360.0)) == (1.0, 1.0, 1.0, 1.0, 0.0)

    def test_nothing_found(self, mask: np.ndarray) -> None:
        assert astuple(compare(np.zeros_like(mask), mask, 360.0)) == (0.0, 0.0, 0.0, 0.0, 0.0)

    def test_nothing_there_and_nothing_found(self) -> None:
        empty = np.zeros((9, 9), np.uint8)
        assert compare(empty, empty, 12.0).iou == 1.0

    def test_a_square_that_is_a_pixel_off(self) -> None:
        truth, mask = np.zeros((2, 60, 60), np.uint8)
        truth[10:50, 10:50] = 1
        mask[10:50, 11:51] = 1
        scores = compare(mask, truth, 100.0)  # a band of 2 pixels
        assert scores.iou == pytest.approx(39 / 41)
        assert scores.clutter == pytest.approx(40 / 1600)
        assert scores.boundary_f2 == 1.0
        # Bands of 2 pixels inside: 40 x 40 less 36 x 36; one pixel off, the upright sides share
        # one column of 40 each, and the level ones all but a column: by hand, 226 of 304 each.

        def band(m: np.ndarray) -> np.ndarray:
            inner = np.zeros_like(m)
            y, x = np.nonzero(m)
            inner[y.min() + 2 : y.max() - 1, x.min() + 2 : x.max() - 1] = 1
            return m - inner

        a, b = band(mask), band(truth)
        assert a.sum() == b.sum() == 304
        assert scores.boundary_iou == pytest.approx((a & b).sum() / (a | b).sum())

    def test_an_outline_far_off_counts_for_nothing(self) -> None:
        truth, mask = np.zeros((2, 60, 60), np.uint8)
        truth[10:50, 10:50] = 1
        mask[20:40, 20:40] = 1
        scores = compare(mask, truth, 100.0)
        assert scores.boundary_f2 == scores.boundary_f3 == scores.boundary_iou == 0.0
        assert scores.iou == 0.25


class TestCrops:
    def test_every_object_with_its_surroundings(self, toy_data: ToyData) -> None:
        crops = cut_out(load_all_classes(toy_data.annotations, toy_data.images))
        assert len(crops) == 8
        for crop in crops:
            assert crop.mask.sum() == 40 * 50
            assert crop.image.shape[:2] == crop.mask.shape == crop.others.shape
            # The box and 80 % of it on each side, within the image.
            assert crop.mask.shape[0] == 96 and crop.mask.shape[1] >= 72

    def test_large_objects_are_scaled_down(self, toy_data: ToyData) -> None:
        [crop, *_] = cut_out(load_all_classes(toy_data.annotations, toy_data.images), 48)
        assert max(crop.mask.shape) == 48
        assert crop.mask.sum() == pytest.approx(40 * 50 / 4, rel=0.1)

    def test_no_masks_at_all(self, toy_data: ToyData) -> None:
        for annotation in toy_data.content['annotations']:
            annotation['segmentation'] = []
        toy_data.save()
        with pytest.raises(DatasetError, match='no object has a mask of at least 24 pixels'):
            cut_out(load_all_classes(toy_data.annotations, toy_data.images))

    def test_coarse_masks_of_a_real_detector(self, toy_data: ToyData, tmp_path: Path) -> None:
        rows = [
            {
                'file_name': 'folder/0.png',
                'bbox': [22, 27, 40, 50],
                'coarse_mask': np.full((15, 15), 0.7).tolist(),
            },
            {
                'file_name': '0.png',
                'bbox': [0, 0, 10, 10],
                'coarse_mask': np.zeros((15, 15)).tolist(),
            },
        ]
        found = tmp_path / 'found.json'
        found.write_text(json.dumps(rows))
        crops = cut_out(load_all_classes(toy_data.annotations, toy_data.images), coarse=found)
        assert [len(crop.detected) for crop in crops] == [1] + 7 * [0]
        box, coarse = crops[0].detected[0]
        x, y, w, h = cv2.boundingRect(crops[0].mask)
        np.testing.assert_allclose(box, [x + 2, y + 2, x + w + 2, y + h + 2])
        assert (coarse == np.float32(0.7)).all()

    @pytest.mark.parametrize('content', ['', '[{"bbox": [1, 2, 3, 4]}]', '[1]'])
    def test_another_file_instead_of_coarse_masks(
        self, toy_data: ToyData, tmp_path: Path, content: str
    ) -> None:
        found = tmp_path / 'found.json'
        found.write_text(content)
        with pytest.raises(DatasetError, match='has no coarse masks'):
            cut_out(load_all_classes(toy_data.annotations, toy_data.images), coarse=found)
