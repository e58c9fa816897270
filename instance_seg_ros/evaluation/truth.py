# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is to be found in the photos, and where a class can be counted at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.classes import ClassMatch
from instance_seg_ros.evaluation.notes import DatasetError, Notes
from instance_seg_ros.evaluation.reader import CocoDataset, CocoPhoto
from instance_seg_ros.evaluation.shapes import Rle, run_lengths_of_box

BOX, MASK, BOUNDARY = 'box', 'mask', 'boundary'
KINDS = (BOX, MASK, BOUNDARY)


@dataclass(frozen=True)
class TrueObject:
    """An object of a class of the model; see CocoObject."""

    class_id: int
    box: NDArray[np.float32]
    rle: Rle | None
    crowd: bool


@dataclass(frozen=True)
class TruePhoto:
    """A photo with its objects.

    Attributes:
        photo: the file.
        objects: of the classes that are counted.
        by_box: class ids that are counted here: all their objects are annotated.
        by_mask: those of them whose objects all have masks.
    """

    photo: CocoPhoto
    objects: list[TrueObject]
    by_box: frozenset[int]
    by_mask: frozenset[int]

    def counted(self, kind: str) -> frozenset[int]:
        """Return the class ids that are counted here for a kind of figure."""
        return self.by_box if kind == BOX else self.by_mask


def truth_of(dataset: CocoDataset, match: ClassMatch) -> list[TruePhoto]:
    """Return the photos with the objects of the matched classes.

    A class is counted in a photo only where all its objects are annotated: there a detection
    beyond them is wrong. Elsewhere neither its objects nor its detections count; the notes of
    the data set say how many objects that are.

    Raises:
        DatasetError: no object is left.

    """
    photos = [_true_photo(photo, match, dataset.notes) for photo in dataset.photos]
    if not any(o.class_id in p.by_box for p in photos for o in p.objects if not o.crowd):
        classes = ', '.join(match.names.values())
        crowds = with_option(dataset.crowd_hint())
        reasons = '; '.join(filter(None, [*dataset.notes.lines(), crowds]))
        raise DatasetError(
            f'{dataset.path}: no photo that was found has an object to count of these classes: '
            f'{classes}{reasons and ". "}{reasons}'
        )
    return photos


def with_option(crowd_hint: str) -> str:
    """Return the hint with the option that helps."""
    return crowd_hint and f'{crowd_hint}: --crowds objects counts them'


def _true_photo(photo: CocoPhoto, match: ClassMatch, notes: Notes) -> TruePhoto:
    objects = []
    without_mask = set()
    if not photo.objects and not photo.incomplete:
        notes.used('photos without objects: what is found in them counts as wrong', photo.name)
    for each in photo.objects:
        class_id = match.class_ids.get(each.category)
        if class_id is None:
            if each.category in match.unknown:
                notes.left_out(
                    'objects of categories that are no class of the model', each.category
                )
            continue
        if each.rle is None and not each.crowd:
            without_mask.add(class_id)
        rle = each.rle
        if rle is None and each.crowd:
            rle = run_lengths_of_box(each.box, photo.size)
        objects.append(TrueObject(class_id, each.box, rle, each.crowd))
    incomplete = {match.class_ids[name] for name in photo.incomplete if name in match.class_ids}
    by_box = frozenset(match.names) - incomplete
    _note(photo, objects, incomplete, without_mask, notes)
    return TruePhoto(photo, objects, by_box, by_box - without_mask)


def _note(
    photo: CocoPhoto,
    objects: list[TrueObject],
    incomplete: set[int],
    without_mask: set[int],
    notes: Notes,
) -> None:
    left_out = sum(each.class_id in incomplete for each in objects)
    if left_out:
        notes.left_out(
            'objects in photos where not all of their class are annotated', photo.name, left_out
        )
    boxes = sum(each.class_id in without_mask - incomplete for each in objects)
    if boxes:
        notes.used(
            'objects counted only by their boxes: no mask of theirs, or of another of their class '
            'in the photo',
            photo.name,
            boxes,
        )
