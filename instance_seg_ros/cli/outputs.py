# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files that a command writes: planned before any work, never over a user's file, never half-done.

A file is written under another name in its folder and renamed when it is whole. The other name
begins with a prefix of its own; what a killed run left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from instance_seg_ros.cli.console import CommandError
from instance_seg_ros.file_locks import lock

_PREFIX = '.instance-seg-'
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)

FileId = tuple[int, int]


class OutputError(CommandError):
    """A file cannot be written; the message names it."""


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Let errors of the operating system name this file."""
    try:
        yield
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from None


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
        self._planned: dict[Path, str] = {}
        self._own: set[Path] = set()
        self._written: set[FileId | None] = set()

    def add_sources(self, sources: Iterable[Path]) -> None:
        """Add files that the run reads."""
        for path in sources:
            self._sources |= {_identity(path), _link_identity(path)} - {None}

    def plan(self, target: Path, name: str, *, inside: bool = True) -> None:
        """Reserve a place before the work begins.

        Args:
            target: the file.
            name: of what is written there, for messages.
            inside: whether it must lie in the folder.

        Raises:
            OutputError: it lies outside, is a source, another's target, or a file that exists.

        """
        place = place_of(target)
        if inside and not place.is_relative_to(self.folder.resolve()):
            raise OutputError(f'{target}: would be outside of {self.folder}, through a link')
        if place in self._planned:
            raise OutputError(
                f'{name} and {self._planned[place]} would both be written to {target}; take them '
                'apart by two runs with another --output each'
            )
        self._planned[place] = name
        if place.is_dir():
            raise OutputError(f'{target}: is a folder; {name} would be written there')
        if not os.path.lexists(place) or place in self._own:
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

    def own(self, targets: Iterable[Path]) -> None:
        """Take files that exist for those of this run, begun earlier: they may be replaced."""
        self._own |= {place_of(target) for target in targets}

    def begin(self, results: Path | None, folders: Iterable[Path]) -> None:
        """Plan the file of results, see that all can be written, remove what killed runs left.

        Args:
            results: a file that may lie elsewhere, "-" for standard output, None for none.
            folders: of the planned targets.

        Raises:
            OutputError: the folder of outputs, or that of the results, cannot be written to.

        """
        places = [self.folder]
        if results is not None and str(results) != '-':
            self.plan(results, '--json', inside=False)
            places.append(results.parent)
        self.prepare(places)
        for folder in dict.fromkeys(folders):
            _remove_leftovers(folder)

    def prepare(self, folders: Iterable[Path]) -> None:
        """Make the folders, see that they can be written to, remove what killed runs left.

        Raises:
            OutputError: a folder cannot be made or written to.

        """
        for folder in dict.fromkeys(folders):
            with written(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _remove_leftovers(folder)
                with tempfile.TemporaryFile(dir=folder, prefix=_PREFIX):
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
                dir=place.parent, prefix=_PREFIX, suffix=f'.part{place.suffix}'
            )
        beside = Path(name)
        try:
            lock(handle)  # tells other processes that the owner of the file is alive
            with written(target):
                yield beside
                os.chmod(beside, 0o666 & ~_umask())
                self._rename(beside, place)
        finally:
            os.close(handle)
            beside.unlink(missing_ok=True)

    def write(self, target: Path, content: bytes) -> None:
        """Write a whole file; raises OutputError as :meth:`open` does."""
        with self.open(target) as beside:
            beside.write_bytes(content)

    def _rename(self, beside: Path, target: Path) -> None:
        # Checked again: the file may have been created meanwhile, or its name may differ in upper
        # case only, on a file system that ignores case.
        identity = _link_identity(target)
        if identity is not None:
            if self._is_source(target) or identity in self._written:
                raise OutputError(f'{target}: is another file of this run; nothing is overwritten')
            if not self._overwrite and target not in self._own:
                raise OutputError(f'{target}: has come to exist meanwhile; nothing is overwritten')
            os.replace(beside, target)
        else:
            _rename_to_nothing(beside, target)
        self._written.add(_link_identity(target))

    def _is_source(self, path: Path) -> bool:
        return _identity(path) in self._sources or _link_identity(path) in self._sources


def place_of(path: Path) -> Path:
    """Return the absolute path with its folder's links and ``..`` resolved, its name kept."""
    return path.parent.resolve() / path.name


def targets_in(folder: Path, sources: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Return the places of results in a folder: by name, below the sources' common folder.

    Args:
        folder: of the results.
        sources: the files.
        names: of their results.

    """
    parents = [path.parent.resolve() for path in sources]
    common = os.path.commonpath(parents)
    return [
        folder / parent.relative_to(common) / name
        for parent, name in zip(parents, names, strict=True)
    ]


def _rename_to_nothing(beside: Path, target: Path) -> None:
    try:
        os.link(beside, target)  # unlike a renaming, never over another file
    except FileExistsError:
        raise OutputError(
            f'{target}: has come to exist meanwhile; nothing is overwritten'
        ) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(beside, target)  # a file system without hard links


def _remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of processes that have ended: nobody holds their locks."""
    for path in folder.glob(f'{_PREFIX}*.part*'):
        with contextlib.suppress(OSError), path.open('rb') as file:
            if lock(file):
                path.unlink()


def _identity(path: Path) -> FileId | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _link_identity(path: Path) -> FileId | None:
    try:
        about = path.lstat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
