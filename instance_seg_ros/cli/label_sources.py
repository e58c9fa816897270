# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where ``instance-seg labels`` gets images and what was found in them."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instance_seg_ros.cli.console import CommandError, Console
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.sources import find_images
from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import read_image
from instance_seg_ros.labelling.labels import Label, LabelledImage

Row = dict[str, Any]
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
    rows = _rows_by_file(path)
    # The results of folders in folders carry the names of these.
    files = find_images(options.images, recursive=any('/' in name for name in rows)).files
    outputs.add_sources(Path(each.path) for each in files)
    names = [Path(each.shown).as_posix() for each in files]
    if unknown := sorted(rows.keys() - set(names)):
        raise CommandError(
            f'{path}: has instances of {unknown[0]}, which is not among --images. Give there what '
            '"instance-seg image" was given'
        )
    for source, name in console.bar(list(zip(files, names, strict=True)), 'image'):
        try:
            size = read_image(Path(source.path)).shape[:2]
        except ImageError as error:
            console.warn(f'skipped {error}')
            yield None
            continue
        yield LabelledImage(name, size, _labels(path, rows.get(name, []), size))


def _rows_by_file(path: Path) -> dict[str, list[Row]]:
    try:
        rows = json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise CommandError(f'{path}: is no JSON ({error}): {_WANTED}') from None
    if not isinstance(rows, list):
        raise CommandError(f'{path}: is no list of results: {_WANTED}')
    by_file: dict[str, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows):
        for key in ('file_name', 'category_id', 'category_name', 'score', 'segmentation'):
            if not isinstance(row, dict) or key not in row:
                raise CommandError(f'{path}: result {number} has no {key}: {_WANTED}')
        by_file[row['file_name']].append(row)
    return by_file


def _labels(path: Path, rows: list[Row], size: tuple[int, int]) -> list[Label]:
    from pycocotools import mask as coco_mask

    labels = []
    for row in rows:
        if tuple(row['segmentation']['size']) != size:
            found = 'x'.join(str(side) for side in row['segmentation']['size'][::-1])
            raise CommandError(
                f'{path}: {row["file_name"]} was {found} pixels, and is {size[1]}x{size[0]} now'
            )
        mask = coco_mask.decode(row['segmentation'])
        if mask.any():
            labels.append(
                Label(row['category_id'], row['category_name'], float(row['score']), mask)
            )
    return labels


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
        raise CommandError(
            f'bags need two more packages ({error}): pip install "rosbags<0.12" rosbags-image, '
            'which the extra instance_seg_ros[bags] has'
        ) from None
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
