# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Depth images in one unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError

MAX_METRES = 1000.0  # further away is no depth camera, but a wrong unit


class DepthError(ImageError):
    """A depth image cannot be used; the message says what it is and what is expected."""


def depth_in_metres(depth: NDArray[Any]) -> NDArray[np.float32]:
    """Return a depth image in metres, with NaN where there is no measurement.

    Args:
        depth: (H, W), uint16 in millimetres or float32 in metres, as REP 118 has them. 0, NaN,
            infinity and negative values are no measurement.

    Returns:
        float32 (H, W), metres along the optical axis.

    Raises:
        DepthError: another shape or type.

    Examples:
        >>> depth_in_metres(np.array([[0, 1500]], np.uint16)).round(3).tolist()
        [[nan, 1.5]]
    """
    depth = np.asarray(depth)
    kind = depth.dtype.newbyteorder('=')  # of a raw file, too, whatever its byte order
    if depth.ndim != 2 or kind not in (np.dtype(np.uint16), np.dtype(np.float32)):
        raise DepthError(
            f'the depth image has the shape {depth.shape} and the type {depth.dtype}: expected '
            '(height, width), uint16 in millimetres or float32 in metres'
        )
    metres = depth.astype(np.float32)
    if kind == np.uint16:
        metres *= np.float32(1e-3)
    with np.errstate(invalid='ignore'):
        metres[~((metres > 0) & (metres < MAX_METRES))] = np.nan
    return metres
