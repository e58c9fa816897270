# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Image files, and the check of images that callers hand over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as uint8 (H, W, 3), BGR, turned as its EXIF orientation says.

    Raises:
        ImageError: the file is missing, cannot be read, or is no image; the message names it.
    """
    path = Path(path).expanduser()
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}. Expected an image file') from None
    # Not by cv2.imread: it prints the reason to stderr and returns None.
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:  # such as more pixels than OpenCV allows
        raise ImageError(f'{path}: OpenCV cannot read it ({" ".join(error.err.split())})') from None
    if image is None:
        what = 'is damaged, or is no image that OpenCV can read' if content.size else 'is empty'
        raise ImageError(f'{path}: {what}. Expected a PNG, JPEG, BMP, TIFF or WebP file')
    return image


def check_image(image: Any, name: str = 'image', min_side: int = 1) -> None:
    """Check that an image is a uint8 array (H, W, 3), as OpenCV's BGR images are.

    Args:
        image: to check.
        name: what the message calls it.
        min_side: smallest height and width in pixels.

    Raises:
        ImageError: it is not; the message says what it is, what was expected and what to do.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f'{name} is a {type(image).__name__}: expected a numpy array uint8 (H, W, 3), BGR. '
            'cv2.imread gives None for a file that it cannot read'
        )
    if image.ndim != 3 or image.shape[2] != 3:
        channels = image.shape[2] if image.ndim == 3 else 1
        hint = f'convert it by cv2.cvtColor({name}, cv2.COLOR_GRAY2BGR)'
        if channels == 4:
            hint = f'drop the alpha channel by {name}[:, :, :3]'
        elif channels != 1 or image.ndim not in (2, 3):
            hint = 'convert it'
        raise ImageError(f'{name} has the shape {image.shape}: expected (H, W, 3), BGR; {hint}')
    if image.dtype != np.uint8:
        hint = (
            'multiply one that ranges from 0 to 1 by 255 and convert it'
            if image.dtype.kind == 'f'
            else 'scale it to 0 to 255 and convert it'
        )
        raise ImageError(f'{name} is of the type {image.dtype}: expected uint8; {hint}')
    if min(image.shape[:2]) < min_side:
        raise ImageError(
            f'{name} is {image.shape[1]}x{image.shape[0]} pixels: expected at least '
            f'{min_side}x{min_side}'
        )
