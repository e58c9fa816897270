# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Image files of all kinds, whole, damaged and hostile."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

# A JPEG 2000 file cut off within its header: it ends OpenCV 4.11's process by a segfault.
JPEG_2000 = bytes.fromhex(
    '0000000c6a5020200d0a870a00000014667479706a703220000000006a7032200000002d6a703268000000166968'
    '647200000030000000400001070700000000000f636f6c7201000000000011000001f86a703263ff4fff51002900'
    '00000000400000003000000000000000000000004000000030000000000000000000010701 01ff52000c0000'
    '0001000504040001ff5c00'.replace(' ', '')
)


def photo(side: int = 48) -> np.ndarray:
    """Return some soft colours, uint8 (side, side + 16, 3)."""
    noise = np.random.default_rng(1).integers(0, 256, (side, side + 16, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 2)


def encoded(suffix: str, pixels: np.ndarray | None = None) -> bytes:
    """Return an image file as OpenCV writes it."""
    return cv2.imencode(suffix, photo() if pixels is None else pixels)[1].tobytes()


def saved(image_format: str, mode: str = 'RGB', **options: object) -> bytes:
    """Return an image file as Pillow writes it."""
    file = io.BytesIO()
    _image().convert(mode).save(file, image_format, **options)
    return file.getvalue()


def _image() -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(photo()[..., ::-1]))


def animated(image_format: str) -> bytes:
    """Return an animation of three images."""
    more = [_image().rotate(angle) for angle in (90, 180)]
    return saved(image_format, save_all=True, append_images=more)


def png(width: int, height: int, bits: int = 8, colour: int = 2, rows: int | None = None) -> bytes:
    """Return a black PNG file, of a few kilobytes whatever its size."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = bytes(1 + width * channels * bits // 8)
    data = b''.join(packer.compress(row) for _ in range(height if rows is None else rows))
    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    entries = ((b'IHDR', header), (b'IDAT', data + packer.flush()), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(png_entry(*entry) for entry in entries)


def png_entry(kind: bytes, content: bytes) -> bytes:
    """Return an entry of a PNG file with its length and check sum."""
    check = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)


def with_right_checks(data: bytes) -> bytes:
    """Return a damaged PNG file whose check sums hide the damage."""
    whole, position = [data[:8]], 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from('>I', data, position)
        end = position + 12 + length
        if end > len(data):
            break
        whole.append(png_entry(data[position + 4 : position + 8], data[position + 8 : end - 4]))
        position = end
    return b''.join(whole) + data[position:]
