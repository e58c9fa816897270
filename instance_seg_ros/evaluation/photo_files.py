# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Finds the photos that a COCO file names, and reads them as they were annotated."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.notes import DatasetError, Notes
from instance_seg_ros.evaluation.shapes import Size
from instance_seg_ros.images import read_image
from instance_seg_ros.text_files import is_file

_DRIVE = re.compile(r'^[A-Za-z]:')


class PhotoFolder:
    """The photos below a folder, by the names that annotation tools give them.

    Tools write the bare name, folders of their own before it, a path of another machine (also of
    Windows), or an address with ``%20`` in it. The part that is found in the folder counts.

    Args:
        folder: of the photos.

    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, file_name: str) -> Path | None:
        """Return the photo; None where there is none, or more than one that it could be."""
        variants = _variants(file_name)
        for parts in variants:
            for start in range(len(parts)):
                path = self.path.joinpath(*parts[start:])
                if is_file(path):
                    return path
        for parts in variants:
            path_or_none = self._find_below(parts)
            if path_or_none is not None:
                return path_or_none
        return None

    def is_elsewhere(self, file_name: str, path: Path) -> bool:
        """Whether a photo that was found lies below in a folder of another name than it should."""
        found = path.relative_to(self.path).parts
        for parts in _variants(file_name):
            shared = _shared([part.lower() for part in parts], path)
            if shared >= min(len(parts), len(found)):
                return False
        return True

    def _find_below(self, parts: list[str]) -> Path | None:
        """Look in all folders below, in upper and lower case alike."""
        wanted = [part.lower() for part in parts]
        shared = [(_shared(wanted, path), path) for path in self._index().get(wanted[-1], [])]
        most = max((count for count, _ in shared), default=0)
        best = [path for count, path in shared if count == most]
        return best[0] if len(best) == 1 else None

    def _index(self) -> dict[str, list[Path]]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for folder, _, names in os.walk(self.path):
                for name in names:
                    self._by_name[name.lower()].append(Path(folder, name))
        return self._by_name


def _variants(file_name: str) -> list[list[str]]:
    """Return the parts of the path that a name may stand for, the likeliest first."""
    name = file_name
    if '://' in name or '?d=' in name:
        address = urlsplit(name)
        name = parse_qs(address.query).get('d', [address.path])[0]
    variants = []
    for text in (name, name.replace('\\', '/'), unquote(name).replace('\\', '/')):
        text = _DRIVE.sub('', text)
        parts = [part for part in PurePosixPath(text).parts if part not in ('/', '//', '..')]
        if parts and parts not in variants:
            variants.append(parts)
    return variants


def _shared(wanted: list[str], path: Path) -> int:
    """Return how many parts at the end of two paths are the same."""
    count = 0
    for one, other in zip(reversed(wanted), reversed(path.parts), strict=False):
        if one != other.lower():
            break
        count += 1
    return count


def read_photo(path: Path, size: Size, notes: Notes | None = None) -> NDArray[np.uint8]:
    """Read a photo as it was annotated.

    Annotation tools show a photo turned as its EXIF data say, as :func:`read_image` does; some
    write the size that is stored. The annotations' size tells which.

    Args:
        path: of the photo.
        size: (height, width) of the annotations.
        notes: where photos are counted that are not turned, as their annotations are not.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        ImageError: it cannot be read.
        DatasetError: it is of another size than its annotations.

    """
    image = read_image(path)
    if image.shape[:2] == size:
        return image
    if image.shape[1::-1] == size:
        stored = read_image(path, as_stored=True)
        if stored.shape[:2] == size:
            if notes is not None:
                notes.used(
                    'photos that their EXIF data turn, but not their annotations: segmented as '
                    'annotated',
                    path.name,
                )
            return stored
    raise DatasetError(
        f'{path}: is {image.shape[1]}x{image.shape[0]} pixels, its annotations are for '
        f'{size[1]}x{size[0]}. Export the data set again'
    )
