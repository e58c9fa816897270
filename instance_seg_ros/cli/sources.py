# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The image files that paths, folders and patterns stand for."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from instance_seg_ros.cli.console import CommandError
from instance_seg_ros.cli.outputs import place_of
from instance_seg_ros.images import OTHER_SUFFIXES, SUFFIXES

_NAMED = 5  # files that a warning lists


def find_images(sources: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the image files, each once, however it is named.

    Returns:
        Those that are read, and those of formats that are not: HEIC, GIF, AVIF and so on.

    Raises:
        CommandError: a source stands for no image.

    """
    images: dict[Path, Path] = {}
    others: dict[Path, Path] = {}
    for source in sources:
        for files, found in zip((images, others), _matching(source), strict=True):
            for path in found:
                files.setdefault(place_of(path), path)
    return list(images.values()), list(others.values())


def describe(left_out: Sequence[Path]) -> str:
    """Return one line about the files that are left out."""
    names = ', '.join(path.name for path in left_out[:_NAMED])
    more = f' and {len(left_out) - _NAMED} more' if len(left_out) > _NAMED else ''
    return f'left out, as their formats are not read: {names}{more}. Read are {" ".join(SUFFIXES)}'


def _matching(source: str) -> tuple[list[Path], list[Path]]:
    path = Path(source).expanduser()
    if path.is_dir():
        images, others = _sorted(path.iterdir())
        if not images:
            what = f'; {describe(others)}' if others else f'. Expected {" ".join(SUFFIXES)}'
            raise CommandError(f'{source}: no image in this folder{what}')
        return images, others
    if path.exists():
        return [path], []
    images, others = _sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not images:
        what = 'no image matches this pattern'
        if not glob.has_magic(source):
            what = 'no such file or folder'
        elif others:
            what += f'; {describe(others)}'
        raise CommandError(f'{source}: {what}')
    return images, others


def _sorted(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images, and the files of formats that are not read."""
    images, others = [], []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in SUFFIXES and path.is_file():
            images.append(path)
        elif suffix in OTHER_SUFFIXES and path.is_file():
            others.append(path)
    return sorted(images), sorted(others)
