# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Class names, numbered as the model numbers them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from pathlib import Path

from instance_seg_ros.errors import ModelError
from instance_seg_ros.paths import given_path
from instance_seg_ros.text_files import read_text, shown

GAP = '-'
_LARGEST = 1_000_000  # bytes of a label file
_LONGEST = 200  # characters of a name

# The text form of StringIntLabelMap: item { id: 1 name: 'cup' }, with strings in either quotes.
_STRING = r"""(?:'[^'\n]*'|"[^"\n]*")"""
_COMMENT = re.compile(r'^\s*#.*$', re.M)
_LABEL_MAP = re.compile(r'(?:\s*#.*\n)*\s*item\s*:?\s*\{')
_ITEM = re.compile(rf'item\s*:?\s*\{{((?:[^\'"{{}}]|{_STRING})*)\}}')
_FIELD = re.compile(rf'(\w+)\s*:\s*({_STRING}|[^\s,;\'"]+)')


def read_class_names(path: str | Path, num_classes: int) -> dict[int, str]:
    """Read a label file: one name a line, line k (from 0) is class id k.

    An empty line within the file, or one that says ``-``, is a number without a class: COCO has 80
    classes numbered up to 90, and a list of 80 names would call most things by the wrong name.

    A label map of the TF Object Detection API (label_map.pbtxt) is read as well: its ids begin at
    1, so its id k is class id k - 1.

    Args:
        path: the file.
        num_classes: how many numbers the model has.

    Returns:
        Class id to name, gaps left out.

    Raises:
        ModelError: the file is missing, unreadable, has another number of lines or no name at all.
    """
    path = given_path(path)
    text = read_text(path, 'labels', 'Expected one class name a line', _LARGEST)
    if _LABEL_MAP.match(text):
        return _read_label_map(path, text, num_classes)
    lines = text.removesuffix('\n').split('\n')
    if len(lines) != num_classes:
        hint = (
            ' For COCO, keep a line for each of the 90 ids, "-" for those without a class.'
            if num_classes == 90 and len(lines) == 80
            else ''
        )
        raise ModelError(
            f'labels {path}: has {len(lines) if text else 0} lines, the model has {num_classes} '
            f'class ids. Expected one line for each.{hint}'
        )
    names = {i: line.strip() for i, line in enumerate(lines) if line.strip() not in ('', GAP)}
    return _checked(path, names)


def _read_label_map(path: Path, text: str, num_classes: int) -> dict[int, str]:
    names: dict[int, str] = {}
    rest = _ITEM.sub('', _COMMENT.sub('', text)).strip()
    if rest:
        raise ModelError(
            f'labels {path}: is a label map with a part that is none: {shown(rest)}. Expected '
            "entries such as item { id: 1 name: 'cup' }"
        )
    for item in _ITEM.findall(_COMMENT.sub('', text)):
        fields: dict[str, str] = dict(_FIELD.findall(item))
        number, name = fields.get('id', ''), fields.get('display_name', fields.get('name', ''))
        if not number.isdecimal() or len(number) > 9 or not 1 <= int(number) <= num_classes:
            raise ModelError(
                f'labels {path}: is a label map with the id {shown(number)}; the model has the ids '
                f'1 to {num_classes}'
            )
        if int(number) - 1 in names:
            raise ModelError(f'labels {path}: is a label map that has the id {number} twice')
        names[int(number) - 1] = name[1:-1].strip()
    return _checked(path, names)


def _checked(path: Path, names: dict[int, str]) -> dict[int, str]:
    """Return the names; raises ModelError if there is none, or if one is no valid name."""
    if not names:
        raise ModelError(f'labels {path}: names no class. Expected one class name a line')
    for class_id, name in names.items():
        if not name.isprintable() or not 0 < len(name) <= _LONGEST:
            raise ModelError(
                f'labels {path}: class id {class_id} is called {shown(name)}, expected 1 to '
                f'{_LONGEST} printable characters'
            )
    return names


def class_ids_of(names: Iterable[str], class_names: dict[int, str]) -> frozenset[int]:
    """Return the class ids of some names.

    Raises:
        ValueError: the model does not know a name; the message lists close ones.
    """
    return _ids('classes', names, class_names)


def thresholds_of(texts: Iterable[str], class_names: dict[int, str]) -> dict[int, float]:
    """Read the setting class_thresholds, such as ``['person:0.6', 'cup:0.3']``.

    Returns:
        Class id to threshold.

    Raises:
        ValueError: not a name, a colon and a number from 0 to 1, or an unknown name.
    """
    thresholds: dict[int, float] = {}
    for text in texts:
        name, _, number = text.rpartition(':')
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if not name or not 0 <= threshold <= 1:
            raise ValueError(
                f'class_thresholds has {text!r}: expected a class name, a colon and a number from '
                '0 to 1, such as person:0.6'
            )
        for class_id in _ids('class_thresholds', [name.strip()], class_names):
            thresholds[class_id] = threshold
    return thresholds


def _ids(setting: str, names: Iterable[str], class_names: dict[int, str]) -> frozenset[int]:
    known, wanted = sorted(set(class_names.values())), set(names)
    for name in sorted(wanted.difference(known)):
        close = difflib.get_close_matches(name, known, 3)
        more = ' ...' if len(known) > 10 else ''
        hint = (
            f'did you mean {" or ".join(close)}?'
            if close
            else f'it knows {", ".join(known[:10])}{more}'
        )
        raise ValueError(f'{setting}: the model has no class {name!r}; {hint}')
    return frozenset(class_id for class_id, name in class_names.items() if name in wanted)
