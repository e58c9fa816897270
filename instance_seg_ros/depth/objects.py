# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where instances are in space."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.depth.intrinsics import Intrinsics
from instance_seg_ros.instances import Instances

MIN_POINTS = 10  # fewer are noise
# Part of the mask's half width that is left out at its border, where a depth camera mixes the
# object with what is behind it.
BORDER = 0.05
# Points further from the median depth than this many median deviations are not of the object ...
MAX_DEVIATIONS = 3.0
# ... but those within this part of its distance always are: a flat object has almost no deviation.
MIN_DEPTH_PART = 0.01
# The extent is that between these percentiles: single points say nothing about it.
LOWEST, HIGHEST = 1.0, 99.0


@dataclass(frozen=True)
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


def locate(
    instances: Instances, depth: NDArray[np.float32], intrinsics: Intrinsics
) -> list[Object3D]:
    """Find the places of instances.

    Where a mask takes in some background, or the depth image bleeds at an outline, the points that
    are far from the median depth are left out, so that up to about a third of the mask may be
    wrong.

    Args:
        instances: with masks.
        depth: float32 (H, W), metres, NaN where there is none, registered to the image: the same
            view, of any resolution. See :func:`depth_in_metres`.
        intrinsics: of the depth camera; scaled if they are for another size.

    Returns:
        An object for each instance that has enough depth, in the order of the instances.

    Examples:
        >>> depth = np.full(instances.image_size, 2.0, np.float32)  # a wall at two metres
        >>> camera = Intrinsics(500, 500, 255.5, 255.5, 512, 512)
        >>> person, = locate(instances, depth, camera)
        >>> person.index, float(person.center[2]), person.points.shape[1]
        (0, 2.0, 3)
    """
    height, width = depth.shape
    camera = intrinsics.scaled_to(width, height)
    found = (
        _object(index, mask, roi, instances.image_size, depth, camera)
        for index, (mask, roi) in enumerate(
            zip(instances.masks or [], instances.rois.tolist(), strict=False)
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
    rows, columns = np.nonzero(_without_border(mask) & np.isfinite(region))
    z = region[rows, columns]
    kept = _of_one_object(z)
    if np.count_nonzero(kept) < MIN_POINTS:
        return None
    z, columns, rows = z[kept], columns[kept] + left, rows[kept] + top
    points = np.stack(
        [(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], 1
    ).astype(np.float32)
    low, high = np.percentile(points, (LOWEST, HIGHEST), axis=0).astype(np.float64)
    pixels = np.stack([columns, rows], 1).astype(np.int32)
    return Object3D(
        index, (low + high) / 2, high - low, points, pixels, (depth.shape[0], depth.shape[1])
    )


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


def _of_one_object(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which depths belong to the object that most of them belong to."""
    kept = np.full(len(z), True)
    for _ in range(10):
        if not kept.any():
            break
        median = np.median(z[kept])
        deviation = np.median(np.abs(z[kept] - median))
        limit = max(MAX_DEVIATIONS * deviation, MIN_DEPTH_PART * median)
        closer = np.abs(z - median) <= limit
        if np.array_equal(closer, kept):
            break
        kept = closer
    return kept
