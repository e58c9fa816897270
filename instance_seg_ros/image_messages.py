# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The pixels of image messages, checked, for the node and for bags.

Nothing of ROS is imported: a message is whatever has the fields of sensor_msgs/Image or
sensor_msgs/CompressedImage. Code that has such messages also has a converter of pixels (cv_bridge
or rosbags-image). Converters trust the message; here it is checked first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import LARGEST_MESSAGE, MESSAGE_FORMATS, decode_image
from instance_seg_ros.text_files import one_line, shown

JPEG_FORMAT = 'bgr8; jpeg compressed bgr8'
_RGB_FAMILY = ('rgb', 'bgr')
_LONGEST_IN_JPEG = 65500  # pixels, libjpeg's JPEG_MAX_DIMENSION


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read."""

    format: str
    data: Any


@dataclass(frozen=True)
class PlainImage:
    """A checked image message with rows that are not padded; fields as of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


# Takes an image and the encoding that its pixels are to have: bgr8 or mono16.
Convert = Callable[[PlainImage, str], NDArray[Any]]


class _Layout(NamedTuple):
    """How an encoding lays out its pixels."""

    # The name under which converters know the encoding.
    name: str
    bytes_per_pixel: int
    # Width and height are multiples of these.
    width_unit: int = 1
    height_unit: int = 1


_LAYOUTS = {
    'bgr8': _Layout('bgr8', 3),
    'rgb8': _Layout('rgb8', 3),
    'bgra8': _Layout('bgra8', 4),
    'rgba8': _Layout('rgba8', 4),
    'mono8': _Layout('mono8', 1),
    'mono16': _Layout('mono16', 2),
    # The names without a colour space, as OpenCV's own conventions read them.
    '8UC1': _Layout('mono8', 1),
    '8UC3': _Layout('bgr8', 3),
    '8UC4': _Layout('bgra8', 4),
    '16UC1': _Layout('mono16', 2),
    # One encoding, two names: the first is the older one.
    'yuv422': _Layout('yuv422', 2, width_unit=2),
    'uyvy': _Layout('yuv422', 2, width_unit=2),
    'yuv422_yuy2': _Layout('yuv422_yuy2', 2, width_unit=2),
    'yuyv': _Layout('yuv422_yuy2', 2, width_unit=2),
    'bayer_rggb8': _Layout('bayer_rggb8', 1, 2, 2),
    'bayer_bggr8': _Layout('bayer_bggr8', 1, 2, 2),
    'bayer_gbrg8': _Layout('bayer_gbrg8', 1, 2, 2),
    'bayer_grbg8': _Layout('bayer_grbg8', 1, 2, 2),
    'bayer_rggb16': _Layout('bayer_rggb16', 2, 2, 2),
    'bayer_bggr16': _Layout('bayer_bggr16', 2, 2, 2),
    'bayer_gbrg16': _Layout('bayer_gbrg16', 2, 2, 2),
    'bayer_grbg16': _Layout('bayer_grbg16', 2, 2, 2),
}
ENCODINGS = tuple(_LAYOUTS)


def image_to_bgr8(message: ImageMessage | PlainImage, convert: Convert) -> NDArray[np.uint8]:
    """Convert an image message.

    Args:
        message: an image in one of ENCODINGS, in either byte order, rows padded or not.
        convert: the converter of pixels.

    Returns:
        uint8 (height, width, 3), BGR. For bgr8 it may share the message's memory. 16 bits are
        scaled to 8, so that 65535 becomes 255.

    Raises:
        ImageError: if the encoding is not supported, or if width, height, step and the amount of
            data do not fit together.
    """
    layout = _check(message)
    plain = _without_padding(message, layout)
    try:
        if layout.name == 'mono16':
            return cv2.cvtColor(_scale_to_8_bits(convert(plain, 'mono16')), cv2.COLOR_GRAY2BGR)
        if layout.name.endswith('16'):
            mosaic = _scale_to_8_bits(convert(replace(plain, encoding='mono16'), 'mono16'))
            return convert(_bayer_image(mosaic, layout.name), 'bgr8')
        return convert(plain, 'bgr8')
    except cv2.error as error:
        raise ImageError(
            f'a {message.width}x{message.height} {message.encoding} image cannot be converted: '
            f'{one_line(error)}'
        ) from error


def compressed_to_bgr8(message: CompressedMessage, convert: Convert) -> NDArray[np.uint8]:
    """Decode a compressed image message.

    Args:
        message: a whole JPEG or PNG file. Its format is a plain name such as
            'jpeg', or what image_transport writes: '<encoding>; jpeg compressed <encoding>'.
        convert: the converter of pixels, for Bayer patterns.

    Returns:
        uint8 (height, width, 3), BGR. 16 bits are scaled to 8; an orientation that a JPEG's EXIF
        data asks for is ignored, so that pixels are those of the sensor.

    Raises:
        ImageError: if it is empty, another file, damaged, cut off or too large, or is depth and
            not an image.
    """
    if 'compressedDepth' in message.format:
        raise ImageError(
            f'format {shown(message.format)} is depth: expected an image (JPEG or PNG). Name the '
            'topic of the colour image'
        )
    try:
        # Unchanged: a Bayer pattern and 16 bits must survive the decoding.
        pixels = decode_image(
            message.data.tobytes(), cv2.IMREAD_UNCHANGED, MESSAGE_FORMATS, LARGEST_MESSAGE
        )
    except ImageError as error:
        raise ImageError(
            f'the compressed image, {len(message.data)} bytes of format {shown(message.format)}, '
            f'{error}'
        ) from None
    return _to_bgr(pixels, *_encodings(message.format), convert)


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode an image of uint8 (height, width, 3), BGR; quality is 1 to 100.

    Raises:
        ImageError: a side is too long for a JPEG.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > _LONGEST_IN_JPEG:
        raise ImageError(
            f'{width}x{height} pixels do not fit into a JPEG, expected at most {_LONGEST_IN_JPEG} '
            'a side'
        )
    _, encoded = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded


def _check(message: ImageMessage | PlainImage) -> _Layout:
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError(
            f'encoding {shown(message.encoding)} is not supported; supported are '
            f'{", ".join(ENCODINGS)}'
        )
    width, height = message.width, message.height
    if width == 0 or height == 0:
        raise ImageError(f'the image is empty: width {width}, height {height}')
    if width % layout.width_unit or height % layout.height_unit:
        raise ImageError(
            f'a {message.encoding} image has a width that is a multiple of {layout.width_unit} and '
            f'a height that is a multiple of {layout.height_unit}; this one is {width}x{height}'
        )
    row = width * layout.bytes_per_pixel
    if message.step < row:
        raise ImageError(
            f'step is {message.step}, but {width} pixels of {message.encoding} take {row} bytes'
        )
    if len(message.data) != message.step * height:
        raise ImageError(
            f'the image has {len(message.data)} bytes of data, but step {message.step} times '
            f'height {height} is {message.step * height}'
        )
    if width * height * 3 > LARGEST_MESSAGE:
        raise ImageError(
            f'the image has {width}x{height} pixels and would take '
            f'{width * height * 3 // 1_000_000} MB as bgr8: at most '
            f'{LARGEST_MESSAGE // 1_000_000} MB are converted. Scale it down'
        )
    return layout


def _without_padding(message: ImageMessage | PlainImage, layout: _Layout) -> PlainImage:
    row = message.width * layout.bytes_per_pixel
    data = message.data
    if message.step != row:
        rows = np.frombuffer(data, np.uint8).reshape(message.height, message.step)
        data = np.ascontiguousarray(rows[:, :row]).reshape(-1)
    return PlainImage(
        height=message.height,
        width=message.width,
        encoding=layout.name,
        is_bigendian=message.is_bigendian,
        step=row,
        data=data,
    )


def _scale_to_8_bits(grey: NDArray[Any]) -> NDArray[np.uint8]:
    # Rounded, where the converters' own scaling cuts off: 257 * v must give v.
    return cv2.convertScaleAbs(grey, alpha=255 / 65535)


def _encodings(text: str) -> tuple[str, str]:
    """Return the encoding of the source image and that of the compressed one; '' if unknown."""
    source, separator, compressed = text.partition(';')
    if not separator:
        return '', ''
    return source.strip(), compressed.partition('compressed')[2].strip()


def _to_bgr(
    pixels: NDArray[Any], source: str, compressed: str, convert: Convert
) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = _scale_to_8_bits(pixels)
    if pixels.dtype != np.uint8:
        raise ImageError(f'the compressed image has {pixels.dtype} pixels: expected 8 or 16 bits')
    if pixels.ndim == 2:
        if source.startswith('bayer_') and source.endswith(('8', '16')):
            return image_to_bgr8(_bayer_image(pixels, source), convert)
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    bgr = pixels if pixels.shape[2] == 3 else cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    # Only then has the writer put the channels in OpenCV's order, as image_transport reads it.
    swapped = source.startswith(_RGB_FAMILY) and not compressed.startswith('bgr')
    return cv2.cvtColor(bgr, cv2.COLOR_RGB2BGR) if swapped else bgr


def _bayer_image(pixels: NDArray[np.uint8], encoding: str) -> PlainImage:
    """Return a mosaic in 8 bits, whose encoding may be that of the 16 bits it had."""
    if encoding.endswith('16'):
        encoding = f'{encoding[:-2]}8'
    height, width = pixels.shape
    big = int(sys.byteorder == 'big')
    return PlainImage(height, width, encoding, big, width, np.ascontiguousarray(pixels).reshape(-1))
