# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The names of what is written for an image: unique where the names of the images are."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from instance_seg_ros.cli.sources import ImageFile
from instance_seg_ros.images import SUFFIXES

_LONGEST = 255  # bytes of a name, on every usual file system
_LONGEST_CLASS = 100
_LABELS, _CUTOUTS = '.labels.png', '.cutouts'
CUTOUT_NAME = re.compile(r'\d+_.+\.png')


def annotated_target(folder: Path, image: ImageFile) -> Path:
    """Return where the annotated image goes: under its own name where that is of a known format."""
    known = os.path.splitext(image.name)[1].lower() in SUFFIXES
    return folder / image.folder / _name(image.name, '' if known else '.png')


def label_map_target(folder: Path, image: ImageFile) -> Path:
    """Return where the label map goes, such as ``photo.jpg.labels.png``."""
    return folder / image.folder / _name(image.name, _LABELS)


def cutouts_target(folder: Path, image: ImageFile) -> Path:
    """Return the folder where the cut-outs go, such as ``photo.jpg.cutouts``."""
    return folder / image.folder / _name(image.name, _CUTOUTS)


def cutout_name(number: int, class_name: str) -> str:
    """Return the name of a cut-out, such as ``1_person.png``.

    Args:
        number: of the instance in its image, from 1.
        class_name: what a file name cannot have becomes ``_``.

    """
    shown = ''.join(
        '_' if unicodedata.category(each).startswith('C') or each in '/\\:*?"<>|' else each
        for each in class_name
    )
    return f'{number}_{_cut(shown, _LONGEST_CLASS) or "_"}.png'


def _name(name: str, ending: str) -> str:
    """Append an ending; a name that is too long for it is cut, and its digest keeps it unique."""
    if len(os.fsencode(name + ending)) <= _LONGEST:
        return name + ending
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    ending = f'~{digest}{ending}'
    return _cut(name, _LONGEST - len(ending)) + ending


def _cut(text: str, length: int) -> str:
    """Return the first characters that take at most ``length`` bytes in a file name."""
    while len(os.fsencode(text)) > length:
        text = text[:-1]
    return text
