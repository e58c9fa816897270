# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where ``instance-seg labels`` gets images and what was found in them."""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instance_seg_ros.bags import HOW_TO_INSTALL
from instance_seg_ros.cli.console import CommandError, Console
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.sources import find_images
from instance_seg_ros.errors import ImageError
from instance_seg_ros.evaluation.coco_file import id_of
from instance_seg_ros.evaluation.shapes import MALFORMED, number_of, read_mask
from instance_seg_ros.images import check_image, read_image
from instance_seg_ros.labelling.labels import Label, LabelledImage
from instance_seg_ros.settings import MIN_IMAGE_SIDE
from instance_seg_ros.text_files import shown

_WANTED = 'expected what "instance-seg image --json" writes'


def from_results(
    path: Path, options: argparse.Namespace, console: Console, outputs: Outputs
) -> Iterator[LabelledImage | None]:
    """Yield the images of a file of COCO results, also those without; None for each unreadable one.

    Raises:
        CommandError: the file is none, or does not fit the images.

    """
    if not options.images:
        raise CommandError(f'{path}: give its images, too: --images FOLDER')
    results = _results_by_file(path)
    found = find_images(options.images, recursive=options.recursive, output=options.annotated)
    for warning in found.warnings():
        console.warn(warning)
    outputs.add_sources(Path(each.path) for each in found.files)
    files = {Path(each.shown).as_posix(): each.path for each in found.files}
    if unknown := sorted(results.keys() - files.keys()):
        raise CommandError(
            f'{path}: has instances of {unknown[0]}, which is not among --images. Give there what '
            '"instance-seg image" was given, and --recursive if it was given that'
        )
    _warn_of_copies(files, console)
    for name, source in console.bar(list(files.items()), 'image'):
        try:
            size = _size_as_segmented(source)
        except ImageError as error:
            console.warn(f'skipped {error}')
            yield None
            continue
        yield LabelledImage(name, size, _labels(path, name, results.get(name, []), size))


def _warn_of_copies(files: Mapping[str, str], console: Console) -> None:
    """Warn of a folder whose images all have the names of images outside, as annotated ones do.

    Args:
        files: path of each image by its name in the results.
        console: for the warning.

    """
    outside: dict[Path, bool] = {}
    for name, source in files.items():
        parts = name.split('/')
        folders = Path(source).absolute().parents
        for count in range(1, len(parts)):
            folder, rest = folders[count - 1], '/'.join(parts[-count:])
            outside[folder] = outside.get(folder, True) and rest in files
    copies = sorted(folder for folder, are in outside.items() if are)
    if copies:
        place = os.path.relpath(copies[0])
        console.warn(
            f'all images in {place} have the names of images outside of it. If '
            f'"instance-seg image" wrote them, leave them out by --annotated {place}'
        )


def _size_as_segmented(path: str) -> tuple[int, int]:
    """Return the height and width of an image.

    Raises:
        ImageError: it cannot be read, or is too small to be segmented.

    """
    image = read_image(path)
    try:
        check_image(image, min_side=MIN_IMAGE_SIDE)
    except ImageError as error:
        raise ImageError(f'{path}: {error}') from None
    return image.shape[0], image.shape[1]


@dataclass(frozen=True)
class _Result:
    """One result of the file.

    Attributes:
        number: its place in the file, from 0.
        category_id, category_name, score: checked.
        segmentation: as it is in the file.
    """

    number: int
    category_id: int
    category_name: str
    score: float
    segmentation: Any


def _results_by_file(path: Path) -> dict[str, list[_Result]]:
    try:
        rows = json.loads(path.read_bytes().decode('utf-8-sig'))
    except (ValueError, RecursionError) as error:
        raise CommandError(f'{path}: is no JSON ({error}): {_WANTED}') from None
    if not isinstance(rows, list):
        raise CommandError(f'{path}: is no list of results: {_WANTED}')
    by_file: dict[str, list[_Result]] = defaultdict(list)
    for number, row in enumerate(rows):
        try:
            name, result = _checked(number, row)
        except ValueError as error:
            raise CommandError(f'{path}: result {number} {error}: {_WANTED}') from None
        by_file[name].append(result)
    return by_file


def _checked(number: int, row: Any) -> tuple[str, _Result]:
    """Return the name of the file of a result, and the result.

    Raises:
        ValueError: it is none; the message is the second half of a sentence.

    """
    for key in ('file_name', 'category_id', 'category_name', 'score', 'segmentation'):
        if not isinstance(row, dict) or key not in row:
            raise ValueError(f'has no {key}')
    for key in ('file_name', 'category_name'):
        if not isinstance(row[key], str) or not row[key]:
            raise ValueError(f'has the {key} {shown(row[key])}, which is no text')
    category_id = id_of(row['category_id'])
    if not isinstance(category_id, int):
        raise ValueError(
            f'has the category_id {shown(row["category_id"])}, which is no whole number'
        )
    try:
        score = number_of(row['score'])
    except MALFORMED:
        raise ValueError(f'has the score {shown(row["score"])}, which is no number') from None
    result = _Result(number, category_id, row['category_name'], score, row['segmentation'])
    return row['file_name'], result


def _labels(path: Path, name: str, results: list[_Result], size: tuple[int, int]) -> list[Label]:
    from pycocotools import mask as coco_mask

    labels = []
    for each in results:
        if (was := _size_of(each.segmentation)) not in (None, size):
            raise CommandError(
                f'{path}: result {each.number}: {name} was {was[1]}x{was[0]} pixels, and is '
                f'{size[1]}x{size[0]} now'
            )
        try:
            mask = coco_mask.decode(read_mask(each.segmentation, size))
        except MALFORMED as error:
            reason = str(error) if isinstance(error, ValueError) else shown(each.segmentation)
            raise CommandError(
                f'{path}: result {each.number}: its segmentation is no mask ({reason}): expected '
                f'polygons, or run lengths over {size[1]}x{size[0]} pixels'
            ) from None
        if mask.any():
            labels.append(Label(each.category_id, each.category_name, each.score, mask))
    return labels


def _size_of(segmentation: Any) -> tuple[int, int] | None:
    """Return (height, width) that run lengths say they are of; None where they say no size."""
    size = segmentation.get('size') if isinstance(segmentation, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None


def from_bag(
    path: Path, options: argparse.Namespace, console: Console, outputs: Outputs
) -> Iterator[LabelledImage | None]:
    """Write the images of a bag that have masks as files, and yield each; None as from_results.

    Raises:
        CommandError: rosbags is missing, or the bag cannot be used.

    """
    try:
        from instance_seg_ros.bags.errors import BagError
        from instance_seg_ros.bags.labels import LabelledFrames
        from instance_seg_ros.bags.messages import make_typestore
        from instance_seg_ros.bags.reader import BagReader
    except ImportError as error:
        raise CommandError(f'bags need two more packages ({error}): {HOW_TO_INSTALL}') from None
    folder = options.output / 'images'
    try:
        with BagReader(path, make_typestore()) as reader:
            frames = LabelledFrames(reader, options.topic, options.masks_topic)
            for name in frames.file_names:
                outputs.plan(folder / name, f'an image of {path}')
            if frames.left_out:
                console.warn(f'{path}: {frames.left_out}')
            bar = console.bar(frames, 'image', len(frames.file_names))
            for frame in bar:
                if frame.problem is not None:
                    console.warn(f'skipped {frame.problem}')
                    yield None
                    continue
                outputs.write(folder / frame.image.file_name, frame.jpeg)
                yield frame.image
            if frames.without_image:
                console.warn(f'{frames.without_image} messages of masks have no image in {path}')
    except BagError as error:
        raise CommandError(str(error)) from None
