# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO annotation files: their three lists, ids and categories, before any photo is looked at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from instance_seg_ros.evaluation.notes import DatasetError, Notes

_LISTS = ('images', 'annotations', 'categories')
_EXPORT = 'Export the annotations as "COCO"'
# Other files that annotation tools write, by a key that they have.
_OTHERS = {
    'shapes': 'the file of labelme for one photo. Put all of them into one COCO file with '
    "labelme's own script examples/instance_segmentation/labelme2coco.py",
    '_via_img_metadata': 'a project of the VGG Image Annotator. Export it as "COCO"',
    'bbox': 'COCO results. Give the file with the annotations',
    'data': 'the JSON of Label Studio. Export it as "COCO"',
}


def read_coco_file(path: Path) -> dict[str, list[Any]]:
    """Read the lists ``images``, ``annotations`` and ``categories``.

    Raises:
        DatasetError: it is no such file; the message says what it is and what to do.

    """
    try:
        content = json.loads(path.read_bytes().decode('utf-8-sig'))
    except FileNotFoundError:
        raise DatasetError(f'{path}: no such file. {_EXPORT}') from None
    except IsADirectoryError:
        raise DatasetError(f'{path}: is a folder, expected a file. {_EXPORT}') from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f'{path}: cannot be read as JSON ({error}). {_EXPORT}') from None
    lists = content if isinstance(content, dict) else {}
    wrong = [key for key in _LISTS if not isinstance(lists.get(key), list)]
    if wrong:
        raise DatasetError(
            f'{path}: is no COCO annotation file, it lacks {", ".join(wrong)}. '
            f'{_what_it_is(content)}'
        )
    return {key: content[key] for key in _LISTS}


def _what_it_is(content: Any) -> str:
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict):
        for key, what in _OTHERS.items():
            if key in first:
                return f'It seems to be {what}'
    return _EXPORT


def id_of(value: Any) -> Hashable:
    """Return an id such that 7, 7.0 and "7" are the same; None where there is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    if isinstance(value, str):
        text = value.strip()
        # "007" stays text: it can stand beside "7" as another id.
        if text.isascii() and text.isdecimal() and (text == '0' or text[0] != '0'):
            return int(text)
        return text or None
    return value if isinstance(value, int) else None


class Categories:
    """The categories of a file: id to name.

    Entries that only group others, as Roboflow writes one, are no categories.

    Attributes:
        names: each name once, in the order of the file.

    """

    def __init__(
        self, entries: list[Any], annotations: list[Any], notes: Notes | None = None
    ) -> None:
        notes = notes or Notes()
        used = {id_of(a.get('category_id')) for a in annotations if isinstance(a, dict)}
        groups = Counter(str(e.get('supercategory')) for e in entries if isinstance(e, dict))
        self._names: dict[Hashable, str] = {}
        for entry in entries:
            about = entry if isinstance(entry, dict) else {}
            key, name = id_of(about.get('id')), about.get('name')
            if key is None or not isinstance(name, str) or not name.strip():
                notes.left_out('categories without an id or a name', about.get('supercategory', ''))
                continue
            name = name.strip()
            own = str(about.get('supercategory')) == name
            if key not in used and groups[name] - own > 0:
                notes.used('categories without objects that only group others', name)
            elif self._names.setdefault(key, name) != name:
                notes.left_out('categories whose id is that of another', name)
        self.names = list(dict.fromkeys(self._names.values()))

    def name_of(self, category_id: Any) -> str | None:
        """Return the name for an id of an annotation; None where there is none."""
        return self._names.get(id_of(category_id))
