# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the first bytes of an image say, read before any decoder sees them.

OpenCV chooses the decoder by the first bytes, not by the file's name, and some of its decoders end
the process for malformed input (JPEG 2000). So only the intended formats get through.
No library reads both the size and the number of JPEG scans or TIFF's compression without being a
decoder of its own, so the few fields are read here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np

from instance_seg_ros.errors import ImageError

JPEG, PNG, WEBP, BMP, TIFF = 'JPEG', 'PNG', 'WebP', 'BMP', 'TIFF'

# A camera writes about 10 scans at most. Each of thousands would cost the time of a whole image.
_MOST_SCANS = 100
_MOST_MARKERS = 100_000  # those of previews and comments included
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA

# Other formats that people have, so that messages can name them.
_OTHERS = (
    (re.compile(rb'\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51'), 'JPEG 2000'),
    (re.compile(rb'\x00\x00\x00\x0cJXL |\xff\x0a'), 'JPEG XL'),
    (re.compile(rb'GIF8[79]a'), 'GIF'),
    (re.compile(rb'....ftypavi[fs]', re.S), 'AVIF'),
    (re.compile(rb'....ftyp(he[iv][cfmsx]|mif1|msf1)', re.S), 'HEIC'),
    (re.compile(rb'P[1-7f F]\s'), 'PNM or PAM'),
    (re.compile(rb'II\+\0|MM\0\+'), 'BigTIFF'),
    (re.compile(rb'\x76\x2f\x31\x01'), 'OpenEXR'),
    (re.compile(rb'#\?R(ADIANCE|GBE)'), 'Radiance HDR'),
    (re.compile(rb'\x59\xa6\x6a\x95'), 'Sun raster'),
    (re.compile(rb'%PDF'), 'PDF'),
    (re.compile(rb'\s*<(!DOCTYPE|html|\?xml|svg)', re.I), 'HTML or SVG'),
    (re.compile(rb'version https://git-lfs'), 'git-LFS pointer'),
)


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header promises.

    Attributes:
        format: one of JPEG, PNG, WEBP, BMP, TIFF.
        width, height: in pixels, above 0.
        pixel_bytes: of a decoded pixel, 3 (8 bits, colour) to 8 (16 bits, with transparency).
    """

    format: str
    width: int
    height: int
    pixel_bytes: int

    @property
    def decoded_bytes(self) -> int:
        """Memory that the decoded image takes."""
        return self.width * self.height * self.pixel_bytes


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a whole image file.

    Raises:
        ImageError: it is of another format, has no size, or its end is missing; the message is the
            second half of a sentence, such as "is cut off ...".

    """
    for start, read in _READERS.items():
        if data.startswith(start):
            try:
                header = read(data)
            except (struct.error, IndexError):
                raise ImageError('is cut off within its header') from None
            if header.width < 1 or header.height < 1:
                raise ImageError(f'has no pixels: {header.width}x{header.height}')
            return header
    name = next((name for pattern, name in _OTHERS if pattern.match(data)), '')
    raise ImageError(f'is a {name} file' if name else 'is damaged, or is no image')


def _jpeg(data: bytes) -> ImageHeader:
    size: tuple[int, int] | None = None
    scans, next_one = 0, 2
    for position in _jpeg_markers(data)[:_MOST_MARKERS]:
        if position < next_one:  # within the segment before
            continue
        marker, start = data[position + 1], position + 2
        if marker == _END:
            if size is None or not scans:
                raise ImageError('is a damaged JPEG file: there is no image in it')
            return ImageHeader(JPEG, size[1], size[0], 3)
        if marker in (0x01, _START):
            continue
        (length,) = struct.unpack_from('>H', data, start)
        if marker in _OTHER_FRAMES:
            raise ImageError('is a JPEG file of a rare kind (lossless or arithmetic)')
        if marker in _HUFFMAN_FRAMES:
            if size is not None:
                raise ImageError('is a damaged JPEG file: it has two frame headers')
            bits, height, width = struct.unpack_from('>BHH', data, start + 2)
            size = height, width
            if bits != 8:
                raise ImageError(f'is a JPEG file of {bits} bits: expected 8')
        scans += marker == _SCAN
        if scans > _MOST_SCANS:
            raise ImageError(f'is a JPEG file of more than {_MOST_SCANS} scans')
        next_one = start + max(length, 2)
    raise ImageError('is cut off: the end of the JPEG data is missing')


def _jpeg_markers(data: bytes) -> list[int]:
    """Return where 0xFF stands before a marker, in the image's data and, by chance, elsewhere."""
    values = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(values[:-1] == 0xFF)
    codes = values[places + 1]
    restart = (codes >= 0xD0) & (codes <= 0xD7)
    found: list[int] = places[(codes != 0) & (codes != 0xFF) & ~restart].tolist()
    return found


# Other entries have no part in the still image, and those of animations end OpenCV 4.11's process.
_PNG_ENTRIES = (b'IHDR', b'PLTE', b'tRNS', b'eXIf', b'IDAT', b'IEND')


def still_png(data: bytes) -> bytes:
    """Return a PNG file that read_header took, without the entries that a still image lacks."""
    entries = list(_png_entries(data))
    if all(kind in _PNG_ENTRIES for kind, _, _ in entries):
        return data
    kept = (data[start:end] for kind, start, end in entries if kind in _PNG_ENTRIES)
    return data[:8] + b''.join(kept)


def _png(data: bytes) -> ImageHeader:
    length, kind, width, height, bits, colour = struct.unpack_from('>I4sIIBB', data, 8)
    if kind != b'IHDR' or length != 13:
        raise ImageError('is a damaged PNG file: its first entry is no header')
    kinds = [kind for kind, _, _ in _png_entries(data)]
    if b'IDAT' not in kinds or kinds.count(b'IHDR') > 1:
        raise ImageError('is a damaged PNG file: there is no image in it')
    channels = 4 if colour in (4, 6) or b'tRNS' in kinds else 3
    return ImageHeader(PNG, width, height, channels * (2 if bits == 16 else 1))


def _png_entries(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each entry; raises ImageError where the last is missing."""
    start, kind = 8, b''
    while kind != b'IEND':
        if start + 12 > len(data):
            raise ImageError('is cut off: the end of the PNG data is missing')
        length, kind = struct.unpack_from('>I4s', data, start)
        end = start + 12 + length
        yield kind, start, end
        start = end
    if start > len(data):
        raise ImageError('is cut off: the end of the PNG data is missing')


def _webp(data: bytes) -> ImageHeader:
    length, kind, chunk = struct.unpack_from('<I4s4s', data, 4)
    if kind != b'WEBP':
        raise ImageError('is no image')
    if 8 + length > len(data):
        raise ImageError('is cut off: the end of the WebP data is missing')
    if chunk == b'VP8X':
        width = 1 + int.from_bytes(data[24:27], 'little')
        height = 1 + int.from_bytes(data[27:30], 'little')
    elif chunk == b'VP8L':
        bits = struct.unpack_from('<I', data, 21)[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif chunk == b'VP8 ':
        width, height = (side & 0x3FFF for side in struct.unpack_from('<HH', data, 26))
    else:
        raise ImageError('is a damaged WebP file: there is no image in it')
    return ImageHeader(WEBP, width, height, 4)


def webp_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a WebP file that read_header took, 1 where it has none."""
    start, end = 12, 8 + int.from_bytes(data[4:8], 'little')
    while start + 8 <= end:
        kind, length = struct.unpack_from('<4sI', data, start)
        if kind == b'EXIF':
            return _exif_orientation(data[start + 8 : start + 8 + length])
        start += 8 + length + length % 2
    return 1


def _exif_orientation(exif: bytes) -> int:
    try:
        return _tiff_tags(exif.removeprefix(b'Exif\0\0'), (_ORIENTATION,)).get(_ORIENTATION, 1)
    except (struct.error, ImageError):  # damaged: the image itself may be whole
        return 1


def _bmp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if size == 12 else '<ii', data, 18)
    return ImageHeader(BMP, width, abs(height), 4)


# TIFF: tags of the first directory, and the values of those that are read
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _SAMPLES = 256, 257, 258, 259, 262, 277
_ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT = 274, 322, 323
_ABOUT_PIXELS = (
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT
)  # fmt: skip
_COMPRESSIONS = {1: 'none', 5: 'LZW', 8: 'Deflate', 32773: 'PackBits', 32946: 'Deflate'}
_TYPES = {1: 'B', 3: 'H', 4: 'I'}


def _tiff(data: bytes) -> ImageHeader:
    tags = _tiff_tags(data, _ABOUT_PIXELS)
    compression, bits = tags.get(_COMPRESSION, 1), tags.get(_BITS, 1)
    samples, colours = tags.get(_SAMPLES, 1), tags.get(_COLOURS, 1)
    if compression not in _COMPRESSIONS:
        raise ImageError(
            f'is a TIFF file of compression {compression}: expected none, LZW, Deflate or PackBits'
        )
    if bits not in (1, 4, 8, 16) or samples not in (1, 2, 3, 4) or colours not in (0, 1, 2, 3):
        raise ImageError(
            f'is a TIFF file of {samples} channels of {bits} bits (photometric {colours}): '
            'expected grey, colour or a palette of 8 or 16 bits'
        )
    width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    # A tile is decoded whole, however little of it lies in the image.
    width = max(width, tags.get(_TILE_WIDTH, 0)) if width else 0
    height = max(height, tags.get(_TILE_HEIGHT, 0)) if height else 0
    return ImageHeader(TIFF, width, height, 4 * (2 if bits == 16 else 1))


def _tiff_tags(data: bytes, wanted: Container[int]) -> dict[int, int]:
    """Return the first value of each wanted tag of the first directory: whole numbers."""
    order = '<' if data[:2] == b'II' else '>'
    (start,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, start)
    tags: dict[int, int] = {}
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f'{order}HHI', data, position)
        code = _TYPES.get(kind)
        if code is None or not values:
            continue
        at = position + 8
        if struct.calcsize(code) * values > 4:
            (at,) = struct.unpack_from(f'{order}I', data, at)
        if tag in wanted:
            if tag in tags:
                raise ImageError(f'is a damaged TIFF file: it has tag {tag} twice')
            (tags[tag],) = struct.unpack_from(f'{order}{code}', data, at)
    return tags


_READERS = {
    b'\xff\xd8\xff': _jpeg,
    b'\x89PNG\r\n\x1a\n': _png,
    b'RIFF': _webp,
    b'BM': _bmp,
    b'II*\0': _tiff,
    b'MM\0*': _tiff,
}
