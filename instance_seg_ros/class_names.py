# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Class names, numbered as the model numbers them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from instance_seg_ros.errors import ModelError

GAP = '-'


def read_class_names(path: Path, num_classes: int) -> dict[int, str]:
    """Read a label file: one name a line, line k (from 0) is class id k.

    An empty line within the file, or one that says ``-``, is a number without a class: COCO has 80
    classes numbered up to 90, and a list of 80 names would call most things by the wrong name.

    Args:
        path: the file.
        num_classes: how many numbers the model has.

    Returns:
        Class id to name, gaps left out.

    Raises:
        ModelError: the file is missing, unreadable, or has another number of lines.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except OSError as error:
        raise ModelError(
            f'labels {path}: {error.strerror}. Expected a text file, one class name a line'
        ) from None
    except UnicodeDecodeError:
        raise ModelError(f'labels {path}: is not a UTF-8 text file') from None
    if len(lines) != num_classes:
        hint = (
            ' For COCO, keep a line for each of the 90 ids, "-" for those without a class.'
            if num_classes == 90 and len(lines) == 80
            else ''
        )
        raise ModelError(
            f'labels {path}: has {len(lines)} lines, the model has {num_classes} class ids. '
            f'Expected one line for each.{hint}'
        )
    return {i: line.strip() for i, line in enumerate(lines) if line.strip() not in ('', GAP)}


def class_ids_of(names: Iterable[str], class_names: dict[int, str]) -> frozenset[int]:
    """Return the class ids of some names.

    Raises:
        ValueError: the model does not know a name; the message lists close ones.
    """
    known, wanted = sorted(set(class_names.values())), set(names)
    for name in sorted(wanted.difference(known)):
        close = difflib.get_close_matches(name, known, 3)
        more = ' ...' if len(known) > 10 else ''
        hint = (
            f'did you mean {" or ".join(close)}?'
            if close
            else f'it knows {", ".join(known[:10])}{more}'
        )
        raise ValueError(f'classes: the model has no class {name!r}; {hint}')
    return frozenset(class_id for class_id, name in class_names.items() if name in wanted)
