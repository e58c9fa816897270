# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which category of a data set is which class of a model: by name, never by number."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from instance_seg_ros.evaluation.notes import DatasetError

_NAMED = 20
_BETWEEN_WORDS = re.compile(r'[\s_-]+')


@dataclass(frozen=True)
class ClassMatch:
    """Categories and classes that belong together.

    Attributes:
        class_ids: name of a category to the class id of the model.
        names: class id to the model's name, of the classes that are counted.
        unknown: categories that the model does not know.
        unlabelled: names of classes that the data set has no category for.
    """

    class_ids: dict[str, int]
    names: dict[int, str]
    unknown: list[str]
    unlabelled: list[str]

    def hints(self) -> list[str]:
        """Return lines for what has no counterpart."""
        lines = []
        if self.unknown:
            lines.append(
                f'categories that are no class of the model: {_some(self.unknown)}. --rename '
                'CATEGORY=CLASS tells which class one is'
            )
        if self.unlabelled:
            lines.append(f'classes that the file has no category for: {_some(self.unlabelled)}')
        for name in self.unknown:
            close = difflib.get_close_matches(_plain(name), map(_plain, self.unlabelled), 1)
            if close:
                lines.append(
                    f'is category "{name}" the class {close[0]}? --rename "{name}={close[0]}"'
                )
        return lines


def _some(names: list[str]) -> str:
    return ', '.join(names[:_NAMED]) + (
        f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    )


def match_classes(
    categories: Iterable[str],
    class_names: Mapping[int, str],
    rename: Mapping[str, str] | None = None,
    only: Iterable[str] = (),
) -> ClassMatch:
    """Match names; upper and lower case, spaces, ``_`` and ``-`` make no difference.

    Args:
        categories: of the data set.
        class_names: class id to name, of the model.
        rename: category to the model's name for it, such as ``{'people': 'person'}``.
        only: the model's names of the classes to count; empty: all.

    Raises:
        DatasetError: a name of ``rename`` or ``only`` is unknown, or nothing matches.

    """
    categories = list(categories)
    ids = {_plain(name): class_id for class_id, name in sorted(class_names.items(), reverse=True)}
    renamed = _renamed(rename or {}, categories, ids)
    wanted = _wanted(only, ids)
    found, unknown = {}, []
    for name in categories:
        class_id = ids.get(renamed.get(_plain(name), _plain(name)))
        if class_id is None:
            unknown.append(name)
        elif class_id in wanted:
            found[name] = class_id
    if not found:
        raise DatasetError(
            f'no category is a class of the model. The file has {", ".join(categories) or "none"}; '
            f'the model knows {", ".join(class_names.values())}. --rename CATEGORY=CLASS tells '
            'which is which'
        )
    matched = set(found.values())
    return ClassMatch(
        found,
        {class_id: name for class_id, name in class_names.items() if class_id in matched},
        [] if only else unknown,
        [class_names[class_id] for class_id in sorted(wanted - matched)],
    )


def _renamed(
    rename: Mapping[str, str], categories: list[str], ids: Mapping[str, int]
) -> dict[str, str]:
    known = {_plain(name) for name in categories}
    renamed = {_plain(old): _plain(new) for old, new in rename.items()}
    for old, new in renamed.items():
        if old not in known:
            raise DatasetError(
                f'--rename {old}={new}: the file has no category "{old}". It has: '
                f'{", ".join(categories)}'
            )
        _check_class(new, ids, '--rename')
    return renamed


def _wanted(only: Iterable[str], ids: Mapping[str, int]) -> set[int]:
    names = [_plain(name) for name in only]
    for name in names:
        _check_class(name, ids, '--classes')
    return {ids[name] for name in names} or set(ids.values())


def _check_class(name: str, ids: Mapping[str, int], option: str) -> None:
    if name not in ids:
        close = difflib.get_close_matches(name, ids, 3)
        hint = f'Did you mean {" or ".join(close)}?' if close else f'It knows {", ".join(ids)}'
        raise DatasetError(f'{option}: the model has no class "{name}". {hint}')


def _plain(name: str) -> str:
    return _BETWEEN_WORDS.sub(' ', name).strip().casefold()
