# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options that name photos and annotations, and which of them are held out."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs packages that are not where the GPU is
    from training.detector.dataset import Photo

LOG = logging.getLogger(__name__)

HOLD_OUT = '8:5'


def add_data(
    parser: argparse.ArgumentParser, *, required: bool = True, classes: bool = True
) -> None:
    """Add --data, --hold-out and, if wanted, --classes."""
    parser.add_argument(
        '--data',
        nargs=2,
        action='append',
        required=required,
        metavar=('JSON', 'IMAGES'),
        type=Path,
        help='COCO annotation file and its image folder; may be given again',
    )
    if classes:
        parser.add_argument(
            '--classes',
            nargs='+',
            required=required,
            help='category names, in the order of the class ids',
        )
    add_hold_out(parser)


def add_hold_out(parser: argparse.ArgumentParser) -> None:
    """Add --hold-out."""
    parser.add_argument(
        '--hold-out',
        default=HOLD_OUT,
        metavar='N:K',
        help='images whose id %% N is K are for evaluation alone; 0:0 holds out none',
    )


def chosen_photos(options: argparse.Namespace, held: bool) -> list[Photo]:
    """Return the photos of --data with --classes, those that are held out or the others."""
    from training.detector.dataset import category_names, load_photos

    twice = {name for name in options.classes if options.classes.count(name) > 1}
    if twice:
        raise ValueError(f'--classes: has {", ".join(sorted(twice))} twice. Expected each once')
    categories = category_names(options.data[0][0])
    photos = part_of_data(
        options, held, lambda file, folder: load_photos(file, folder, options.classes, categories)
    )
    objects = (each for photo in photos for each in photo.annotations if not each.ignore)
    present = {each.class_index for each in objects}
    for index, name in enumerate(options.classes):
        if index not in present:
            LOG.warning(
                'no photo to %s on has an object of class %s', 'evaluate' if held else 'train', name
            )
    return photos


def part_of_data(
    options: argparse.Namespace, held: bool, load: Callable[[Path, Path], Sequence[Photo]]
) -> list[Photo]:
    """Return the photos that ``load`` finds in --data, those that are held out or the others.

    Raises:
        DatasetError: there are none.
    """
    from training.detector.dataset import DatasetError, hold_out

    photos = [photo for file, folder in options.data for photo in load(file, folder)]
    modulus, remainder = held_out_ids(options)
    if modulus == 0:
        return photos
    chosen = hold_out(photos, modulus, remainder)[held]
    if not chosen:
        raise DatasetError(
            f'--hold-out {options.hold_out} leaves no image to {"evaluate" if held else "train"} on'
        )
    return chosen


def held_out_ids(options: argparse.Namespace) -> tuple[int, int]:
    """Return N and K of --hold-out.

    Raises:
        ValueError: they hold out nothing.
    """
    modulus, remainder = number_pair(options.hold_out, '--hold-out')
    whole = modulus.is_integer() and remainder.is_integer()
    if not whole or not (0 <= remainder < modulus or modulus == remainder == 0):
        raise ValueError(
            f'--hold-out {options.hold_out}: expected whole numbers N:K, K from 0 to N - 1; or 0:0'
        )
    return int(modulus), int(remainder)


def number_pair(text: str, option: str) -> tuple[float, float]:
    """Return the numbers of NUMBER:NUMBER.

    Raises:
        ValueError: it is of another form; the message names the option.
    """
    try:
        first, second = (float(number) for number in text.split(':'))
        if not (math.isfinite(first) and math.isfinite(second)):
            raise ValueError
    except ValueError:
        raise ValueError(f'{option}: "{text}" is not of the form NUMBER:NUMBER') from None
    return first, second
