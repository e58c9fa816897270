# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The folders that models are looked for in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from instance_seg_ros.installed import share_folders, user_models_folder
from instance_seg_ros.paths import given_path

SEARCH_PATH_VARIABLE = 'INSTANCE_SEG_ROS_MODELS'


def model_folders() -> Iterator[Path]:
    """Yield the folders that are searched, best first.

    Those in the environment variable INSTANCE_SEG_ROS_MODELS; the user's data folder, which
    ``instance-seg models`` fills; ``share/instance_seg_ros/models`` or ``models`` of the prefix
    that this package is installed in: a ROS workspace, a virtual environment or a source checkout
    alike.
    """
    yield from folders_of_the_user()
    yield from package_folders()


def folders_of_the_user() -> list[Path]:
    """Return those of :func:`model_folders` that were not installed with this package."""
    entries = os.environ.get(SEARCH_PATH_VARIABLE, '').split(os.pathsep)
    folders = [given_path(entry) for entry in entries if entry]
    own = user_models_folder()
    return folders if own is None else [*folders, own]


def package_folders() -> Iterator[Path]:
    """Yield those of :func:`model_folders` that were installed with this package."""
    for folder in share_folders():
        if (folder / 'models').is_dir():
            yield folder / 'models'


def manifest_files() -> dict[str, Path]:
    """Return the manifests of all :func:`model_folders` by name; that of the best folder counts."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for path in sorted(folder.glob('*.yaml')):
            found.setdefault(path.stem, path)
    return found
