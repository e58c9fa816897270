# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""sensor_msgs/CompressedImage to and from numpy arrays, as image_transport's plugin writes it."""

import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import LARGEST_MESSAGE, MESSAGE_FORMATS, decode_image
from instance_seg_ros.ros.image_codec import to_bgr8, to_message

JPEG_FORMAT = 'bgr8; jpeg compressed bgr8'
_RGB_FAMILY = ('rgb', 'bgr')


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
    if 'compressedDepth' in message.format:
        raise ImageError(
            f"format '{message.format}' is depth: expected an image (JPEG or PNG). Name the topic "
            'of the colour image'
        )
    try:
        # Unchanged: a Bayer pattern and 16 bits must survive the decoding.
        pixels = decode_image(
            message.data.tobytes(), cv2.IMREAD_UNCHANGED, MESSAGE_FORMATS, LARGEST_MESSAGE
        )
    except ImageError as error:
        raise ImageError(
            f"the compressed image, {len(message.data)} bytes of format '{message.format}', {error}"
        ) from None
    return _to_bgr(pixels, *_encodings(message.format), message.header)


def to_compressed(pixels: np.ndarray, quality: int, header: Header) -> CompressedImage:
    """Encode an image as JPEG.

    Args:
        pixels: uint8 (height, width, 3), BGR.
        quality: 1 to 100.
        header: taken as it is.
    """
    _, encoded = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    data = array.array('B')
    data.frombytes(encoded.data.cast('B'))
    return CompressedImage(header=header, format=JPEG_FORMAT, data=data)


def _encodings(text: str) -> tuple[str, str]:
    """Return the encoding of the source image and that of the compressed one; '' if unknown."""
    source, separator, compressed = text.partition(';')
    if not separator:
        return '', ''
    return source.strip(), compressed.partition('compressed')[2].strip()


def _to_bgr(pixels: np.ndarray, source: str, compressed: str, header: Header) -> np.ndarray:
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    if pixels.dtype != np.uint8:
        raise ImageError(f'the compressed image has {pixels.dtype} pixels: expected 8 or 16 bits')
    if pixels.ndim == 2:
        if source.startswith('bayer_') and source.endswith('8'):
            message = to_message(pixels, 'mono8', header)
            message.encoding = source
            return to_bgr8(message)
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    bgr = pixels if pixels.shape[2] == 3 else cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    # Only then has the writer put the channels in OpenCV's order, as image_transport reads it.
    swapped = source.startswith(_RGB_FAMILY) and not compressed.startswith('bgr')
    return cv2.cvtColor(bgr, cv2.COLOR_RGB2BGR) if swapped else bgr
