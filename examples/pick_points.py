# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Finds where to pick each object of a photo, and how to turn the gripper: pick_points.py a.jpg."""

import sys

import cv2
import numpy as np

from instance_seg_ros import Segmenter


def pick_point(mask: np.ndarray) -> tuple[int, int, float]:
    """Return x, y of the pixel that lies deepest inside a mask, and its distance to the edge."""
    # With a border of background: an object that the image cuts off ends at the image's edge.
    distance = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, 0), cv2.DIST_L2, 5)
    _, depth, _, (x, y) = cv2.minMaxLoc(distance)
    return x - 1, y - 1, depth


def grasp_angle(mask: np.ndarray) -> float:
    """Return the angle in radians, from x towards y, of the line that a gripper closes along."""
    moments = cv2.moments(mask, binaryImage=True)
    long_axis = 0.5 * np.arctan2(2 * moments['mu11'], moments['mu20'] - moments['mu02'])
    return float(long_axis + np.pi / 2)


def main() -> None:
    image = cv2.imread(sys.argv[1])
    if image is None:
        sys.exit(f'{sys.argv[1]}: cannot be read as an image')
    instances = Segmenter()(image)
    for i, name in enumerate(instances.class_names):
        mask = instances.full_mask(i)
        x, y, depth = pick_point(mask)
        angle = grasp_angle(mask)
        print(f'{name}: pick at ({x}, {y}), close at {np.degrees(angle):.0f} degrees')
        reach = np.array([np.cos(angle), np.sin(angle)]) * (depth + 10)
        ends = [tuple(map(int, (x, y) + sign * reach)) for sign in (-1, 1)]
        cv2.line(image, ends[0], ends[1], (0, 0, 255), 3)
        cv2.circle(image, (x, y), 6, (0, 255, 0), -1)
    cv2.imwrite('pick_points.png', image)


if __name__ == '__main__':
    main()
