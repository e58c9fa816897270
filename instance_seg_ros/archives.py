# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One file out of an archive, whatever else the archive has."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from instance_seg_ros.errors import ModelError

_CHUNK = 1 << 20
_MOST_MEMBERS = 1000


def extract_member(archive: Path, member: str, target: Path, largest: int) -> None:
    """Write one regular file of a tar.gz to a path; names in the archive are never used as paths.

    Args:
        archive: to read.
        member: name of the file, exactly as the archive has it.
        target: the file to write.
        largest: bytes that any file of the archive up to this one may have.

    Raises:
        ModelError: the archive is damaged, or has no such regular file of such a size.
        OSError: the target cannot be written.
    """
    try:
        with tarfile.open(archive, 'r|gz') as files:  # in one pass: nothing is read twice
            for count, about in enumerate(files):
                if count >= _MOST_MEMBERS or about.size > largest:
                    raise ModelError(
                        f'{archive}: has more than {_MOST_MEMBERS} files, or one of more than '
                        f'{largest} bytes, before {member}'
                    )
                if about.name == member and about.isreg():
                    _copy(files, about, target)
                    return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ModelError(f'{archive}: is no complete tar.gz archive ({error})') from None
    raise ModelError(f'{archive}: has no regular file {member}')


def _copy(files: tarfile.TarFile, about: tarfile.TarInfo, target: Path) -> None:
    source = files.extractfile(about)
    assert source is not None  # it is a regular file
    target.unlink(missing_ok=True)  # were it a link, its target would be written to
    with target.open('xb') as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
