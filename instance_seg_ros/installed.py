# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files that are installed beside the code, and the version that one of them states."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

# For messages: the pages themselves are not installed.
DOCS = 'https://github.com/instance-seg-ros/instance_seg_ros/blob/main/docs'

_PACKAGE = Path(__file__).resolve().parent


def share_folders() -> Iterator[Path]:
    """Yield the folders that can hold shared files, best first.

    ``share/instance_seg_ros`` of the prefix that this package is installed in (a ROS workspace, a
    virtual environment, a folder of ``pip install --target``), then the source checkout.
    """
    for parent in _PACKAGE.parents:
        shared = parent / 'share' / _PACKAGE.name
        if shared.is_dir():
            yield shared
    if (_PACKAGE.parent / 'package.xml').is_file():
        yield _PACKAGE.parent


def user_models_folder() -> Path | None:
    """Return the folder for the models of this user, whether it is there or not.

    ``instance_seg_ros/models`` in ``$XDG_DATA_HOME`` or ``~/.local/share``; None for a user
    without a home.
    """
    folder = _user_folder('XDG_DATA_HOME', '.local/share')
    return None if folder is None else folder / 'models'


def user_cache_folder() -> Path | None:
    """Return the folder of this user for what can be made again, whether it is there or not.

    ``instance_seg_ros`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; None for a user without a home.
    """
    return _user_folder('XDG_CACHE_HOME', '.cache')


def find_shared(name: str) -> Path:
    """Return the path of a shared file or folder, such as ``demo/photos``.

    Raises:
        FileNotFoundError: the installation lacks it.

    """
    tried = list(share_folders())
    for folder in tried:
        if (folder / name).exists():
            return folder / name
    places = ', '.join(map(str, tried)) or f'the folders share/{_PACKAGE.name} above {_PACKAGE}'
    raise FileNotFoundError(f'{name} is not in {places}. Install {_PACKAGE.name} again')


def version() -> str:
    """Return the version that package.xml states, or 0.0.0 where package.xml is not installed."""
    try:
        text = find_shared('package.xml').read_text('utf-8')
    except FileNotFoundError:
        return '0.0.0'
    found = re.search(r'<version>(.+?)</version>', text)
    return found.group(1) if found else '0.0.0'


def _user_folder(variable: str, place: str) -> Path | None:
    given = os.environ.get(variable, '')
    try:
        # Relative ones do not count: so the XDG specification has it.
        base = Path(given) if os.path.isabs(given) else Path.home() / place
    except RuntimeError:
        return None
    return base / _PACKAGE.name
