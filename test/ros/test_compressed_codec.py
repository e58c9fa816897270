# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Compressed images of every kind that image_transport sends give the pixels of the sensor."""

import cv2
import numpy as np
import pytest
from image_files import JPEG_2000, encoded, png
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.compressed_codec import compressed_to_bgr8, to_compressed
from instance_seg_ros.ros.image_codec import to_bgr8, to_message


@pytest.fixture
def bgr() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def message(pixels: np.ndarray, image_format: str, extension: str = '.png') -> CompressedImage:
    encoded = CompressedImage(format=image_format)
    encoded.data.frombytes(cv2.imencode(extension, pixels)[1].tobytes())
    return encoded


@pytest.mark.parametrize(
    'image_format',
    [
        'png',
        'bgr8; png compressed bgr8',
        'rgb8; png compressed bgr8',
        'rgb8; png compressed bgr8 ',
        'bgra8; png compressed bgr8',
    ],
)
def test_colours(image_format: str, bgr: np.ndarray) -> None:
    np.testing.assert_array_equal(compressed_to_bgr8(message(bgr, image_format)), bgr)


def test_channels_that_the_writer_did_not_swap(bgr: np.ndarray) -> None:
    # An rgb8 image whose bytes were handed to the encoder as they are.
    encoded = message(bgr[..., ::-1], 'rgb8; png compressed rgb8')
    np.testing.assert_array_equal(compressed_to_bgr8(encoded), bgr)


def test_alpha_is_dropped(bgr: np.ndarray) -> None:
    alpha = np.full(bgr.shape[:2], 7, np.uint8)
    np.testing.assert_array_equal(compressed_to_bgr8(message(np.dstack([bgr, alpha]), 'png')), bgr)


def test_grey_of_8_and_16_bits(bgr: np.ndarray) -> None:
    grey = bgr[..., 0]
    expected = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    np.testing.assert_array_equal(
        compressed_to_bgr8(message(grey, 'mono8; png compressed mono8')), expected
    )
    np.testing.assert_array_equal(
        compressed_to_bgr8(message(grey.astype(np.uint16) * 257, 'mono16; png compressed ')),
        expected,
    )


def test_a_bayer_pattern_is_that_of_the_raw_image(bgr: np.ndarray) -> None:
    mosaic = np.ascontiguousarray(bgr[..., 0])
    raw = to_message(mosaic, 'mono8', Header())
    raw.encoding = 'bayer_rggb8'
    found = compressed_to_bgr8(message(mosaic, 'bayer_rggb8; png compressed bayer_rggb8'))
    np.testing.assert_array_equal(found, to_bgr8(raw))
    sixteen = message(mosaic * np.uint16(257), 'bayer_rggb16; png compressed bayer_rggb16')
    np.testing.assert_array_equal(compressed_to_bgr8(sixteen), to_bgr8(raw))


def test_an_orientation_in_the_file_does_not_turn_the_image(bgr: np.ndarray) -> None:
    jpeg = cv2.imencode('.jpg', bgr)[1].tobytes()
    # Exif with one entry: orientation (0x0112) is 6, a quarter turn.
    tiff = b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    exif = b'Exif\0\0' + tiff
    turned = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (30, 20, 3)
    encoded = CompressedImage(format='jpeg')
    encoded.data.frombytes(turned)
    assert compressed_to_bgr8(encoded).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ('image_format', 'data', 'told'),
    [
        ('jpeg', b'', 'is empty'),
        ('jpeg', b'not an image', "12 bytes of format 'jpeg', is damaged, or is no image"),
        ('jpeg', JPEG_2000, "147 bytes of format 'jpeg', is a JPEG 2000 file"),
        ('jpeg', encoded('.jpg')[:-40], 'is cut off'),
        ('png', encoded('.png')[:-40], 'is cut off'),
        ('png', png(16000, 16000, 16, 6, rows=0), 'has 16000x16000 pixels and would take 2048 MB'),
        ('tiff', encoded('.tiff'), 'is a TIFF file. Expected a JPEG or PNG file'),
        ('16UC1; compressedDepth png', b'123', 'is depth: expected an image'),
    ],
)
def test_what_is_no_image_is_reported(image_format: str, data: bytes, told: str) -> None:
    bad = CompressedImage(format=image_format)
    bad.data.frombytes(data)
    with pytest.raises(ImageError, match=told):
        compressed_to_bgr8(bad)


def test_what_is_compressed_here_has_header_and_format() -> None:
    smooth = cv2.resize(np.array([[[0, 80, 160], [255, 170, 85]]], np.uint8), (64, 48))
    header = Header(frame_id='camera')
    encoded = to_compressed(smooth, 95, header)
    assert (encoded.header, encoded.format) == (header, 'bgr8; jpeg compressed bgr8')
    assert np.abs(compressed_to_bgr8(encoded).astype(int) - smooth).max() < 6
