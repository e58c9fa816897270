# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The size in which the network sees an image."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.settings import MIN_IMAGE_SIDE

STRIDE = 16  # pixels of the input that are one of the first stage's features


def choose_input_size(
    shape: tuple[int, ...], max_side: int, max_upscale: float, multiple: int
) -> tuple[int, int]:
    """Return width and height of the network's input for an image.

    Args:
        shape: of the image: height and width come first.
        max_side: of the input, in pixels.
        max_upscale: how far a small image is enlarged at most.
        multiple: width and height are multiples of it.
    """
    height, width = shape[:2]
    scale = min(max_side / max(height, width), max_upscale)
    return _side(width * scale, multiple), _side(height * scale, multiple)


def match_padding(size: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Return the nearest size that needs the same padding as another.

    These are the sizes whose sides differ from the other's by a multiple of the stride. The network
    need not be prepared again for them (see net_loader).
    """
    return _congruent(size[0], other[0]), _congruent(size[1], other[1])


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image in a size (width, height); the image itself where it has that size."""
    width = image.shape[1]
    if size == (width, image.shape[0]):
        return image
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method)


def _side(pixels: float, multiple: int) -> int:
    return max(round(pixels / multiple), math.ceil(MIN_IMAGE_SIDE / multiple)) * multiple


def _congruent(side: int, other: int) -> int:
    nearest = other + STRIDE * round((side - other) / STRIDE)
    lacking = max(0, MIN_IMAGE_SIDE - nearest)
    return nearest + STRIDE * math.ceil(lacking / STRIDE)
