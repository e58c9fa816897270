# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Images from files and messages: the header is checked before decoding. Checks arrays, too."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.decoder_output import decoder_output_dropped
from instance_seg_ros.errors import ImageError
from instance_seg_ros.image_header import (
    BMP,
    JPEG,
    PNG,
    TIFF,
    WEBP,
    read_header,
    still_png,
    webp_orientation,
)
from instance_seg_ros.paths import given_path
from instance_seg_ros.text_files import one_line

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
OTHER_SUFFIXES = ('.heic', '.heif', '.gif', '.avif', '.jp2', '.jxl', '.raw', '.dng', '.svg')
FILE_FORMATS = (PNG, JPEG, BMP, TIFF, WEBP)
MESSAGE_FORMATS = (JPEG, PNG)

# Of a decoded image. A phone's largest photos have 200 megapixels of 3 bytes.
LARGEST_FILE = 640_000_000
LARGEST_MESSAGE = 320_000_000

# By EXIF orientation; 1 is upright.
_TURNS: dict[int, Callable[[NDArray[np.uint8]], Any]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.flip(image, -1),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def read_image(path: str | os.PathLike[str], *, as_stored: bool = False) -> NDArray[np.uint8]:
    """Read an image file as uint8 (H, W, 3), BGR, rotated as its EXIF orientation says.

    Args:
        path: of the file.
        as_stored: do not rotate it.

    Raises:
        ImageError: the file is missing, cannot be read, is no image or too large; the message
            names it.

    Examples:
        >>> read_image('demo/photos/astronaut.jpg').shape
        (512, 512, 3)
    """
    if not os.fspath(path):
        raise ImageError('the path is empty: expected that of an image file')
    path = given_path(path)
    try:
        content = _content(path)
        flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0)
        image = decode_image(content, flags, FILE_FORMATS, LARGEST_FILE)
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}. Expected an image file') from None
    except ImageError as error:
        raise ImageError(f'{path}: {error}') from None
    except ValueError:  # a null character
        raise ImageError(f'{str(path)!r}: is no name that a file can have') from None
    return image


def decode_image(
    data: bytes, flags: int, formats: Sequence[str], largest: int
) -> NDArray[np.uint8]:
    """Decode a whole image file.

    Args:
        data: of the file.
        flags: OpenCV's: IMREAD_COLOR applies the EXIF orientation, IMREAD_UNCHANGED does not.
        formats: those that are let in, of image_header.
        largest: bytes that the decoded image may take.

    Returns:
        What cv2.imdecode returns.

    Raises:
        ImageError: it is none of these, is damaged, cut off or too large.

    """
    expected = f'Expected a {", ".join(formats[:-1])} or {formats[-1]} file'
    if not data:
        raise ImageError(f'is empty. {expected}')
    try:
        header = read_header(data)
    except ImageError as error:
        raise ImageError(f'{error}. {expected}') from None
    if header.format not in formats:
        raise ImageError(f'is a {header.format} file. {expected}')
    if header.decoded_bytes > largest:
        raise ImageError(
            f'has {header.width}x{header.height} pixels and would take '
            f'{header.decoded_bytes // 1_000_000} MB: at most {largest // 1_000_000} MB are '
            'decoded. Scale it down'
        )
    if header.format == PNG:
        data = still_png(data)
    # Some releases of OpenCV turn WebP files (4.13), others do not (4.11).
    turns_webp = header.format == WEBP and not flags & cv2.IMREAD_IGNORE_ORIENTATION
    if turns_webp:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with decoder_output_dropped():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f'cannot be decoded ({one_line(error)})') from None
    if image is None:
        raise ImageError(f'is a damaged {header.format} file. {expected}')
    return _turned(image, webp_orientation(data)) if turns_webp else image


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return an image as an EXIF orientation, 1 to 8, says that it is to be seen."""
    turn = _TURNS.get(orientation)
    return image if turn is None else np.asarray(turn(image), np.uint8)


def _content(path: Path) -> bytes:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # opening a FIFO would wait for its writer
        kind = 'Is a directory' if stat.S_ISDIR(about.st_mode) else 'is no regular file'
        raise ImageError(f'{kind}. Expected an image file')
    if about.st_size > LARGEST_FILE:
        raise ImageError(
            f'has {about.st_size // 1_000_000} MB: at most {LARGEST_FILE // 1_000_000} MB are read'
        )
    with path.open('rb') as file:
        return file.read(LARGEST_FILE)


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
