# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Every encoding gives the pixels of the equivalent bgr8 image; a message that lies is refused."""

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.image_codec import ENCODINGS, to_bgr8, to_message

# Which colour (0 blue, 1 green, 2 red) each pixel of the 2 x 2 pattern sees.
BAYER = {
    'bayer_rggb8': [[2, 1], [1, 0]],
    'bayer_bggr8': [[0, 1], [1, 2]],
    'bayer_gbrg8': [[1, 0], [2, 1]],
    'bayer_grbg8': [[1, 2], [0, 1]],
}


def message(pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.nbytes // height,
        data=array.array('B', pixels.tobytes()),
    )


def encode(bgr: np.ndarray, encoding: str) -> Image:
    """Encode an image in a way that loses nothing, if its colours allow it."""
    grey = bgr[..., 0]
    pixels = {
        'bgr8': lambda: bgr,
        '8UC3': lambda: bgr,
        'rgb8': lambda: bgr[..., ::-1],
        'bgra8': lambda: np.dstack([bgr, grey]),
        '8UC4': lambda: np.dstack([bgr, grey]),
        'rgba8': lambda: np.dstack([bgr[..., ::-1], grey]),
        'mono8': lambda: grey,
        '8UC1': lambda: grey,
        'mono16': lambda: grey.astype('<u2') * 257,
        '16UC1': lambda: grey.astype('<u2') * 257,
    }[encoding]()
    return message(np.ascontiguousarray(pixels), encoding)


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def greys() -> np.ndarray:
    return np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'rgba8', '8UC3', '8UC4'])
def test_colours_are_kept(encoding: str, colours: np.ndarray) -> None:
    np.testing.assert_array_equal(to_bgr8(encode(colours, encoding)), colours)


@pytest.mark.parametrize('encoding', ['mono8', 'mono16', '8UC1', '16UC1'])
def test_greys_are_kept(encoding: str, greys: np.ndarray) -> None:
    np.testing.assert_array_equal(to_bgr8(encode(greys, encoding)), greys)


def test_big_endian_mono16(greys: np.ndarray) -> None:
    image = message((greys[..., 0] * np.uint16(257)).astype('>u2'), 'mono16')
    # Big endian shows only where the two bytes differ.
    image.data[1::2] = array.array('B', bytes(len(image.data) // 2))
    image.is_bigendian = 1
    np.testing.assert_allclose(to_bgr8(image).astype(int), greys, atol=1)


@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('yuv422', cv2.COLOR_BGR2YUV_UYVY),
        ('uyvy', cv2.COLOR_BGR2YUV_UYVY),
        ('yuv422_yuy2', cv2.COLOR_BGR2YUV_YUY2),
        ('yuyv', cv2.COLOR_BGR2YUV_YUY2),
    ],
)
def test_yuv422(encoding: str, code: int) -> None:
    # Colours in areas wider than the subsampling of the colours.
    bgr = np.kron(
        np.array([[[200, 40, 60], [30, 180, 90], [50, 60, 210], [128, 128, 128]]], np.uint8),
        np.ones((4, 4, 1), np.uint8),
    )
    decoded = to_bgr8(message(cv2.cvtColor(bgr, code), encoding))
    np.testing.assert_allclose(decoded.astype(int), bgr, atol=3)


@pytest.mark.parametrize('encoding', BAYER)
def test_bayer(encoding: str) -> None:
    bgr = np.full((8, 10, 3), (40, 120, 220), np.uint8)
    pattern = np.tile(np.array(BAYER[encoding]), (4, 5))
    mosaic = np.take_along_axis(bgr, pattern[..., None], axis=2)[..., 0]
    np.testing.assert_array_equal(to_bgr8(message(mosaic, encoding)), bgr)
    sixteen = message(mosaic * np.uint16(257), f'{encoding[:-1]}16')
    np.testing.assert_array_equal(to_bgr8(sixteen), bgr)


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'mono8', 'mono16'])
def test_padded_rows(encoding: str, greys: np.ndarray) -> None:
    tight = encode(greys, encoding)
    rows = np.frombuffer(tight.data, np.uint8).reshape(tight.height, tight.step)
    padded = np.pad(rows, ((0, 0), (0, 6)), constant_values=77)
    tight.step = padded.shape[1]
    tight.data = array.array('B', padded.tobytes())
    np.testing.assert_array_equal(to_bgr8(tight), greys)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'step': 5}, 'step is 5'),
        ({'step': 48}, 'bytes of data'),
        ({'height': 7}, 'bytes of data'),
        ({'width': 9}, 'step is 24'),
        ({'width': 0}, 'width 0'),
        ({'height': 0}, 'height 0'),
        ({'encoding': 'rgba8'}, 'step is 24'),
        ({'encoding': '32FC1'}, "'32FC1' is not supported"),
        ({'encoding': ''}, "'' is not supported"),
        ({'encoding': 'bayer_rggb8', 'height': 5}, 'multiple of 2'),
        ({'data': array.array('B')}, '0 bytes of data'),
    ],
)
def test_a_lying_message_is_refused(
    change: dict[str, object], expected: str, colours: np.ndarray
) -> None:
    image = encode(colours, 'bgr8')
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match=expected):
        to_bgr8(image)


def test_a_text_of_the_sender_is_cut_in_the_message(colours: np.ndarray) -> None:
    image = encode(colours, 'bgr8')
    image.encoding = 'x' * 100_000
    with pytest.raises(ImageError, match="encoding 'xxx") as caught:
        to_bgr8(image)
    assert len(str(caught.value)) < 500


def test_an_image_that_would_grow_beyond_the_limit_is_refused() -> None:
    side = 10_400  # 108 MB of grey, 324 MB of colour
    image = Image(encoding='mono8', width=side, height=side, step=side)
    image.data.frombytes(bytes(side * side))
    with pytest.raises(ImageError, match='would take 324 MB as bgr8: at most 320 MB'):
        to_bgr8(image)


def test_the_error_names_the_supported_encodings(colours: np.ndarray) -> None:
    image = encode(colours, 'bgr8')
    image.encoding = 'jpeg'
    with pytest.raises(ImageError) as caught:
        to_bgr8(image)
    assert all(encoding in str(caught.value) for encoding in ENCODINGS)


def test_to_message_takes_strided_pixels(colours: np.ndarray) -> None:
    header = Header(frame_id='camera')
    image = to_message(colours[:, ::-1], 'bgr8', header)
    assert image.header == header
    assert (image.height, image.width, image.step) == (6, 8, 24)
    assert bytes(image.data) == colours[:, ::-1].tobytes()
