# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One pack of several: of data that was packed at different times or on different machines.

    python -m training.everyday merge PACKED MORE --output ALL

Classes are matched by their names. A class that a pack does not have is not known in its photos:
what looks like one there is no negative. Photos are copied as they are, not encoded again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.everyday.pack import NAMES, add_output, class_ids, write_pack
from training.everyday.packed_data import files_of_pack, read_names
from training.everyday.packed_labels import LabelTable
from training.everyday.packed_photos import photo_files, read_part


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of merging."""
    parser.add_argument('packs', type=Path, nargs='+', metavar='PACK', help='folders of packs')
    add_output(parser)


def run(options: argparse.Namespace) -> None:
    """Merge packs."""
    if options.output.resolve() in {path.resolve() for path in options.packs}:
        raise ValueError(f'--output {options.output}: is one of the packs. Give another folder')
    tables, names = [], []
    for folder in options.packs:
        labels, _ = files_of_pack(folder)
        tables.append(LabelTable.load(labels))
        names.append(read_names(folder / NAMES))
    classes = list(dict.fromkeys(name for of_pack in names for name in of_pack.values()))
    ids = {name: number for of_pack in reversed(names) for number, name in of_pack.items()}
    if len(set(ids.values())) == len(ids):
        classes.sort(key=ids.__getitem__)
    table = joined(tables, [list(of_pack.values()) for of_pack in names], classes)
    photos = (
        photo
        for folder in options.packs
        for path in photo_files(folder)
        for photo in read_part(path)
    )
    numbered = class_ids(classes, ids)
    files = write_pack(photos, table, numbered, options.output, options.part_megabytes)
    print(f'{len(table.image_ids)} photos are in {options.output}, {len(files)} file(s)')


def joined(
    tables: Sequence[LabelTable], names: Sequence[Sequence[str]], classes: Sequence[str]
) -> LabelTable:
    """Return the labels of several packs as one table.

    Args:
        tables: of the packs.
        names: of the classes of each, in its order.
        classes: of the result.

    """
    columns = [np.array([classes.index(name) for name in of_pack]) for of_pack in names]
    starts = np.cumsum([0, *(len(table.image_ids) for table in tables[:-1])])
    complete = []
    for table, places in zip(tables, columns, strict=True):
        known = np.zeros((len(table.image_ids), len(classes)), bool)
        known[:, places] = table.complete
        complete.append(known)

    def together(name: str) -> np.ndarray:
        return np.concatenate([getattr(table, name) for table in tables])

    parts = list(zip(tables, columns, starts, strict=True))
    return LabelTable(
        image_ids=together('image_ids'),
        complete=np.concatenate(complete),
        share=together('share'),
        photo=np.concatenate([t.photo + start for t, _, start in parts]).astype(np.int32),
        category=np.concatenate([c[t.category] for t, c, _ in parts]).astype(np.int16),
        box=together('box'),
        crowd=together('crowd'),
        has_mask=together('has_mask'),
        mask=together('mask'),
    )
