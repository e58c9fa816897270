# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""sensor_msgs/Image to and from numpy arrays.

The pixels are converted by cv_bridge where it is installed and works, else by the PyPI package
rosbags-image. Both trust the message; here it is checked first.
"""

import array
import sys
from typing import NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from instance_seg_ros.errors import ImageError

try:
    from cv_bridge import CvBridge

    # Loads its compiled part, which fails where it was built for another major version of numpy.
    CvBridge().encoding_to_cvtype2('bgr8')
except (ImportError, AttributeError, SystemError):
    CvBridge = None
    try:
        from rosbags.image import image_to_cvimage
    except ImportError as error:
        raise ImportError(
            'no image conversion: cv_bridge is missing or was built for another numpy, and its '
            'replacement is missing. Install cv_bridge with ROS 2, or: pip install rosbags-image'
        ) from error


class _Layout(NamedTuple):
    """How an encoding lays out its pixels."""

    # The name under which both converters know the encoding.
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
}
ENCODINGS = tuple(_LAYOUTS)


def to_bgr8(message: Image) -> np.ndarray:
    """Convert an image message.

    Args:
        message: an image in one of ENCODINGS, in either byte order, rows padded or not.

    Returns:
        uint8 (height, width, 3), BGR. For bgr8 it may share the message's memory. 16 bits are
        scaled to 8, so that 65535 becomes 255.

    Raises:
        ImageError: if the encoding is not supported, or if width, height, step and the amount of
            data do not fit together.
    """
    layout = _check(message)
    tight = _without_padding(message, layout)
    try:
        if layout.name == 'mono16':
            return _scale_to_8_bits(_convert(tight, 'mono16'))
        return _convert(tight, 'bgr8')
    except cv2.error as error:
        raise ImageError(
            f'a {message.width}x{message.height} {message.encoding} image cannot be converted: '
            f'{error}'
        ) from error


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Make an image message.

    Args:
        pixels: (height, width) or (height, width, channels), of the encoding's own dtype.
        encoding: one of bgr8, mono8, mono16.
        header: taken as it is.

    Returns:
        The message, which has a copy of the pixels.
    """
    height, width = pixels.shape[:2]
    data = array.array('B')
    # Bytes assigned directly would be checked one by one: a thousand times slower.
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=len(data) // height,
        data=data,
    )


def _check(message: Image) -> _Layout:
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ImageError(
            f"encoding '{message.encoding}' is not supported; supported are {', '.join(ENCODINGS)}"
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
    return layout


def _without_padding(message: Image, layout: _Layout) -> Image:
    row = message.width * layout.bytes_per_pixel
    data = message.data
    if message.step != row:
        rows = np.frombuffer(data, np.uint8).reshape(message.height, message.step)
        data = array.array('B')
        data.frombytes(np.ascontiguousarray(rows[:, :row]).data.cast('B'))
    return Image(
        header=message.header,
        height=message.height,
        width=message.width,
        encoding=layout.name,
        is_bigendian=message.is_bigendian,
        step=row,
        data=data,
    )


def _convert(message: Image, encoding: str) -> np.ndarray:
    if CvBridge is not None:
        return CvBridge().imgmsg_to_cv2(message, encoding)
    return image_to_cvimage(message, encoding)


def _scale_to_8_bits(grey: np.ndarray) -> np.ndarray:
    # Rounded, where the converters' own scaling cuts off: 257 * v must give v.
    return cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=255 / 65535), cv2.COLOR_GRAY2BGR)
