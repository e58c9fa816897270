# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Published models into the user's data folder: whole and checked, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from instance_seg_ros.archives import extract_member
from instance_seg_ros.downloads import DEFAULT_TIMEOUT, fetch, is_url, part_of
from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import user_models_folder
from instance_seg_ros.known_models import Digest, KnownFile, KnownModel
from instance_seg_ros.paths import given_path

# Called with the name of a file, the bytes that are there, and those that there will be, if known.
FileProgress = Callable[[str, int, 'int | None'], None]


@dataclass(frozen=True)
class _Local:
    """A file that the user has: the one to install, or the archive that has it."""

    path: Path
    packed: bool


def silent(name: str, done: int, total: int | None) -> None:
    """Show no progress."""


def data_folder() -> Path:
    """Return the user's data folder for models; it may not be there yet.

    Raises:
        ModelError: the user has no home.
    """
    folder = user_models_folder()
    if folder is None:
        raise ModelError(
            'this user has no home folder for models: name a folder in the environment variable '
            'XDG_DATA_HOME'
        )
    return folder


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder, and let errors of writing name it and say what to do.

    Raises:
        ModelError: the folder cannot be made, or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ModelError(
            f'{error.filename or folder}: {error.strerror or error}. Models go into {folder}; '
            'another folder is used if the environment variable XDG_DATA_HOME names one'
        ) from None


def install_known(
    model: KnownModel,
    sources: Sequence[str] = (),
    *,
    progress: FileProgress = silent,
    timeout: float = DEFAULT_TIMEOUT,
) -> list[Path]:
    """Put the files of a published model into the data folder.

    All are fetched and checked under hidden names before the first one gets its own.

    Args:
        model: what to install.
        sources: in place of the published addresses: base addresses or full addresses of mirrors,
            folders, files (also archives). What none of them has is an error.
        progress: called while files are fetched.
        timeout: seconds without a byte after which a transfer counts as broken.

    Returns:
        The files that were installed; those that were there, whole, are left alone.

    Raises:
        ModelError: a file cannot be fetched, is not the published one, or cannot be written.
    """
    folder = data_folder()
    needed = [file for file in model.files if not file.digest.fits(folder / file.name)]
    found = [(file, _locate(file, sources)) for file in needed]  # all, before any work
    with writing(folder):
        staged = [
            (_stage(file, place, folder, progress, timeout), folder / file.name)
            for file, place in found
        ]
        for part, target in staged:
            _put(part, target)
        for file in needed:
            part_of(folder / file.download.name).unlink(missing_ok=True)
    return [target for _, target in staged]


def steps_by_hand(model: KnownModel) -> str:
    """Return how to install a published model on a machine that reaches no network."""
    lines = ['Without a network: fetch these on another machine,']
    for file in model.files:
        lines.append(f'  {file.download.urls[0]}')
        lines.append(f'    ({file.download.digest})')
    names = ' '.join(file.download.name for file in model.files)
    lines += ['copy them to this one, and run there, in their folder:']
    lines += [f'  instance-seg models add {names}']
    return '\n'.join(lines)


def copy_checked(source: Path, target: Path, digest: Digest, largest: int) -> None:
    """Copy a file to a part and see that the copy has a digest.

    Raises:
        ModelError: it is too large, or another file.
        OSError: it cannot be read or written.
    """
    if (size := source.stat().st_size) > largest:
        raise ModelError(f'{source}: has {size} bytes, expected at most {largest}')
    target.unlink(missing_ok=True)  # were it a link, its target would be written to
    shutil.copyfile(source, target)
    _check(target, digest, source)


def _check(part: Path, digest: Digest, source: Path) -> None:
    if (actual := digest.of(part)) != digest.value:
        part.unlink()
        raise ModelError(
            f'{source}: is damaged or another file: expected {digest}, got {actual}. It is not '
            'installed'
        )


def _put(part: Path, target: Path) -> None:
    """Give a whole file its name, so that a loss of power leaves it or nothing."""
    with part.open('rb') as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def _stage(
    file: KnownFile,
    place: _Local | tuple[str, ...],
    folder: Path,
    progress: FileProgress,
    timeout: float,
) -> Path:
    """Return a part that is the whole file."""
    part = part_of(folder / file.name)
    if isinstance(place, _Local):
        if place.packed:
            _unpack(place.path, file, part)
        else:
            copy_checked(place.path, part, file.digest, file.largest)
        return part
    name = file.download.name
    fetched = fetch(
        file.download,
        folder,
        place,
        progress=lambda done, total: progress(name, done, total),
        timeout=timeout,
    )
    if not file.member:
        return fetched
    _unpack(fetched, file, part)
    return part


def _unpack(archive: Path, file: KnownFile, part: Path) -> None:
    extract_member(archive, file.member, part, file.largest)
    _check(part, file.digest, archive)


def _locate(file: KnownFile, sources: Sequence[str]) -> _Local | tuple[str, ...]:
    """Return where a file comes from: a path, or addresses to try.

    Raises:
        ModelError: no source has it.
    """
    if not sources:
        return file.download.urls
    urls = []
    for source in sources:
        if is_url(source):
            urls += _addresses(file, source)
        elif (local := _local(file, given_path(source))) is not None:
            return local
    if urls:
        return tuple(urls)
    raise ModelError(
        f'{", ".join(sources)}: no {file.download.name} ({file.download.digest}) there, and it is '
        'needed as well. Give all files of the model together, or a folder that has them'
    )


def _addresses(file: KnownFile, source: str) -> list[str]:
    """Return the address of a file on a mirror: a base address, or that of one of the files."""
    last = urlsplit(source).path.rsplit('/', 1)[-1]
    if last == file.download.name:
        return [source]
    if last.endswith(('.gz', '.pbtxt', '.pb')):  # another file's
        return []
    return [f'{source.rstrip("/")}/{file.download.name}']


def _local(file: KnownFile, source: Path) -> _Local | None:
    """Return the file, or the archive with it, that a path leads to; None where it is another.

    Raises:
        ModelError: there is no such path, or a file of the right name has the wrong content.
    """
    if source.is_dir():
        names = {file.download.name, file.name, Path(file.member).name} - {''}
        candidates = [source / name for name in sorted(names) if (source / name).is_file()]
    elif source.is_file():
        candidates = [source]
    else:
        raise ModelError(f'{source}: no such file or folder')
    for path in candidates:
        if file.digest.fits(path):
            return _Local(path, packed=False)
        if file.member and file.download.digest.fits(path):
            return _Local(path, packed=True)
    named_so = [path for path in candidates if path.name in (file.download.name, file.name)]
    if named_so:
        digest = file.digest if named_so[0].name == file.name else file.download.digest
        raise ModelError(
            f'{named_so[0]}: is damaged or another file: expected {digest}, got '
            f'{digest.of(named_so[0])}. It is not installed'
        )
    return None
