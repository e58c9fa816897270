# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Coarse masks in the image: where they are put, and how they are sharpened."""

import cv2
import numpy as np
import pytest

from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.smoother import MaskSmoother, context_rois
from instance_seg_ros.rois import clip_rois, trim_to_masks

CELLS = 15


def pasted(coarse: np.ndarray, box: list[float]) -> tuple[np.ndarray, int, int]:
    """Paste over the whole pixels of a box as the Segmenter does; return it, and where it lies."""
    x, y, w, h = clip_rois(np.array([box], np.float32), 200, 300)[0].tolist()
    whole = paste(coarse, np.array(box, np.float32), (x, y), (1, 1), (h, w), outside=True)
    return whole, x, y


def half_plane(cells: float) -> np.ndarray:
    """A mask of the left part of a box, that many of 15 columns wide; it crosses 0.5 there."""
    edge = cells - 0.5 - np.arange(CELLS)
    return np.tile((edge + 0.5).clip(0, 1).astype(np.float32), (CELLS, 1))


@pytest.mark.parametrize('left, right', [(50, 200), (50.3, 199.8), (10.5, 40.5), (120.9, 131.2)])
def test_an_edge_lands_at_its_column_to_the_sub_pixel(left: float, right: float) -> None:
    # The middle of the box: by symmetry exactly there, whatever the size.
    coarse = half_plane(7.5)
    alpha, x, _ = pasted(coarse, [left, 20, right, 100])
    edge = (left + right) / 2
    columns = x + np.flatnonzero((alpha >= 0.5).all(0))
    # A pixel belongs to the left part if its centre does.
    expected = [k for k in range(x, x + alpha.shape[1]) if k + 0.5 <= edge]
    np.testing.assert_array_equal(columns, expected)


def test_an_edge_lands_at_its_row() -> None:
    alpha, _, y = pasted(half_plane(7.5).T.copy(), [20, 30.4, 80, 150.4])
    rows = y + np.flatnonzero((alpha >= 0.5).all(1))
    np.testing.assert_array_equal(rows, np.arange(30, 90))


def test_pasting_agrees_with_opencvs_resize_on_whole_pixels() -> None:
    coarse = np.random.default_rng(0).random((CELLS, CELLS), np.float32)
    alpha, x, y = pasted(coarse, [40, 30, 160, 100])
    assert (x, y) == (40, 30)
    np.testing.assert_allclose(
        alpha, cv2.resize(coarse, (120, 70), interpolation=cv2.INTER_LINEAR), atol=1e-4
    )


def test_pixels_of_a_grid_need_not_be_square() -> None:
    coarse = np.random.default_rng(0).random((CELLS, CELLS), np.float32)
    box = np.array([40, 30, 160, 90], np.float32)
    alpha = paste(coarse, box, (40, 30), (4, 2), (30, 30), outside=True)
    np.testing.assert_allclose(alpha, cv2.resize(coarse, (30, 30)), atol=1e-4)


def test_a_mask_can_end_at_its_box() -> None:
    box = np.array([10, 10, 20, 20], np.float32)
    alpha = paste(np.ones((CELLS, CELLS), np.float32), box, (0, 0), (1, 1), (30, 30), outside=False)
    expected = np.zeros((30, 30))
    expected[10:20, 10:20] = 1
    np.testing.assert_allclose(alpha, expected, atol=1e-6)


@pytest.mark.parametrize(
    'box, roi',
    [
        ([10.2, 20.7, 30.1, 40.0], [10, 20, 21, 20]),
        ([0, 0, 300, 200], [0, 0, 300, 200]),
        ([-5, -5, 400, 400], [0, 0, 300, 200]),
        ([299.9, 199.9, 300, 200], [299, 199, 1, 1]),
        ([12.2, 12.3, 12.4, 12.5], [12, 12, 1, 1]),
        ([300, 200, 300, 200], [299, 199, 1, 1]),
    ],
)
def test_rois_are_whole_pixels_inside_the_image(box: list[float], roi: list[int]) -> None:
    assert clip_rois(np.array([box], np.float32), 200, 300).tolist() == [roi]


@pytest.mark.parametrize(
    'box, roi',
    [([100, 100, 180, 120], [80, 95, 120, 30]), ([100, 100, 120, 180], [95, 80, 30, 120])],
)
def test_the_context_of_a_box_goes_by_its_sides(box: list[int], roi: list[int]) -> None:
    assert context_rois(np.array([box], np.float32), 240, 320).tolist() == [roi]


class TestSmoother:
    @pytest.fixture
    def scene(self) -> tuple[np.ndarray, np.ndarray]:
        """A red disc on a blue ground with some noise, and its mask."""
        mask = np.zeros((240, 320), np.uint8)
        cv2.circle(mask, (160, 120), 60, 1, -1)
        image = np.where(mask[..., None] > 0, np.uint8([40, 40, 200]), np.uint8([180, 90, 30]))
        noise = np.random.default_rng(0).normal(0, 6, image.shape)
        return (image + noise).clip(0, 255).astype(np.uint8), mask

    def coarse_mask(self, mask: np.ndarray, box: list[float], shift: float) -> np.ndarray:
        """What a mask head gives: a blurred mask of few cells, that has slipped a little."""
        x1, y1, x2, y2 = box
        step = (x2 - x1) / CELLS
        # Centres of cells and of pixels: both are half a unit from their first edge.
        to_cells = np.float32(
            [[1 / step, 0, (0.5 + shift - x1) / step - 0.5], [0, 1 / step, (0.5 - y1) / step - 0.5]]
        )
        blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), step / 2)
        return cv2.warpAffine(blurred, to_cells, (CELLS, CELLS))

    def iou(self, one: np.ndarray, other: np.ndarray) -> float:
        return np.logical_and(one, other).sum() / np.logical_or(one, other).sum()

    @pytest.mark.parametrize('shift', [0, 4, -4])
    def test_a_leaking_mask_is_pulled_to_the_edges_of_the_image(
        self, scene: tuple[np.ndarray, np.ndarray], shift: float
    ) -> None:
        image, mask = scene
        box = [95.0, 55.0, 225.0, 185.0]
        coarse = self.coarse_mask(mask, box, shift)
        boxes = np.array([box], np.float32)
        x, y, w, h = clip_rois(boxes, 240, 320)[0].tolist()
        plain = np.zeros_like(mask)
        plain[y : y + h, x : x + w] = (
            paste(coarse, boxes[0], (x, y), (1, 1), (h, w), outside=True) >= 0.5
        )
        rois, alphas = MaskSmoother()(image, boxes, coarse[None])
        x, y, w, h = rois[0].tolist()
        smooth = np.zeros_like(mask)
        smooth[y : y + h, x : x + w] = next(iter(alphas)) >= 0.5
        error, error_before = 1 - self.iou(smooth, mask), 1 - self.iou(plain, mask)
        assert error < error_before / 2

    @pytest.mark.parametrize(
        'box',
        [
            [0, 0, 320, 240],
            [-3, -3, 20, 20],
            [310, 230, 320, 240],
            [100, 100, 100.5, 100.5],
            [0, 119, 320, 121],
            [319.5, 0, 320, 240],
        ],
    )
    def test_results_lie_inside_the_image(
        self, scene: tuple[np.ndarray, np.ndarray], box: list[float]
    ) -> None:
        coarse = np.random.default_rng(0).random((1, CELLS, CELLS), np.float32)
        rois, alphas = MaskSmoother()(scene[0], np.array([box], np.float32), coarse)
        (x, y, w, h), (alpha,) = rois[0].tolist(), list(alphas)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 320 and y + h <= 240
        assert alpha.shape == (h, w) and alpha.dtype == np.float32
        assert np.isfinite(alpha).all() and alpha.min() >= -1e-3 and alpha.max() <= 1 + 1e-3

    def test_no_instance_needs_no_work(self, scene: tuple[np.ndarray, np.ndarray]) -> None:
        rois, alphas = MaskSmoother()(
            scene[0], np.zeros((0, 4), np.float32), np.zeros((0, CELLS, CELLS), np.float32)
        )
        assert rois.shape == (0, 4) and list(alphas) == []


@pytest.mark.parametrize('axes', [(110, 20), (30, 90)])
def test_a_long_object_is_smoothed_where_it_is(axes: tuple[int, int]) -> None:
    mask = np.zeros((240, 320), np.uint8)
    cv2.ellipse(mask, (160, 120), axes, 0, 0, 360, 1, cv2.FILLED)
    image = np.where(mask[..., None] > 0, np.uint8([40, 40, 200]), np.uint8([180, 90, 30]))
    x1, y1, x2, y2 = 160 - axes[0], 120 - axes[1], 161 + axes[0], 121 + axes[1]
    inside = mask[y1:y2, x1:x2].astype(np.float32)
    coarse = cv2.resize(inside, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    box = np.array([[x1, y1, x2, y2]], np.float32)
    rois, alphas = MaskSmoother()(image, box, coarse[None])
    (x, y, w, h), (alpha,) = rois[0].tolist(), alphas
    smooth = np.zeros_like(mask)
    smooth[y : y + h, x : x + w] = alpha >= 0.5
    assert (smooth & mask).sum() / (smooth | mask).sum() > 0.93


def test_trimmed_masks_are_the_same_in_the_image() -> None:
    rois = np.array([[10, 20, 40, 30], [0, 0, 5, 5], [60, 50, 8, 6]], np.int32)
    masks = [np.zeros((h, w), np.uint8) for _, _, w, h in rois]
    masks[0][4:11, 7:30] = 1
    masks[0][6, 12] = 0  # a hole stays
    masks[2][:] = 1
    before = [in_image(*each) for each in zip(rois, masks, strict=True)]
    trimmed, crops = trim_to_masks(rois, masks)
    assert trimmed.tolist() == [[17, 24, 23, 7], [0, 0, 5, 5], [60, 50, 8, 6]]
    assert [crop.shape for crop in crops] == [(7, 23), (5, 5), (6, 8)]
    for roi, crop, image in zip(trimmed, crops, before, strict=True):
        np.testing.assert_array_equal(in_image(roi, crop), image)


def in_image(roi: np.ndarray, mask: np.ndarray) -> np.ndarray:
    image = np.zeros((100, 100), np.uint8)
    x, y, w, h = roi
    image[y : y + h, x : x + w] = mask
    return image
