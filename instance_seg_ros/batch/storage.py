# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where results go: a folder, or an address that fsspec knows. Every file is whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from instance_seg_ros.batch.errors import BatchError, MissingPackageError
from instance_seg_ros.file_locks import lock
from instance_seg_ros.paths import given_path

_PREFIX = '.instance-seg-'
_NEEDED = (
    'Addresses need fsspec, which the extra instance_seg_ros[batch] has, and a package for the '
    'storage, such as s3fs or gcsfs'
)


def is_address(text: str) -> bool:
    """Whether it is an address such as s3://bucket/photos, and no path."""
    return '://' in text


def filesystem_of(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path in it.

    Raises:
        MissingPackageError: fsspec, or what it needs for such addresses, is not installed.
        BatchError: fsspec knows no such addresses.

    """
    try:
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(address)
    except ImportError as error:
        raise MissingPackageError(f'{address}: {error}. {_NEEDED}') from None
    except ValueError as error:
        raise BatchError(f'{address}: {error}. {_NEEDED}') from None
    return filesystem, str(path)


def place_of(name: str) -> str:
    """Return an address as it is, and a path with its links resolved."""
    return name if is_address(name) else os.path.realpath(name)


class Storage:
    """A folder of results; names in it have / between their parts.

    Args:
        place: path or address.

    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._remote = is_address(place)
        if self._remote:
            self._filesystem, self._root = filesystem_of(place)
        else:
            self._root = str(given_path(place).absolute())

    def lock(self) -> None:
        """Keep other runs of this machine out of a folder until this process ends.

        Raises:
            BatchError: one is at work there, or the folder cannot be written to.

        """
        if self._remote:
            return
        path = Path(self._path(f'{_PREFIX}lock'))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = path.open('ab')
        except OSError as error:
            raise BatchError(f'{self.place}: cannot be written to ({error.strerror})') from None
        if lock(self._lock) is False:
            raise BatchError(
                f'{self.place}: another run is at work there; wait for its end, or give another '
                '--output'
            )

    def address(self, name: str) -> str:
        """Return the absolute path or the address of a file."""
        path = self._path(name)
        return str(self._filesystem.unstrip_protocol(path)) if self._remote else path

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where it is missing."""
        try:
            if self._remote:
                return bytes(self._filesystem.cat_file(self._path(name)))
            return Path(self._path(name)).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file: readers see the old one, or all of the new one.

        Raises:
            BatchError: it cannot be written, as on a full disk; the message names it.

        """
        try:
            self._write(self._path(name), content)
        except OSError as error:
            raise BatchError(
                f'{self.place}/{name}: cannot be written ({error.strerror or error}). The same '
                'command goes on once it can'
            ) from None

    def _write(self, path: str, content: bytes) -> None:
        if self._remote:  # an object appears when all of it has been sent
            self._filesystem.makedirs(os.path.dirname(path), exist_ok=True)
            self._filesystem.pipe_file(path, content)
            return
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=folder, prefix=_PREFIX)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            if self._remote:
                self._filesystem.rm_file(self._path(name))
            else:
                os.unlink(self._path(name))
        except FileNotFoundError:
            pass

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, without the folder and unfinished ones."""
        if self._remote:
            path = self._path(folder)
            found = self._filesystem.find(path, maxdepth=1) if self._filesystem.exists(path) else []
            return sorted(each.rpartition('/')[2] for each in found)
        path = self._path(folder)
        if not os.path.isdir(path):
            return []
        return sorted(name for name in os.listdir(path) if not name.startswith(_PREFIX))

    def _path(self, name: str) -> str:
        return f'{self._root}/{name}'
