# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Photos in a few files, each encoded as WebP."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # it needs packages that are not where the GPU is
    from training.detector.dataset import Photo

LONGEST_SIDE, QUALITY = 512, 58  # small enough to send thousands
PHOTOS = 'photos.npz'
_PHOTO_FILE = re.compile(r'photos(_[0-9]{4})?\.npz')
_PART_OVERHEAD = 2_000  # bytes of a file beside the photos


def encode_photos(
    photos: Sequence[Photo],
    threads: int = 1,
    longest_side: int = LONGEST_SIDE,
    quality: int = QUALITY,
) -> list[bytes | ValueError]:
    """Return photos as WebP; for one that cannot be read as it was annotated what is wrong.

    Args:
        photos: to encode.
        threads: that encode.
        longest_side: pixels of a photo's longer side, at most.
        quality: of WebP, 1 to 100.

    """
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda photo: _encode(photo, longest_side, quality), photos))


def write_photos(photos: Iterable[bytes], folder: Path, part_megabytes: float) -> list[Path]:
    """Write encoded photos as files of their bytes and where each ends.

    Args:
        photos: encoded.
        folder: where no such files are.
        part_megabytes: size that a file may have; 0: there is one file, of any size.

    Returns:
        The files, in the order of the photos.

    """
    if not part_megabytes:
        return [_write_part(list(photos), folder / PHOTOS)]
    files: list[Path] = []
    part: list[bytes] = []
    size, most = 0, part_megabytes * 1e6 - _PART_OVERHEAD
    for photo in photos:
        if part and size + len(photo) + 8 > most:
            files.append(_write_part(part, folder / _part_name(len(files))))
            part, size = [], 0
        part.append(photo)
        size += len(photo) + 8
    return [*files, _write_part(part, folder / _part_name(len(files)))]


def photo_files(folder: Path) -> list[Path]:
    """Return the files of photos of a pack, in the order of its labels."""
    return sorted(path for path in folder.glob('photos*.npz') if _PHOTO_FILE.fullmatch(path.name))


def _part_name(number: int) -> str:
    return f'photos_{number + 1:04d}.npz'


def _write_part(photos: Sequence[bytes], path: Path) -> Path:
    ends = np.cumsum([len(photo) for photo in photos])
    np.savez(path, ends=ends, data=np.frombuffer(b''.join(photos), np.uint8))
    return path


def _encode(photo: Photo, longest_side: int, quality: int) -> bytes | ValueError:
    try:
        pixels = photo.read()
    except ValueError as error:
        return error
    image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
    factor = longest_side / max(image.size)
    if factor < 1:
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, 'WEBP', quality=quality, method=3)
    return buffer.getvalue()


def unpack_photos(
    files: Sequence[Path], most: int | None = None, threads: int = 16
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode packed photos, one file after the other.

    Returns:
        uint8 (N, S, S, 3) RGB, each photo at the top left, grey elsewhere, S the longest side of
        all; int64 (N, 2) height and width of each.

    """
    spans = [span for path in files for span in read_part(path)]
    spans = spans[:most]
    sizes = np.array([_size(span) for span in spans], np.int64).reshape(-1, 2)
    side = sizes.max(initial=1)
    photos = np.full((len(spans), side, side, 3), 114, np.uint8)

    def decode(i: int) -> None:
        with Image.open(io.BytesIO(spans[i])) as file:
            image = np.asarray(file.convert('RGB'))
        photos[i, : image.shape[0], : image.shape[1]] = image

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(len(spans))))
    return photos, sizes


def _size(photo: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(photo)) as file:
        return file.height, file.width


def read_part(path: Path) -> list[bytes]:
    """Return the encoded photos of a file.

    Raises:
        ValueError: it is no file of packed photos.
        OSError: it cannot be read.
    """
    try:
        with np.load(path) as file:
            ends, data = file['ends'], file['data']
    except (EOFError, KeyError, TypeError, ValueError, BadZipFile):
        raise ValueError(f'{path}: is no file of packed photos') from None
    return [data[s:e].tobytes() for s, e in zip([0, *ends[:-1]], ends, strict=True)]
