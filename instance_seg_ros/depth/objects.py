# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where instances are in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.depth.images import DepthError
from instance_seg_ros.depth.intrinsics import Intrinsics
from instance_seg_ros.instances import Instances

MIN_POINTS = 10  # fewer are noise
# Part of the mask's half width at its border that has no say in how far the object is.
BORDER = 0.05
# A depth camera mixes the object with what is behind it: pixels with a neighbour so far from the
# object are left out. In parts of the object's distance, and beyond the limit below.
FAR = 0.04
MIXED = 3  # pixels to such a neighbour
# Points further from the median depth than this many median deviations are not of the object ...
MAX_DEVIATIONS = 3.0
# ... but those within this part of its distance always are: a flat object has almost no deviation.
MIN_DEPTH_PART = 0.01
# The extent is that between these percentiles: single points say nothing about it.
LOWEST, HIGHEST = 1.0, 99.0


@dataclass(frozen=True, eq=False)
class Object3D:
    """The visible surface of one instance, in the optical frame of the depth camera.

    Attributes:
        index: of the instance.
        center: float64 (3,), x right, y down, z forward: the middle of the extent, metres.
        size: float64 (3,): the extent along these axes, metres.
        points: float32 (N, 3), of the surface, metres.
        pixels: int32 (N, 2), column and row of each point in the depth image.
        depth_size: height and width of the depth image.
    """

    index: int
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    points: NDArray[np.float32]
    pixels: NDArray[np.int32]
    depth_size: tuple[int, int]

    @property
    def distance(self) -> float:
        """From the camera to the centre, metres."""
        return float(np.linalg.norm(self.center))


def locate(instances: Instances, depth: NDArray[Any], intrinsics: Intrinsics) -> list[Object3D]:
    """Find the places of instances.

    Where a mask takes in some background, or the depth image bleeds at an outline, the points that
    are far from the median depth are left out, so that up to about a third of the mask may be
    wrong.

    Args:
        instances: with masks.
        depth: float32 (H, W), metres, NaN, 0 or less where there is none, registered to the image:
            the same view, of any resolution. See :func:`depth_in_metres` for others.
        intrinsics: of the depth camera; scaled if they are for another size.

    Returns:
        An object for each instance that has enough depth, in the order of the instances.

    Raises:
        DepthError: the depth image has another shape or type.
        ValueError: the instances have no masks.

    Examples:
        >>> depth = np.full(instances.image_size, 2.0, np.float32)  # a wall at two metres
        >>> camera = Intrinsics(500, 500, 255.5, 255.5, 512, 512)
        >>> person, = locate(instances, depth, camera)
        >>> person.index, float(person.center[2]), person.points.shape[1]
        (0, 2.0, 3)
    """
    if not len(instances):
        return []
    if instances.masks is None:
        raise ValueError('there are no masks: the frame was segmented with masks=False')
    depth = np.asarray(depth)
    if depth.ndim != 2 or depth.size == 0 or depth.dtype.kind != 'f':
        raise DepthError(
            f'the depth image has the shape {depth.shape} and the type {depth.dtype}: expected '
            '(height, width), float32 in metres. depth_in_metres converts millimetres'
        )
    with np.errstate(invalid='ignore'):
        nothing = depth <= 0
    if nothing.any():
        depth = np.where(nothing, np.nan, depth)
    depth = depth.astype(np.float32, copy=False)
    height, width = depth.shape
    camera = intrinsics.scaled_to(width, height)
    found = (
        _object(index, mask, roi, instances.image_size, depth, camera)
        for index, (mask, roi) in enumerate(
            zip(instances.masks, instances.rois.tolist(), strict=True)
        )
    )
    return [each for each in found if each is not None]


def _object(
    index: int,
    mask: NDArray[np.uint8],
    roi: list[int],
    image_size: tuple[int, int],
    depth: NDArray[np.float32],
    camera: Intrinsics,
) -> Object3D | None:
    mask, left, top = _in_depth_image(mask, roi, image_size, depth.shape)
    region = depth[top : top + mask.shape[0], left : left + mask.shape[1]]
    inner = region[_without_border(mask) & np.isfinite(region)]
    if len(inner) < MIN_POINTS:
        return None
    middle, limit = _of_most(inner)
    close = (mask > 0) & (np.abs(region - middle) <= limit)
    pure = close & ~_mixed(depth, (left, top, *region.shape[::-1]), middle, limit)
    if np.count_nonzero(pure) < MIN_POINTS:  # a thin object is outline all over
        pure = close
    if np.count_nonzero(pure) < MIN_POINTS:
        return None
    pixels = np.argwhere(pure)[:, ::-1] + (left, top)
    points = _points(pixels, region[pure], camera)
    extent = np.percentile(points, (LOWEST, HIGHEST), axis=0).astype(np.float64)
    # Mixed pixels have no place of their own, but they are as wide as others.
    outline = (_extent(close) - _extent(pure)) * middle / (camera.fx, camera.fy)
    extent[:, :2] += outline
    low, high = extent
    return Object3D(
        index,
        (low + high) / 2,
        high - low,
        points,
        pixels.astype(np.int32),
        (depth.shape[0], depth.shape[1]),
    )


def _points(
    pixels: NDArray[np.int64], z: NDArray[np.float32], camera: Intrinsics
) -> NDArray[np.float32]:
    """Return the places (n, 3), metres, that pixels (column, row) at depths (n,) show."""
    x, y = ((pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy) * z[:, None]).T
    return np.stack([x, y, z], 1).astype(np.float32)


def _extent(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (column, row) at the lower and at the upper percentile of a mask, (2, 2), pixels."""
    extents = []
    for counts in (mask.sum(0), mask.sum(1)):
        parts = np.cumsum(counts) / max(1, counts.sum())
        extents.append(np.searchsorted(parts, (LOWEST / 100, HIGHEST / 100)))
    return np.array(extents, np.float64).T


def _in_depth_image(
    mask: NDArray[np.uint8],
    roi: list[int],
    image_size: tuple[int, int],
    depth_size: tuple[int, ...],
) -> tuple[NDArray[np.uint8], int, int]:
    """Return the mask in the resolution of the depth image, and its first column and row there."""
    x, y, w, h = roi
    if tuple(image_size) == tuple(depth_size):
        return mask, x, y
    scale_y, scale_x = depth_size[0] / image_size[0], depth_size[1] / image_size[1]
    left, top = int(x * scale_x), int(y * scale_y)
    right = min(depth_size[1], max(left + 1, int(np.ceil((x + w) * scale_x))))
    bottom = min(depth_size[0], max(top + 1, int(np.ceil((y + h) * scale_y))))
    # The pixel of the mask below the centre of each depth pixel.
    columns = ((np.arange(left, right) + 0.5) / scale_x).astype(int) - x
    rows = ((np.arange(top, bottom) + 0.5) / scale_y).astype(int) - y
    inside = (rows >= 0)[:, None] & (rows < h)[:, None] & (columns >= 0) & (columns < w)
    picked = mask[np.clip(rows, 0, h - 1)[:, None], np.clip(columns, 0, w - 1)]
    return picked * inside, left, top


def _without_border(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    radius = round(BORDER * np.sqrt(np.count_nonzero(mask)))
    if radius < 1:
        return mask > 0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    # A thin object is border all over.
    return (inner if np.count_nonzero(inner) >= MIN_POINTS else mask) > 0


def _of_most(z: NDArray[np.float32]) -> tuple[float, float]:
    """Return the depth of the object that most of z (N,) is of, and how far it goes; metres."""
    kept = z
    for _ in range(10):
        middle = float(np.median(kept))
        deviation = float(np.median(np.abs(kept - middle)))
        limit = max(MAX_DEVIATIONS * deviation, MIN_DEPTH_PART * middle)
        closer = z[np.abs(z - middle) <= limit]
        if len(closer) == len(kept):
            break
        kept = closer
    return middle, limit


def _mixed(
    depth: NDArray[np.float32], roi: tuple[int, int, int, int], middle: float, limit: float
) -> NDArray[np.bool_]:
    """Return where in the ROI (x, y, w, h) a pixel may have some depth of another surface.

    Args:
        depth: (H, W), metres, the whole image: what is beside the ROI counts, too.
        roi: in pixels of the depth image.
        middle, limit: of _of_most.

    Returns:
        bool (h, w).
    """
    x, y, w, h = roi
    left, top = max(0, x - MIXED), max(0, y - MIXED)
    around = depth[top : y + h + MIXED, left : x + w + MIXED]
    with np.errstate(invalid='ignore'):  # no measurement says nothing
        far = np.abs(around - middle) > max(limit, FAR * middle) + limit
    kernel = np.ones((2 * MIXED + 1, 2 * MIXED + 1), np.uint8)
    near_it = cv2.dilate(far.astype(np.uint8), kernel)
    return near_it[y - top : y - top + h, x - left : x - left + w] > 0
