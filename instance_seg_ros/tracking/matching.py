# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which box of a frame is which object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def diou_distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 - DIoU of each box of one set with each of another: it ranks those apart, too.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020.

    Args:
        a: (N, 4), x1, y1, x2, y2.
        b: (M, 4).

    Returns:
        (N, M), 0 to 2. An empty box overlaps nothing.

    """
    a, b = a[:, None].astype(np.float64), b[None].astype(np.float64)
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = overlap.clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - intersection
    hull = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    offset = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    tiny = np.finfo(np.float64).tiny  # of empty boxes in one place
    apart = (offset**2).sum(-1) / np.maximum((hull**2).sum(-1), tiny)
    return 1 - intersection / np.maximum(union, tiny) + apart


def match_nearest(distances: NDArray[Any], limits: NDArray[Any]) -> list[tuple[int, int]]:
    """Return pairs of row and column, the nearest pair first, each row and column once.

    Args:
        distances: (N, M).
        limits: (M,) of the columns: pairs that are not below are no pairs.

    """
    rows, columns = np.nonzero(distances < limits)
    order = np.argsort(distances[rows, columns], kind='stable')
    pairs: list[tuple[int, int]] = []
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
            pairs.append((row, column))
    return pairs
