# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Scores that are too high by a known amount are put right."""

import numpy as np
import pytest

from training.detector.calibrate import fit_offset, offset_for, with_offset
from training.graph import NetworkConfig, random_arrays


@pytest.mark.parametrize('offset', [0.0, 1.5, 3.0])
def test_the_offset_is_found(offset: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-logits))
    too_high = 1 / (1 + np.exp(-(logits + offset)))
    assert fit_offset(too_high, right) == pytest.approx(offset, abs=0.15)


@pytest.mark.parametrize('right', [True, False])
def test_nothing_to_compare_is_said(right: bool) -> None:
    with pytest.raises(ValueError, match='some are and some are not'):
        fit_offset(np.array([0.5, 0.9]), np.full(2, right))


@pytest.mark.parametrize(('most', 'left'), [(0, 0), (2, 2), (2.9, 2), (9, 5)])
def test_so_many_false_detections_are_left(most: float, left: int) -> None:
    scores = np.array([0.2, 0.9, 0.6, 0.7, 0.55, 0.8, 0.1])
    logits = np.log(scores / (1 - scores))
    offset = max(0.0, offset_for(scores, most))
    assert int((logits - offset > 1e-9).sum()) == left


def test_only_the_background_changes() -> None:
    arrays = random_arrays(NetworkConfig(width=0.125, num_classes=3))
    changed = with_offset(arrays, 2.0)
    differing = [name for name in arrays if not np.array_equal(arrays[name], changed[name])]
    assert differing == ['SecondStageBoxPredictor/ClassPredictor/biases']
    assert (changed[differing[0]] - arrays[differing[0]]).tolist() == [2, 0, 0, 0]
