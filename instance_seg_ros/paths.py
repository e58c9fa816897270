# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def given_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for ``~``, also where no shell has put it there.

    ``~name`` of a user who does not exist stays as it is: there is no such file, and whoever opens
    it says so. (Path.expanduser raises a RuntimeError.)

    Examples:
        >>> given_path('photos/~a.jpg').name, given_path('~nobody-here/a.jpg').name
        ('~a.jpg', 'a.jpg')
    """
    return Path(os.path.expanduser(path))


__all__ = ['given_path']
