# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options for what is written beside the annotated images."""

from __future__ import annotations

import argparse
from typing import Any

from instance_seg_ros.cli.completion import names_files
from instance_seg_ros.paths import given_path

_JSON_HELP = (
    "write COCO results (a list, as pycocotools' loadRes reads it) to FILE, - for stdout. The "
    'image_id is the number that a file is named by, where all are (below 2**63), else its '
    "position from 1; in a video the frame's number from 0. The category_id is the class id + 1, "
    "which is COCO's"
)


def add_result_options(group: Any) -> None:
    """Add the files of results, with a row for each instance."""
    texts = {
        '--json': _JSON_HELP,
        '--csv': 'write a line for each instance: image, size, class, score, box, area',
        '--parquet': "the same columns and the masks as COCO's run lengths, in one Parquet file; "
        'needs pyarrow',
    }
    for name, text in texts.items():
        names_files(group.add_argument(name, type=given_path, metavar='FILE', help=text))


def add_image_options(image: argparse.ArgumentParser) -> None:
    """Add what only photos have."""
    image.add_argument(
        '--recursive', action='store_true', help='also the images in the folders of a folder'
    )
    group = image.add_argument_group('output for each photo')
    group.add_argument(
        '--label-maps',
        action='store_true',
        help='write NAME.labels.png, 16 bits: 0 is background, n the instance with the number n in '
        'the CSV, JSON or Parquet file; where masks overlap, the better score',
    )
    group.add_argument(
        '--cutouts',
        action='store_true',
        help='write NAME.cutouts/1_CLASS.png and so on: each instance alone, the rest transparent',
    )
    group.add_argument(
        '--coarse',
        action='store_true',
        help="with --json: also the mask head's own probabilities, as coarse_mask",
    )
