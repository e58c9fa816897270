# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found in an image as rows: COCO results with a few more keys.

Each file of results takes what it has a place for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from instance_seg_ros.cli.sources import ImageFile
from instance_seg_ros.instances import Instances

Row = dict[str, Any]
_LARGEST_ID = 2**63 - 1


def rows_of(
    instances: Instances,
    image_id: int,
    *,
    file_name: str | None = None,
    seconds: float | None = None,
    coarse: bool = False,
) -> list[Row]:
    """Return a row for each instance of an image.

    Args:
        instances: with masks.
        image_id: COCO id of the image, or number of the frame.
        file_name: of the image.
        seconds: of a frame, from the beginning of its video.
        coarse: also the mask head's probabilities as ``coarse_mask``, M rows of M numbers.

    Returns:
        COCO results: pycocotools' loadRes reads a list of them. COCO numbers its categories from 1
        and models from 0, so the category is the class id + 1. Beyond what COCO wants:
        ``category_name``, ``instance`` (the number in its image, from 1: the pixels of a label
        map), ``area`` (pixels of the mask) and the arguments.

    """
    categories = {int(class_id): int(class_id) + 1 for class_id in instances.class_ids}
    rows = instances.to_coco(image_id, categories)
    for i, row in enumerate(rows):
        row['category_name'] = instances.class_names[i]
        row['instance'] = i + 1
        row['area'] = int(instances.masks[i].sum()) if instances.masks is not None else 0
        if file_name is not None:
            row['file_name'] = file_name
        if seconds is not None:
            row['seconds'] = round(seconds, 6)
        if coarse and instances.coarse is not None:
            row['coarse_mask'] = [
                [round(value, 4) for value in line] for line in instances.coarse[i].tolist()
            ]
    return rows


def image_ids(images: Sequence[ImageFile]) -> Sequence[int]:
    """Return the number that each file is named by, as COCO's are; else its position from 1.

    A number of more than 63 bits is none: tables have no place for it.
    """
    stems = (image.name.rpartition('.')[0] or image.name for image in images)
    numbers = [int(stem) for stem in stems if stem.isdecimal() and int(stem) <= _LARGEST_ID]
    if len(numbers) == len(images) == len(set(numbers)):
        return numbers
    return range(1, len(images) + 1)
