# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""sensor_msgs/Image to and from numpy arrays.

The pixels are converted by cv_bridge where it is installed and works, else by the PyPI package
rosbags-image, once image_messages has checked the message.
"""

import array
import sys

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from instance_seg_ros.image_messages import ENCODINGS, PlainImage, image_to_bgr8

__all__ = ['ENCODINGS', 'convert_pixels', 'to_bgr8', 'to_message']

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
    return image_to_bgr8(message, convert_pixels)


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


def convert_pixels(image: PlainImage, encoding: str) -> np.ndarray:
    """Convert the pixels of a checked image to another encoding."""
    if CvBridge is not None:
        return CvBridge().imgmsg_to_cv2(image, encoding)
    return image_to_cvimage(image, encoding)
