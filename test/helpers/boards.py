# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Boards in front of a wall, as a depth camera sees them: scenes whose geometry is known."""

from __future__ import annotations

import math

import cv2
import numpy as np

from instance_seg_ros.depth import Intrinsics
from instance_seg_ros.instances import Instances

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5, 640, 480)


def board(
    center: tuple[float, float, float],
    size: tuple[float, float],
    tilt: float,
    background: float,
    camera: Intrinsics = CAMERA,
) -> tuple[np.ndarray, np.ndarray]:
    """Return mask and depth (metres) of a board that is turned about the vertical axis."""
    right, down = np.array([math.cos(tilt), 0, math.sin(tilt)]), np.array([0, 1.0, 0])
    normal = np.cross(right, down)
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack(
        [(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones(x.shape)], -1
    )
    points = (np.array(center) @ normal / (rays @ normal))[..., None] * rays
    offset = points - np.array(center)
    mask = (np.abs(offset @ right) <= size[0] / 2) & (np.abs(offset @ down) <= size[1] / 2)
    depth = np.where(mask, points[..., 2], background).astype(np.float32)
    return mask.astype(np.uint8), depth


def instances_of(mask: np.ndarray) -> Instances:
    rows, columns = np.nonzero(mask)
    x, y, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return Instances(
        np.array([[x, y, x2, y2]], np.float32),
        np.ones(1, np.float32),
        np.zeros(1, np.int32),
        ['board'],
        np.array([[x, y, x2 - x, y2 - y]], np.int32),
        [mask[y:y2, x:x2]],
        np.zeros(1, bool),
        mask.shape[:2],
    )


def with_background(mask: np.ndarray, part: float) -> np.ndarray:
    """Return the mask grown to the right until that part of it is background."""
    area = np.count_nonzero(mask)
    grown, shift = mask.copy(), 0
    while np.count_nonzero(grown) * (1 - part) < area and shift < mask.shape[1] - 1:
        shift += 1
        grown[:, shift:] |= mask[:, :-shift]
    return grown


def with_mixed_outlines(depth: np.ndarray) -> np.ndarray:
    """Return the depth as a real camera measures it: pixels at outlines lie between surfaces."""
    return cv2.GaussianBlur(depth, (0, 0), 1.5)
