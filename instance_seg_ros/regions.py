# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What of an image counts: regions of interest, and pixels to ignore such as the robot's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.instances import Instances

MOSTLY = 0.5  # an instance with more than this part of its mask on ignored pixels is dropped


def read_ignore_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read an image whose pixels that are not black are ignored.

    Returns:
        bool (H, W), True where pixels are ignored.

    Raises:
        ImageError: there is no such image.

    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ImageError(f'ignore_mask {path}: not an image that can be read; expected a PNG')
    return image > 0


def apply_ignore_mask(instances: Instances, ignored: NDArray[np.bool_]) -> Instances:
    """Drop instances that lie mostly on ignored pixels, and cut the masks of the others.

    Args:
        instances: with or without masks; without, the boxes count.
        ignored: bool (H, W), of the size of the image.

    Raises:
        ImageError: of another size than the image.

    """
    if ignored.shape != tuple(instances.image_size):
        height, width = instances.image_size
        raise ImageError(
            f'the ignore mask is {ignored.shape[1]} x {ignored.shape[0]}, the image {width} x '
            f'{height}: expected the same size'
        )
    kept, masks = [], []
    for index, (x, y, w, h) in enumerate(instances.rois.tolist()):
        region = ignored[y : y + h, x : x + w]
        mask = np.ones((h, w), np.uint8) if instances.masks is None else instances.masks[index]
        cut = mask * ~region
        if np.count_nonzero(cut) > (1 - MOSTLY) * np.count_nonzero(mask):
            kept.append(index)
            masks.append(cut)
    rest = instances[kept]
    return rest if instances.masks is None else replace(rest, masks=masks)
