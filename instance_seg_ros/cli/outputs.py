# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files that a command writes: planned before any work, never over a user's file, never half-done.

A file is written under another name in its folder and renamed when it is whole. The other name
begins with a prefix of its own; what a killed run left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from instance_seg_ros.cli.places import (
    PREFIX,
    FileId,
    OutputError,
    identity,
    is_special,
    link_identity,
    place_of,
    remove_leftovers,
    rename_to_nothing,
    umask,
    written,
)
from instance_seg_ros.file_locks import lock, lock_of_folder

__all__ = ['OutputError', 'Outputs', 'place_of', 'written']


class Outputs:
    """The files that one run writes.

    Args:
        folder: where they go; no target may lie outside of it.
        sources: files that the run reads: none of them is ever replaced.
        overwrite: whether other files that exist may be replaced.

    """

    def __init__(self, folder: Path, sources: Iterable[Path], *, overwrite: bool = False) -> None:
        self.folder = folder
        self._overwrite = overwrite
        self._sources: set[FileId | None] = set()
        self.add_sources(sources)
        # By place. Texts, which take a fifth of the memory that paths take.
        self._planned: dict[str, str] = {}
        self._resolved: dict[Path, Path] = {}  # folders, while all is planned
        self._own: set[str] = set()
        self._folders: dict[str, re.Pattern[str]] = {}
        self._written: set[FileId | None] = set()

    def add_sources(self, sources: Iterable[Path]) -> None:
        """Add files that the run reads."""
        for path in sources:
            self._sources |= {identity(path), link_identity(path)} - {None}

    def plan(self, target: Path, name: str, *, inside: bool = True) -> None:
        """Reserve a place before the work begins.

        Args:
            target: the file.
            name: of what is written there, for messages.
            inside: whether it must lie in the folder.

        Raises:
            OutputError: it lies outside, is a source, another's target, a file that exists, or
                what is no regular file.

        """
        place = self._place(target, name, inside=inside)
        if place.is_dir():
            raise OutputError(f'{target}: is a folder; {name} would be written there')
        if is_special(place):
            raise OutputError(
                f'{target}: is a device, a pipe or the like; {name} can be written only to '
                'a regular file. Name one, or a file that does not exist'
            )
        if not os.path.lexists(place) or str(place) in self._own:
            return
        if self._is_source(place):
            raise OutputError(
                f'{target}: is read by this command, and would be overwritten by the result of '
                f'{name}; give another --output'
            )
        if not self._overwrite:
            raise OutputError(
                f'{target}: exists. Give another place, or --overwrite to replace what is there'
            )

    def plan_folder(self, target: Path, name: str, names: re.Pattern[str]) -> None:
        """Reserve a place for a folder of files; see :meth:`open_folder`.

        Args:
            target: the folder.
            name: of what is written there, for messages.
            names: that files in it have; a folder with any others is never replaced.

        Raises:
            OutputError: as :meth:`plan`.

        """
        place = self._place(target, name, inside=True)
        self._folders[str(place)] = names
        if not os.path.lexists(place):
            return
        self._check_folder(target, place, name)
        if not self._overwrite and str(place) not in self._own:
            raise OutputError(
                f'{target}: exists. Give another place, or --overwrite to replace what is there'
            )

    def _place(self, target: Path, name: str, *, inside: bool) -> Path:
        """Return the place of a target, which is reserved."""
        place = self._resolve(target.parent) / target.name
        if inside and not place.is_relative_to(self._resolve(self.folder)):
            raise OutputError(f'{target}: would be outside of {self.folder}, through a link')
        if str(place) in self._planned:
            raise OutputError(
                f'{name} and {self._planned[str(place)]} would both be written to {target}; take '
                'them apart by two runs with another --output each'
            )
        self._planned[str(place)] = name
        return place

    def _resolve(self, folder: Path) -> Path:
        if folder not in self._resolved:
            self._resolved[folder] = folder.resolve()
        return self._resolved[folder]

    def _check_folder(self, target: Path, place: Path, name: str) -> None:
        if place.is_symlink() or not place.is_dir():
            raise OutputError(f'{target}: is no folder; one for {name} would be written there')
        for each in place.iterdir():
            named = self._folders[str(place)].fullmatch(each.name)
            if not named or each.is_dir() or self._is_source(each):
                raise OutputError(
                    f'{target}: has {each.name}, which is not from this command. Only what it '
                    'wrote is replaced; give another --output'
                )

    def own(self, targets: Iterable[Path]) -> None:
        """Take files that exist for those of this run, begun earlier: they may be replaced."""
        self._own |= {str(place_of(target)) for target in targets}

    def begin(self, results: Mapping[str, Path]) -> None:
        """Plan the files of results, see that all can be written, remove what killed runs left.

        Args:
            results: files that may lie elsewhere, by what they are called in messages.

        Raises:
            OutputError: the folder of outputs, or that of the results, cannot be written to.

        """
        places = [self.folder]
        for name, path in results.items():
            self.plan(path, name, inside=False)
            places.append(path.parent)
        self._resolved.clear()
        folders = {os.path.dirname(place) for place in self._planned}
        for folder in folders:
            self._check_is_no_result(folder)
        self.prepare(places)
        for folder in folders:
            remove_leftovers(Path(folder))

    def _check_is_no_result(self, folder: str) -> None:
        for each in (folder, *map(str, Path(folder).parents)):
            if each in self._folders:
                raise OutputError(
                    f'{each}: files of this run would be written in this folder, which is '
                    f'for the results of {self._planned[each]}; give another --output'
                )

    def prepare(self, folders: Iterable[Path]) -> None:
        """Make the folders, see that they can be written to, remove what killed runs left.

        Raises:
            OutputError: a folder cannot be made or written to.

        """
        for folder in dict.fromkeys(folders):
            with written(folder):
                folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder)
                with tempfile.TemporaryFile(dir=folder, prefix=PREFIX):
                    pass

    @contextlib.contextmanager
    def open(self, target: Path) -> Iterator[Path]:
        """Lend a place beside the target; what is written there is renamed at the end.

        With an exception, and when the process is killed, the target is left as it was.

        Raises:
            OutputError: it cannot be written, or a file is there that this run may not replace.

        """
        # Not by the name itself: "new/../x" would be another file once "new" is made.
        place = place_of(target)
        with written(target):
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                dir=place.parent, prefix=PREFIX, suffix=f'.part{place.suffix}'
            )
        beside = Path(name)
        try:
            lock(handle)  # tells other processes that the owner of the file is alive
            with written(target):
                yield beside
                os.chmod(beside, 0o666 & ~umask())
                self._rename(beside, place)
        finally:
            os.close(handle)
            beside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def open_folder(self, target: Path) -> Iterator[Path]:
        """Lend an empty folder beside a planned one; it is renamed at the end.

        With an exception, and when the process is killed, the target is left as it was, or is
        missing where it was to be replaced.

        Raises:
            OutputError: as :meth:`open`.

        """
        place = place_of(target)
        with written(target):
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=PREFIX, suffix='.part'))
        try:
            with lock_of_folder(beside), written(target):
                yield beside
                os.chmod(beside, 0o777 & ~umask())
                self.remove_folder(target)
                beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def remove_folder(self, target: Path) -> None:
        """Remove a planned folder that an earlier run wrote, if it is there.

        Raises:
            OutputError: it cannot be removed, or may not be replaced.

        """
        place = place_of(target)
        if not os.path.lexists(place):
            return
        if not self._overwrite and str(place) not in self._own:
            raise OutputError(f'{target}: has come to exist meanwhile; nothing is overwritten')
        self._check_folder(target, place, self._planned[str(place)])
        with written(target):
            shutil.rmtree(place)

    def write(self, target: Path, content: bytes) -> None:
        """Write a whole file; raises OutputError as :meth:`open` does."""
        with self.open(target) as beside:
            beside.write_bytes(content)

    def _rename(self, beside: Path, target: Path) -> None:
        # Checked again: the file may have been created meanwhile, or its name may differ in upper
        # case only, on a file system that ignores case.
        there = link_identity(target)
        if there is not None:
            if self._is_source(target) or there in self._written:
                raise OutputError(f'{target}: is another file of this run; nothing is overwritten')
            replaceable = self._overwrite or str(target) in self._own
            if not replaceable or is_special(target):
                raise OutputError(f'{target}: has come to exist meanwhile; nothing is overwritten')
            os.replace(beside, target)
        else:
            rename_to_nothing(beside, target)
        self._written.add(link_identity(target))

    def _is_source(self, path: Path) -> bool:
        return identity(path) in self._sources or link_identity(path) in self._sources
