# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Run lengths of masks: what they are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.messages import mask_from_rle_counts, run_lengths

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    'mask',
    [
        np.zeros((3, 4), np.uint8),
        np.ones((3, 4), bool),
        RANDOM.integers(0, 2, (7, 5)) * 255,
        RANDOM.random((1, 9)) - 0.5,
        np.zeros((0, 4), np.uint8),
        RANDOM.integers(0, 2, (7, 5, 1)),
    ],
)
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    counts = run_lengths(mask)
    assert counts.sum() == mask.size
    for given in (counts, counts.tolist()):
        back = mask_from_rle_counts(given, *mask.shape[:2])
        assert back.dtype == np.uint8
        np.testing.assert_array_equal(back, mask.reshape(mask.shape[:2]) != 0)


@pytest.mark.parametrize('shape', [(12,), (3, 4, 3)])
def test_what_is_no_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'mask has the shape .*: expected \(height, width\)'):
        run_lengths(np.ones(shape, np.uint8))


@pytest.mark.parametrize(
    ('counts', 'reason'),
    [
        ([[6, 6]], r'shape \(1, 2\): expected \(number of runs,\)'),
        (12, 'have the shape'),
        ([14, -2], 'hold -2: expected lengths of runs, 0 or more'),
        ([6, 5], 'add up to 11, expected 12 for a roi of 4 x 3'),
    ],
)
def test_what_are_no_run_lengths_is_refused(counts: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f'rle_counts .*{reason}'):
        mask_from_rle_counts(counts, 3, 4)
