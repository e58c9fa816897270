# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What to say of a model whose files are not all there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from instance_seg_ros.installed import DOCS
from instance_seg_ros.known_models import find_known
from instance_seg_ros.model_folders import folders_of_the_user
from instance_seg_ros.text_files import is_file


def is_half(files: Mapping[str, Path]) -> bool:
    """Whether some files of a model are missing, and some beside the labels are there.

    Args:
        files: by their roles, as :class:`~instance_seg_ros.models.ModelManifest` has them.
    """
    there = {role for role, path in files.items() if is_file(path)}
    return there != set(files) and bool(there - {'labels'})


def missing_words(files: Mapping[str, Path]) -> str:
    """Return a clause that names the files that are missing; there must be one."""
    missing = [
        f'{role.replace("_", " ")} {path}' for role, path in files.items() if not is_file(path)
    ]
    return f'{", ".join(missing)} {"is" if len(missing) == 1 else "are"} missing'


def half_installed(name: str, files: Mapping[str, Path]) -> str:
    """Return what is wrong with a model that was begun to be installed, and the remedy.

    Args:
        name: of the model.
        files: by their roles; some are missing.

    Returns:
        A sentence; '' for a model of which nothing is there but what was shipped.
    """
    misnamed = _misnamed_file(name, files)
    if is_half(files):
        problem = _half_words(files)
    elif misnamed is not None:
        problem = f'{missing_words(files)}, but {misnamed} is there'
    else:
        return ''
    return f'model {name!r} is only half installed: {problem}. {remedy(name, files)}'


def _half_words(files: Mapping[str, Path]) -> str:
    """Return a clause that names what is missing, and the folder that the rest is in."""
    there = next(path for role, path in files.items() if role != 'labels' and is_file(path))
    missing = [path.name for path in files.values() if not is_file(path)]
    return (
        f'{", ".join(missing)} {"is" if len(missing) == 1 else "are"} missing in {there.parent}, '
        f'where {there.name} is'
    )


def remedy(name: str, files: Mapping[str, Path]) -> str:
    """Return a sentence about where to get the files of a model, or how to rename them."""
    known = find_known(name)
    if known is None:
        return f'See {DOCS}/models.md for where to get the files'
    download = (
        f'`instance-seg models download {known.alias}` installs what is missing; '
        f'{DOCS}/models.md has the addresses'
    )
    misnamed = _misnamed_file(name, files)
    if misnamed is None:
        return download
    return (
        f'{misnamed} looks like one of them under another name: `instance-seg models add '
        f'{misnamed}` checks it and puts it in its place. {download}'
    )


def _misnamed_file(name: str, files: Mapping[str, Path]) -> Path | None:
    """Return what looks like a file of a published model under a name that is not looked for."""
    known = find_known(name)
    if known is None:
        return None
    own = {path.name for path in files.values()}
    for folder in folders_of_the_user():
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                if path.name not in own and known.is_misnamed(path.name):
                    return path
    return None
