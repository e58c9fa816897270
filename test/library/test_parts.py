# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Masks without crumbs: what is dropped, what is filled, and what stays as it is."""

import cv2
import numpy as np
import pytest

from instance_seg_ros import Segmenter
from instance_seg_ros.refinement.parts import without_crumbs


def drawn(*rows: str) -> np.ndarray:
    """Return a mask of rows of characters; a dot is background."""
    return np.array([[pixel != '.' for pixel in row] for row in rows], np.uint8)


def test_a_speck_is_dropped_and_a_pinhole_filled() -> None:
    mask = drawn(
        '########.#',
        '########..',
        '###.####..',
        '########..',
        '########..',
    )  # fmt: skip
    expected = drawn(*['########..'] * 5)
    np.testing.assert_array_equal(without_crumbs(mask, 0.05), expected)


def test_the_mask_that_was_given_stays_as_it_is() -> None:
    mask = drawn('####.#', '####..')
    before = mask.copy()
    without_crumbs(mask, 0.5)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize(('share', 'kept'), [(0.49, True), (0.5, True), (0.51, False)])
def test_a_part_stays_from_its_share_of_the_largest_on(share: float, kept: bool) -> None:
    mask = drawn('####.##', '####.##')
    expected = mask if kept else drawn('####...', '####...')
    np.testing.assert_array_equal(without_crumbs(mask, share), expected)


@pytest.mark.parametrize(('share', 'kept'), [(0.2, True), (0.21, False)])
def test_a_hole_does_not_count_for_the_part_around_it(share: float, kept: bool) -> None:
    # 20 pixels around a hole of 4: a fifth.
    mask = np.ones((4, 6), np.uint8)
    mask[1:3, 2:4] = 0
    expected = mask if kept else np.ones_like(mask)
    np.testing.assert_array_equal(without_crumbs(mask, share), expected)


def test_what_lies_in_a_hole_that_is_filled_becomes_part_of_it() -> None:
    mask = np.ones((40, 40), np.uint8)
    mask[10:15, 10:15] = 0
    mask[12, 12] = 1
    assert without_crumbs(mask, 0.05).all()


def test_a_ring_of_crumbs_goes_with_all_that_is_in_it() -> None:
    mask = np.zeros((40, 80), np.uint8)
    mask[:, :40] = 1
    cv2.circle(mask, (60, 20), 4, 1)
    mask[20, 60] = 1
    expected = np.zeros_like(mask)
    expected[:, :40] = 1
    np.testing.assert_array_equal(without_crumbs(mask, 0.05), expected)


def test_a_bay_at_the_edge_is_no_hole() -> None:
    mask = np.ones((20, 20), np.uint8)
    mask[0, 10] = 0
    np.testing.assert_array_equal(without_crumbs(mask, 0.5), mask)


def test_pixels_that_touch_at_a_corner_belong_together() -> None:
    mask = drawn('####..', '####..', '....#.', '.....#')
    np.testing.assert_array_equal(without_crumbs(mask, 0.5), mask)


@pytest.mark.parametrize('value', [0, 1])
def test_an_empty_and_a_full_mask(value: int) -> None:
    mask = np.full((5, 7), value, np.uint8)
    np.testing.assert_array_equal(without_crumbs(mask, 1.0), mask)


def test_it_agrees_with_counting_the_pixels_of_every_part() -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(300):
        height, width = rng.integers(1, 60, 2)
        field = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), rng.uniform(0.3, 4))
        mask = (field > 0.3 * rng.normal() * field.std()).astype(np.uint8)
        share = rng.uniform(0.01, 0.6)
        expected = counted(mask, share)
        np.testing.assert_array_equal(without_crumbs(mask, share), expected)
        changed += bool((mask != expected).any())
    assert changed > 150


def counted(mask: np.ndarray, share: float) -> np.ndarray:
    """Do the same by label images."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    sizes = statistics[:, cv2.CC_STAT_AREA]
    least = share * max(sizes[1:], default=0)
    kept = np.isin(labels, 1 + np.flatnonzero(sizes[1:] >= least))
    background = np.pad(~kept, 1, constant_values=True).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    small = np.flatnonzero(statistics[:, cv2.CC_STAT_AREA] < least)
    filled = np.isin(labels, small[(small != 0) & (small != labels[0, 0])])
    return (kept | filled[1:-1, 1:-1]).astype(np.uint8)


@pytest.mark.parametrize('share', [-0.1, 1.1, float('nan')])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match='min_part is .*expected a share from 0 to 1'):
        without_crumbs(np.ones((3, 3), np.uint8), share)


@pytest.mark.parametrize('refiner', ['none', 'smooth', 'gan'])
@pytest.mark.slow
def test_every_refiners_masks_lose_their_crumbs(
    refiner: str, segmenter: Segmenter, photo: np.ndarray
) -> None:
    """The network with random weights has ragged masks, a good test of it."""
    segmenter.update(refiner=refiner, min_part=0.0)
    ragged = whole_masks(segmenter, photo)
    segmenter.min_part = 0.3
    tidy = whole_masks(segmenter, photo)
    assert any((one != other).any() for one, other in zip(ragged, tidy, strict=True))
    for one, other in zip(ragged, tidy, strict=True):
        np.testing.assert_array_equal(without_crumbs(one, 0.3), other)


def whole_masks(segmenter: Segmenter, photo: np.ndarray) -> list[np.ndarray]:
    found = segmenter(photo)
    return [found.full_mask(i) for i in range(len(found))]
