# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which detection is which object, at one IoU of boxes: for precision, recall and the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.run import Found, Run
from instance_seg_ros.evaluation.shapes import ious_of_boxes
from instance_seg_ros.evaluation.truth import TruePhoto

IOU = 0.5


@dataclass(frozen=True)
class PhotoMatch:
    """The detections of one photo beside its objects.

    Attributes:
        object_of: int (N,), position of the object that a detection is, -1 where it is none.
        ignored: bool (N,), neither right nor wrong: in a crowd, or its class is not counted here.
        ious: float (N, M), of each detection's box with each object's; with a crowd the share of
            the detection that lies in it.
    """

    object_of: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    ious: NDArray[np.float64]


def match_photo(photo: TruePhoto, found: Found) -> PhotoMatch:
    """Match as COCO does: best score first, each with the object of its class that overlaps most.

    Args:
        photo: with its objects.
        found: in it, best score first.

    """
    objects = photo.objects
    ious = ious_of_boxes(found.boxes, [o.box for o in objects], [o.crowd for o in objects])
    classes = np.array([o.class_id for o in objects], int)
    crowds = np.array([o.crowd for o in objects], bool)
    object_of = np.full(len(found.boxes), -1)
    ignored = ~np.isin(found.class_ids, list(photo.by_box))
    free = ~crowds
    for i, class_id in enumerate(found.class_ids):
        overlaps = np.where((classes == class_id) & free, ious[i], 0.0)
        if len(objects) and overlaps.max() >= IOU:
            object_of[i] = overlaps.argmax()
            free[object_of[i]] = False
        elif (ious[i][crowds & (classes == class_id)] >= IOU).any():
            ignored[i] = True
    return PhotoMatch(object_of, ignored, ious)


def precision_and_recall(
    photos: Sequence[TruePhoto], run: Run, score: float
) -> tuple[float | None, float | None]:
    """Return precision and recall of the boxes with at least a score; None where there is none."""
    right = given = objects = 0
    for index, found in run.found.items():
        photo = photos[index]
        match = match_photo(photo, found)
        sure = (found.scores >= score) & ~match.ignored
        right += int((match.object_of[sure] >= 0).sum())
        given += int(sure.sum())
        objects += sum(not o.crowd and o.class_id in photo.by_box for o in photo.objects)
    return right / given if given else None, right / objects if objects else None
