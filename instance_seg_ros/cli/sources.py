# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The image files that paths, folders and patterns stand for.

Of each file two texts are kept and nothing else: there may be a hundred thousand.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from instance_seg_ros.cli.console import CommandError
from instance_seg_ros.images import OTHER_SUFFIXES, SUFFIXES

_NAMED = 5  # files that a warning lists


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and the folder below the output folder where its results go.

    Attributes:
        path: as the user named it, or below the folder that the user named.
        folder: relative to the output folder; '' is that folder itself.
    """

    path: str
    folder: str

    @property
    def name(self) -> str:
        """Of the file, without folders."""
        return os.path.basename(self.path)

    @property
    def shown(self) -> str:
        """The name in tables and results: with the folder, so that it is unique."""
        return os.path.join(self.folder, self.name)


@dataclass
class FoundImages:
    """What the sources stand for.

    Attributes:
        files: that are read, each once.
        others: of formats that are not read: HEIC, GIF, AVIF and so on.
        links: to folders, which are not followed.
        unreadable: folders that cannot be listed.
    """

    files: list[ImageFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def warnings(self) -> Iterator[str]:
        """Yield a line about each kind of file or folder that is left out."""
        if self.others:
            yield describe(self.others)
        if self.links:
            yield (
                'left out, as links to folders are not followed; name such a folder itself: '
                f'{_listed(self.links)}'
            )
        if self.unreadable:
            yield f'left out, as these folders cannot be read: {_listed(self.unreadable)}'


def find_images(
    sources: Sequence[str], *, recursive: bool = False, output: Path | None = None
) -> FoundImages:
    """Return the image files, each once, however it is named.

    Hidden files are left out of folders and patterns, and so is what lies in the output folder.

    Args:
        sources: paths of files and folders, and patterns such as ``photos/**/*.jpg``.
        recursive: whether the folders in a folder count.
        output: the folder of the results.

    Raises:
        CommandError: a source stands for no image.

    """
    found = FoundImages()
    search = _Search(found, recursive, None if output is None else os.path.realpath(output))
    seen: set[str] = set()
    images: list[str] = []
    places: dict[str, str] = {}  # a folder as named -> its real path
    roots = set()
    for source in sources:
        root, paths = search.images_of(source)
        roots.add(root)
        for path in paths:
            parent, name = os.path.split(path)
            if parent not in places:
                places[parent] = os.path.realpath(parent)
            place = os.path.join(places[parent], name)
            if place not in seen:
                seen.add(place)
                images.append(path)
    common = os.path.commonpath([*roots, *places.values()])
    below = {parent: _relative(real, common) for parent, real in places.items()}
    found.files = [ImageFile(path, below[os.path.dirname(path)]) for path in images]
    return found


def describe(left_out: Sequence[str]) -> str:
    """Return one line about files of formats that are not read."""
    names = _listed([os.path.basename(path) for path in left_out])
    return f'left out, as their formats are not read: {names}. Read are {" ".join(SUFFIXES)}'


def _listed(names: Sequence[str]) -> str:
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return f'{", ".join(names[:_NAMED])}{more}'


def _relative(path: str, start: str) -> str:
    relative = os.path.relpath(path, start)
    return '' if relative == os.curdir else relative


class _Search:
    """Looks for images, and notes in ``found`` what is left out."""

    def __init__(self, found: FoundImages, recursive: bool, output: str | None) -> None:
        self._found, self._recursive, self._output = found, recursive, output

    def images_of(self, source: str) -> tuple[str, list[str]]:
        """Return the real path of the folder that a source begins in, and its images, sorted."""
        path = os.path.expanduser(source)
        if os.path.isdir(path):
            return os.path.realpath(path), self._in_folder(source, path)
        if os.path.exists(path):
            return os.path.realpath(os.path.dirname(path)), [path]
        if not glob.has_magic(path):
            raise CommandError(f'{source}: no such file or folder')
        root, pattern = _split(path)
        return os.path.realpath(root), self._matching(source, root, pattern)

    def _in_folder(self, source: str, folder: str) -> list[str]:
        images, others = _by_kind(self._walk(folder))
        if images:
            self._found.others += others
            return images
        if others:
            raise CommandError(f'{source}: no image in this folder; {describe(others)}')
        hint = '' if self._recursive else '. --recursive also looks in the folders in it'
        raise CommandError(
            f'{source}: no image in this folder. Expected {" ".join(SUFFIXES)}{hint}'
        )

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield the files of a folder; links to folders are not followed, so loops end."""

        def note(error: OSError) -> None:
            if error.filename == folder:
                raise error
            self._found.unreadable.append(str(error.filename))

        real = os.path.realpath(folder)
        for parent, folders, names in os.walk(folder, onerror=note):
            yield from (str(Path(parent, name)) for name in sorted(_shown(names)))
            if not self._recursive:
                return
            below = os.path.normpath(os.path.join(real, os.path.relpath(parent, folder)))
            kept = []
            for name in sorted(_shown(folders)):
                if os.path.islink(os.path.join(parent, name)):
                    self._found.links.append(os.path.join(parent, name))
                elif os.path.join(below, name) != self._output:
                    kept.append(name)
            folders[:] = kept  # os.walk goes into these

    def _matching(self, source: str, root: str, pattern: str) -> list[str]:
        hidden = any(part.startswith('.') for part in pattern.split(os.sep))
        ours = self._is_output(os.path.realpath(root))
        places: dict[str, bool] = {}
        matches = []
        try:
            for match in Path(root).glob(pattern):
                path = str(match)
                parent = os.path.dirname(path)
                if not hidden and _is_hidden(os.path.relpath(path, root)):
                    continue
                if parent not in places:
                    places[parent] = not ours and self._is_output(os.path.realpath(parent))
                if not places[parent]:
                    matches.append(path)
        except ValueError as error:  # such as "a**/b"
            raise CommandError(f'{source}: is no pattern ({error})') from None
        matches.sort(key=lambda path: path.split(os.sep))
        images, others = _by_kind(matches)
        if not images:
            what = f'; {describe(others)}' if others else ''
            raise CommandError(f'{source}: no image matches this pattern{what}')
        self._found.others += others
        return images

    def _is_output(self, real: str) -> bool:
        """Whether a folder is the output folder or lies in it."""
        return self._output is not None and Path(real).is_relative_to(self._output)


def _split(path: str) -> tuple[str, str]:
    """Split a pattern into the folder that it begins in and the rest."""
    parts = Path(path).parts
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    rest = list(parts[len(fixed) :])
    if rest[-1] == '**':  # all files, which pathlib takes for all folders before Python 3.13
        rest.append('*')
    return os.path.join(*fixed) if fixed else '', os.path.join(*rest)


def _shown(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith('.'))


def _is_hidden(relative: str) -> bool:
    return any(part.startswith('.') and part != os.pardir for part in relative.split(os.sep))


def _by_kind(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the images, and the files of formats that are not read."""
    images, others = [], []
    for path in paths:
        suffix = os.path.splitext(path)[1].lower()
        if suffix in SUFFIXES and os.path.isfile(path):
            images.append(path)
        elif suffix in OTHER_SUFFIXES and os.path.isfile(path):
            others.append(path)
    return images, others
