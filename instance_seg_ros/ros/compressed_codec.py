# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""sensor_msgs/CompressedImage to and from numpy arrays, as image_transport's plugin writes it."""

import array

import numpy as np
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from instance_seg_ros import image_messages
from instance_seg_ros.image_messages import JPEG_FORMAT, encode_jpeg
from instance_seg_ros.ros.image_codec import convert_pixels


def compressed_to_bgr8(message: CompressedImage) -> np.ndarray:
    """Decode a compressed image.

    Args:
        message: a whole JPEG or PNG file. Its format is a plain name such as
            'jpeg', or what image_transport writes: '<encoding>; jpeg compressed <encoding>'.

    Returns:
        uint8 (height, width, 3), BGR. 16 bits are scaled to 8; an orientation that a JPEG's EXIF
        data asks for is ignored, so that pixels are those of the sensor.

    Raises:
        ImageError: if it is empty, another file, damaged, cut off or too large, or is depth and
            not an image.
    """
    return image_messages.compressed_to_bgr8(message, convert_pixels)


def to_compressed(pixels: np.ndarray, quality: int, header: Header) -> CompressedImage:
    """Encode an image as JPEG.

    Args:
        pixels: uint8 (height, width, 3), BGR.
        quality: 1 to 100.
        header: taken as it is.
    """
    data = array.array('B')
    data.frombytes(encode_jpeg(pixels, quality).data.cast('B'))
    return CompressedImage(header=header, format=JPEG_FORMAT, data=data)
