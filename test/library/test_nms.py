# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which of several boxes in one place is kept."""

import numpy as np
import pytest

from instance_seg_ros.detection.nms import suppress


@pytest.mark.parametrize('threshold', [0.1, 0.3, 0.5])
def test_what_is_kept_is_what_a_plain_loop_keeps(threshold: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners, sides = rng.uniform(0, 30, (40, 2)), rng.uniform(5, 40, (40, 2))
        boxes, class_ids = np.concatenate([corners, corners + sides], 1), rng.integers(0, 3, 40)
        kept: list[int] = []
        for i in range(40):
            rivals = [k for k in kept if class_ids[k] == class_ids[i]]
            if all(iou(boxes[i], boxes[k]) <= threshold for k in rivals):
                kept.append(i)
        assert suppress(boxes, class_ids, threshold).tolist() == kept
        assert 3 < len(kept) < 40


def iou(a: np.ndarray, b: np.ndarray) -> float:
    overlap = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return overlap / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap)
