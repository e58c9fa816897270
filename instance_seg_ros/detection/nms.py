# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Non-maximum suppression, class by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.floating], class_ids: NDArray[np.integer], threshold: float
) -> NDArray[np.intp]:
    """Return the positions of the boxes that overlap no better box of their class too much.

    Args:
        boxes: float (N, 4), x1, y1, x2, y2, the best first.
        class_ids: int (N,).
        threshold: intersection over union from which on, exclusively, a box is dropped.

    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    # Boxes by class: those of the same class are compared, the best of each with those behind it.
    order = np.argsort(class_ids, kind='stable')
    ends = np.searchsorted(class_ids[order], class_ids[order], side='right')
    alive = np.ones(len(boxes), bool)
    for place, (i, end) in enumerate(zip(order, ends, strict=True)):
        others = order[place + 1 : end]
        if not alive[i] or len(others) == 0:
            continue
        width = np.minimum(x2[i], x2[others]) - np.maximum(x1[i], x1[others])
        height = np.minimum(y2[i], y2[others]) - np.maximum(y1[i], y1[others])
        both = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[i] + areas[others] - both
        alive[others] &= ~((both > 0) & (both > threshold * union))
    return np.flatnonzero(alive)


__all__ = ['suppress']
