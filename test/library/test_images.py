# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Image files: the usual ones are read, all else is refused, and nothing ends the process."""

import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import (
    JPEG_2000,
    animated,
    encoded,
    photo,
    png,
    png_entry,
    saved,
    with_right_checks,
)
from PIL import Image

from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import (
    FILE_FORMATS,
    LARGEST_FILE,
    MESSAGE_FORMATS,
    decode_image,
    read_image,
)

COLOUR = cv2.IMREAD_COLOR


def decoded(data: bytes, formats: tuple[str, ...] = FILE_FORMATS) -> np.ndarray:
    return decode_image(data, COLOUR, formats, LARGEST_FILE)


READABLE = {
    'jpeg': encoded('.jpg'),
    'progressive jpeg': saved('JPEG', progressive=True),
    'grey jpeg': saved('JPEG', 'L'),
    'cmyk jpeg': saved('JPEG', 'CMYK'),
    'png': encoded('.png'),
    '16-bit png': encoded('.png', photo().astype(np.uint16) * 257),
    'png with a palette': saved('PNG', 'P'),
    'png of 1 bit': saved('PNG', '1'),
    'interlaced png': saved('PNG', interlace=1),
    'animated png': animated('PNG'),
    'webp': encoded('.webp'),
    'lossless webp': saved('WEBP', 'RGBA', lossless=True),
    'animated webp': animated('WEBP'),
    'bmp': encoded('.bmp'),
    'bmp with a palette': saved('BMP', 'P'),
    'tiff': encoded('.tiff'),
    'tiff by LZW': saved('TIFF', compression='tiff_lzw'),
    'tiff by Deflate': saved('TIFF', compression='tiff_adobe_deflate'),
    '16-bit tiff': encoded('.tiff', photo().astype(np.uint16) * 257),
}


@pytest.mark.parametrize('kind', READABLE)
def test_what_people_have_is_read(kind: str) -> None:
    image = decoded(READABLE[kind])
    assert image.shape == photo().shape and image.dtype == np.uint8
    if 'png' in kind and '1 bit' not in kind and 'palette' not in kind:
        np.testing.assert_array_equal(image, photo())


@pytest.mark.parametrize(
    ('data', 'expected'),
    [
        (b'', 'is empty'),
        (b'this is no image', 'is damaged, or is no image'),
        (JPEG_2000, 'is a JPEG 2000 file'),
        (b'GIF89a' + bytes(20), 'is a GIF file'),
        (bytes([0, 0, 0, 24]) + b'ftypheic' + bytes(20), 'is a HEIC file'),
        (bytes([0, 0, 0, 24]) + b'ftypavif' + bytes(20), 'is a AVIF file'),
        (b'P6\n1 1\n255\n\0\0\0', 'is a PNM or PAM file'),
        (b'II+\0\x08\0\0\0' + bytes(20), 'is a BigTIFF file'),
        (b'<!DOCTYPE html>', 'is a HTML'),
        (b'\xff\xd8\xff', 'is cut off'),
        (encoded('.jpg')[:-300], 'is cut off'),
        (encoded('.png')[:-300], 'is cut off'),
        (encoded('.webp')[:-30], 'is cut off'),
        (png(0, 10), 'has no pixels'),
        (encoded('.jpg').replace(b'\xff\xc0', b'\xff\xc3'), r'rare kind \(lossless'),
        (saved('TIFF', '1', compression='group4'), 'compression 4'),
        (png(64, 64, rows=3), 'is a damaged PNG file'),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: bytes, expected: str) -> None:
    with pytest.raises(
        ImageError, match=f'{expected}.*Expected a PNG, JPEG, BMP, TIFF or WebP file'
    ):
        decoded(data)


def turned_by_exif(image_format: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image_format, exif=exif, **options)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_photo_is_turned_as_its_exif_orientation_says_in_every_format(orientation: int) -> None:
    png = turned_by_exif('PNG', orientation)
    webp = turned_by_exif('WEBP', orientation, lossless=True)
    upright = decoded(png)
    assert upright.shape[:2] == photo().shape[:2][:: 1 if orientation < 5 else -1]
    np.testing.assert_array_equal(decoded(webp), upright)
    for flags in (COLOUR | cv2.IMREAD_IGNORE_ORIENTATION, cv2.IMREAD_UNCHANGED):
        stored = decode_image(webp, flags, FILE_FORMATS, LARGEST_FILE)
        np.testing.assert_array_equal(stored, photo())


def test_a_webp_file_with_damaged_exif_data_is_read_as_it_is_stored() -> None:
    data = turned_by_exif('WEBP', 6, lossless=True)
    at = data.index(b'EXIF') + 8
    damaged_entry = data[: at + 4] + b'\xff' * (len(data) - at - 4)
    np.testing.assert_array_equal(decoded(damaged_entry), photo())


@pytest.mark.parametrize('prefix', [b'', b'Exif\0\0'])
def test_exif_data_of_a_webp_file_may_begin_as_that_of_a_jpeg(prefix: bytes) -> None:
    data = turned_by_exif('WEBP', 6, lossless=True)
    at = data.index(b'EXIF') + 4
    (length,) = struct.unpack_from('<I', data, at)
    exif = prefix + data[at + 4 : at + 4 + length].removeprefix(b'Exif\0\0')
    chunk = struct.pack('<I', len(exif)) + exif + bytes(len(exif) % 2)
    content = data[8:at] + chunk
    turned = decoded(data[:4] + struct.pack('<I', len(content)) + content)
    np.testing.assert_array_equal(turned, np.rot90(photo(), -1))


def test_a_bmp_whose_rows_go_from_the_top_down_is_read() -> None:
    data = bytearray(encoded('.bmp', np.ascontiguousarray(photo()[::-1])))
    (height,) = struct.unpack_from('<i', data, 22)
    struct.pack_into('<i', data, 22, -height)
    np.testing.assert_array_equal(decoded(bytes(data)), photo())


def test_messages_hold_jpeg_and_png_only() -> None:
    assert decoded(READABLE['jpeg'], MESSAGE_FORMATS).shape == photo().shape
    with pytest.raises(ImageError, match='is a TIFF file. Expected a JPEG or PNG file'):
        decoded(READABLE['tiff'], MESSAGE_FORMATS)


@pytest.mark.parametrize(
    'data',
    [
        png(16000, 16000, bits=16, colour=6, rows=0),
        encoded('.bmp')[:18] + (20000).to_bytes(4, 'little') * 2 + encoded('.bmp')[26:],
        b'RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0' + bytes(100),
    ],
)
def test_the_size_is_known_before_any_pixel_is_decoded(data: bytes) -> None:
    with pytest.raises(ImageError, match=r'has \d+x\d+ pixels and would take \d+ MB: at most 640'):
        decoded(data)


@pytest.mark.parametrize('tile', [(60_000, 16), (16, 60_000)])
def test_a_tiff_of_tiles_larger_than_the_image_is_measured_by_them(tile: tuple[int, int]) -> None:
    tags = {256: 10_000, 257: 10_000, 258: 8, 259: 1, 262: 1, 277: 1, 322: tile[0], 323: tile[1]}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
    with pytest.raises(ImageError, match='at most 640 MB are decoded'):
        decoded(b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4))


def test_a_photo_of_200_megapixels_is_not_too_large() -> None:
    with pytest.raises(ImageError, match='is a damaged PNG'):  # there are no rows in it
        decoded(png(16320, 12240, rows=0))


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    jpeg = saved('JPEG', progressive=True)
    at = jpeg.rindex(b'\xff\xda')
    with pytest.raises(ImageError, match='more than 100 scans'):
        decoded(jpeg[:at] + jpeg[at:-2] * 1000 + jpeg[-2:])


def test_a_file_that_is_no_regular_one_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.jpg')
    for path in (tmp_path / 'a.jpg', Path('/dev/zero')):
        with pytest.raises(ImageError, match=f'^{path}: is no regular file'):
            read_image(path)


def damaged(data: bytes, cuts: list[tuple[int, int]], end: int) -> bytes:
    """Return the file with some bytes changed, cut off near the end for most values of end."""
    changed = bytearray(data)
    for place, value in cuts:
        # Most of what can go wrong is in the first bytes.
        changed[place % min(len(changed), 40 + place % 400)] = value
    return bytes(changed[: len(changed) - end] if end < 60 else changed)


PLACES = st.tuples(st.integers(0, 1 << 20), st.integers(0, 255))
FILES = st.builds(
    damaged,
    st.sampled_from(list(READABLE.values())),
    st.lists(PLACES, max_size=12),
    st.integers(0, 400),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(FILES, st.sampled_from((cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED)))
def test_a_damaged_file_is_an_image_or_an_image_error(data: bytes, flags: int) -> None:
    for file in (data, with_right_checks(data) if data.startswith(b'\x89PNG') else data):
        try:
            image = decode_image(file, flags, FILE_FORMATS, 50_000_000)
        except ImageError as error:
            assert len(str(error)) < 400 and '\n' not in str(error)
        else:
            assert isinstance(image, np.ndarray) and image.nbytes <= 50_000_000


def test_entries_of_animations_do_not_reach_the_decoder() -> None:
    # With these, OpenCV 4.11 ends the process: the frame lies outside of the image.
    whole = READABLE['png']
    frame = (0).to_bytes(4, 'big') + b'\xff' * 16 + bytes(6)
    entries = png_entry(b'acTL', b'\0\0\0\3\0\0\0\0') + png_entry(b'fcTL', frame)
    np.testing.assert_array_equal(decoded(whole[:33] + entries + whole[33:]), photo())


# ---- what decoders write to stderr
NOISE = """
import os, sys, threading, time
from instance_seg_ros.images import read_image
from instance_seg_ros.errors import ImageError
def speak():
    for i in range(200):
        os.write(2, b'a line of another thread\\n')
        time.sleep(0.001)
other = threading.Thread(target=speak)
other.start()
while other.is_alive():
    for name in sys.argv[1:]:
        try:
            read_image(name)
        except ImageError:
            pass
print('done', file=sys.stderr)
"""


def test_decoders_write_nothing_and_others_go_on(tmp_path: Path) -> None:
    jpeg = bytearray(encoded('.jpg', cv2.resize(photo(), (300, 300))))
    jpeg[-2000:-1900] = bytes(100)  # within its data: libjpeg complains, and goes on
    whole = bytearray(READABLE['png'])
    whole[60] ^= 0xFF
    tiff = bytearray(READABLE['tiff by LZW'])
    tiff[20:40] = b'\x91' * 20
    for name, data in (('a.jpg', jpeg), ('b.png', whole), ('c.tiff', tiff)):
        (tmp_path / name).write_bytes(data)

    def stderr(*names: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, '-c', NOISE, *names],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stderr.splitlines()

    # Decoders write some lines in pieces: what comes just between them goes with them.
    *others, last = stderr('a.jpg', 'c.tiff')
    assert last == 'done'
    assert set(others) == {'a line of another thread'} and 190 <= len(others) <= 200
    assert set(stderr('b.png')) == {'a line of another thread', 'done'}


def test_a_line_of_the_log_between_two_pieces_of_a_decoders_line_is_kept() -> None:
    code = """
import os
from instance_seg_ros.decoder_output import decoder_output_dropped
with decoder_output_dropped():
    for piece in ('libpng warning: iCCP: too long', '[WARN] [1795.5] [camera]: kept\\n', '\\n'):
        os.write(2, piece.encode())
    os.write(2, b'[INFO] [1795.6] [camera]: kept, too\\nlibpng error: IDAT\\n')
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr == '[WARN] [1795.5] [camera]: kept\n[INFO] [1795.6] [camera]: kept, too\n'


def test_without_stderr_images_are_read(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(READABLE['png'])
    code = 'import os; os.close(2); from instance_seg_ros.images import read_image; '
    code += 'print(read_image("a.png").shape)'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(photo().shape)


def test_several_threads_read_at_a_time() -> None:
    wrong = []

    def read() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if not np.array_equal(decoded(READABLE['png']), photo()):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
