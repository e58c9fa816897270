# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of ``instance-seg labels``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from instance_seg_ros.cli.values import add_quiet, share
from instance_seg_ros.paths import given_path

COCO, LABEL_STUDIO = 'coco', 'label-studio'


def add_labels_command(commands: Any) -> None:
    """Add ``labels`` to the parser's commands."""
    text = 'write what was found as labels that a person corrects in an annotation tool'
    labels: argparse.ArgumentParser = commands.add_parser(
        'labels', help=text, description=f'{text[0].upper()}{text[1:]}. No model is run.'
    )
    labels.add_argument(
        'source',
        type=given_path,
        metavar='FOUND',
        help='the file of "instance-seg image --json", or a bag with images and instance masks',
    )
    labels.add_argument(
        '--images',
        nargs='+',
        default=[],
        metavar='PATH|GLOB|FOLDER',
        help='with a file: the images, named as for "instance-seg image". They stay where they are',
    )
    labels.add_argument(
        '--recursive',
        action='store_true',
        help='with a file: also the images in the folders of a folder, if "instance-seg image" was '
        'given this, too',
    )
    labels.add_argument(
        '--annotated',
        type=given_path,
        default=Path('instance_seg_output'),
        metavar='FOLDER',
        help='with a file: the --output of "instance-seg image", which is left out of --images '
        '(%(default)s)',
    )
    labels.add_argument(
        '--topic', metavar='NAME', help='with a bag: of the images (default: the only one)'
    )
    labels.add_argument(
        '--masks-topic', metavar='NAME', help='with a bag: of the masks (default: the only one)'
    )
    labels.add_argument(
        '--output',
        type=given_path,
        default=Path('instance_seg_labels'),
        metavar='FOLDER',
        help="where the files go, and a bag's images (%(default)s)",
    )
    labels.add_argument(
        '--to',
        choices=(COCO, LABEL_STUDIO),
        default=COCO,
        help='coco: annotations.json for CVAT, FiftyOne and training. label-studio: tasks.json '
        'and label_config.xml (%(default)s)',
    )
    labels.add_argument(
        '--polygons',
        action='store_true',
        help='outlines with few points instead of masks: holes are filled',
    )
    labels.add_argument(
        '--min-score',
        type=share,
        default=0.0,
        metavar='S',
        help='leave out what has a lower score (%(default)s)',
    )
    labels.add_argument(
        '--image-address',
        default='/data/local-files/?d=',
        metavar='PREFIX',
        help="for Label Studio: what stands before a file's name (%(default)s)",
    )
    labels.add_argument(
        '--overwrite', action='store_true', help='replace files that exist in the output folder'
    )
    add_quiet(labels)
