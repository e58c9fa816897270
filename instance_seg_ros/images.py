# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Image files."""

from __future__ import annotations

from pathlib import Path

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
    # Not by cv2.imread, which tells on stderr, and in a return value of None, what went wrong.
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:  # such as more pixels than OpenCV allows
        raise ImageError(f'{path}: OpenCV cannot read it ({" ".join(error.err.split())})') from None
    if image is None:
        what = 'is damaged, or is no image that OpenCV can read' if content.size else 'is empty'
        raise ImageError(f'{path}: {what}. Expected a PNG, JPEG, BMP, TIFF or WebP file')
    return image
