# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO data sets as people's tools write them: all is used, or counted and reported.

What cannot be used is not taken for background: where an object was left out, its category does
not count as completely annotated in that photo.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.evaluation.coco_file import Categories, id_of, read_coco_file
from instance_seg_ros.evaluation.notes import DatasetError, Notes
from instance_seg_ros.evaluation.photo_files import PhotoFolder, read_photo
from instance_seg_ros.evaluation.shapes import (
    MALFORMED,
    Rle,
    Size,
    box_of,
    box_of_mask,
    clipped,
    ious_of_boxes,
    is_empty,
    number_of,
    run_lengths_of,
)
from instance_seg_ros.images import read_image
from instance_seg_ros.paths import given_path

_USUAL_CROWDS = 10  # objects to a crowd, at least; COCO has a hundred
_TOO_THIN = 'boxes that are empty (stray clicks)'
_OUTSIDE = 'boxes that are no numbers or outside their image'
_OTHER_BOXES = 'boxes that do not fit their masks, used as they are'
_OTHER_FOLDER = 'images in a folder of another name than the file says: are they the right ones?'
_LEAST_FIT = 0.5  # IoU
_NEAR = 4.0  # pixels, by which masks of few pixels may differ
_MANY = 5  # boxes that fit as corners: fewer may be chance


@dataclass(frozen=True)
class CocoObject:
    """One object of a photo.

    Attributes:
        category: its name.
        box: float32 (4,) x1, y1, x2, y2 in pixels, clipped to the photo.
        rle: COCO's compressed run lengths over the photo; None where only the box is known.
        crowd: a region of such objects: neither an object nor background.
    """

    category: str
    box: NDArray[np.float32]
    rle: Rle | None
    crowd: bool


@dataclass
class CocoPhoto:
    """One photo and what is known about it.

    Attributes:
        image_id: the id in the file; for text a number that follows from it.
        name: as the file has it.
        path: the image file.
        size: (height, width) in pixels, that of the annotations.
        objects: in it, in the order of the file.
        incomplete: categories of which objects may be in the photo that are not annotated.
    """

    image_id: int
    name: str
    path: Path
    size: Size
    objects: list[CocoObject] = field(default_factory=list)
    incomplete: frozenset[str] = frozenset()

    def read(self, notes: Notes | None = None) -> NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3) BGR; arguments and errors as of :func:`read_photo`."""
        return read_photo(self.path, self.size, notes)


@dataclass(frozen=True)
class CocoDataset:
    """What was read.

    Attributes:
        path: the annotation file.
        categories: all names, in the order of the file.
        photos: those whose files are there.
        listed: how many images the file has.
        notes: what was left out.
    """

    path: Path
    categories: list[str]
    photos: list[CocoPhoto]
    listed: int
    notes: Notes

    def crowd_hint(self) -> str:
        """Return a hint where many objects are marked as crowds; else an empty text."""
        objects = [each for photo in self.photos for each in photo.objects]
        crowds = sum(each.crowd for each in objects)
        if crowds * _USUAL_CROWDS <= len(objects):
            return ''
        return (
            f'{crowds} of {len(objects)} objects are crowds (iscrowd: 1), which count neither as '
            'objects nor as background. CVAT marks every brushed mask so'
        )


def read_coco(
    annotation_file: Path | str, image_folder: Path | str, *, crowds_are_objects: bool = False
) -> CocoDataset:
    """Read a COCO annotation file and look for its photos.

    Images may carry two fields beyond COCO's: ``complete_categories`` (ids of the categories that
    are annotated completely in this image) and ``exhaustive`` (all are); without either, an image
    counts as completely annotated.

    Args:
        annotation_file: JSON with ``images``, ``annotations`` and ``categories``.
        image_folder: of the photos; those in folders below are found, too.
        crowds_are_objects: take ``iscrowd: 1`` for an object: CVAT marks brushed masks so.

    Raises:
        DatasetError: the file is no such file, no photo is found, or no annotation belongs to one.

    """
    path, folder = given_path(annotation_file), given_path(image_folder)
    content = read_coco_file(path)
    notes = Notes()
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder. Give the folder that holds the image files')
    reader = _Reader(content, PhotoFolder(folder), notes, crowds_are_objects)
    photos = reader.photos()
    if not photos:
        raise DatasetError(
            f'{path}: none of its {len(content["images"])} images is in {folder}. Give the folder '
            f'that holds the image files ({"; ".join(notes.lines()) or "it lists none"})'
        )
    if reader.has_corner_boxes:
        raise DatasetError(
            f'{path}: bbox is x1, y1, x2, y2, as the masks show ({"; ".join(notes.lines())}). '
            'Expected x, y, width, height in pixels'
        )
    lost = reader.without_image
    if lost and lost == len(content['annotations']):
        raise DatasetError(
            f'{path}: none of its {lost} annotations has the image_id of one of its images. '
            'Export the data set again'
        )
    return CocoDataset(path, reader.categories.names, photos, len(content['images']), notes)


class _Reader:
    """Turns entries into photos, and notes what it has to leave out."""

    def __init__(
        self, content: dict[str, list[Any]], folder: PhotoFolder, notes: Notes, with_crowds: bool
    ) -> None:
        self._entries, self._folder, self._notes = content['images'], folder, notes
        self._with_crowds = with_crowds
        self.categories = Categories(content['categories'], content['annotations'], notes)
        self.without_image = 0
        self._with_mask = self._corners = 0
        self._by_image = self._sorted(content['annotations'])

    def _sorted(self, annotations: list[Any]) -> dict[Hashable, list[dict[str, Any]]]:
        """Return the annotations by the id of their image."""
        known = {id_of(e.get('id')) for e in self._entries if isinstance(e, dict)}
        by_image = defaultdict(list)
        for annotation in annotations:
            about = annotation if isinstance(annotation, dict) else {}
            key = id_of(about.get('image_id'))
            if key is None or key not in known:
                self._notes.left_out(
                    'annotations whose image_id is that of no image', about.get('image_id', '')
                )
                self.without_image += 1
            else:
                by_image[key].append(about)
        return by_image

    @property
    def has_corner_boxes(self) -> bool:
        """Whether bbox has two corners, as far as the masks tell: after :meth:`photos`."""
        return self._corners >= _MANY and 2 * self._corners > self._with_mask

    def photos(self) -> list[CocoPhoto]:
        entries = self._usable_entries()
        paths = {key: self._folder.find(entry['file_name']) for key, entry in entries.items()}
        times = Counter(path for path in paths.values() if path is not None)
        photos = []
        for key, entry in entries.items():
            path, name = paths[key], entry['file_name']
            if path is None:
                self._notes.left_out(f'images that are not in {self._folder.path}', name)
            elif times[path] > 1:
                self._notes.left_out('images that stand for the same file as another', name)
            elif (photo := self._photo(key, entry, path)) is not None:
                if self._folder.is_elsewhere(name, path):
                    self._notes.used(_OTHER_FOLDER, f'{path} for {name}')
                photos.append(photo)
        return photos

    def _usable_entries(self) -> dict[Hashable, dict[str, Any]]:
        """Return the entries that have a name and an id of their own, by that id."""
        usable: dict[Hashable, dict[str, Any]] = {}
        twice = set()
        for entry in self._entries:
            about = entry if isinstance(entry, dict) else {}
            key, name = id_of(about.get('id')), about.get('file_name')
            if key is None:
                self._notes.left_out('images without an id', name or '')
            elif not isinstance(name, str) or not name.strip():
                self._notes.left_out('images without a file_name', key)
            elif key in usable and usable[key]['file_name'] != name:
                twice.add(key)
            elif key in usable:
                self._notes.used('images that are listed twice', name)
            else:
                usable[key] = about
        for key in twice:
            self._notes.left_out('images that have the id of another', key)
            del usable[key]
        return usable

    def _photo(self, key: Hashable, entry: dict[str, Any], path: Path) -> CocoPhoto | None:
        size = self._size(entry, path)
        if size is None:
            return None
        number = key if isinstance(key, int) else zlib.crc32(str(key).encode())
        photo = CocoPhoto(number, entry['file_name'], path, size)
        incomplete = set(self._incomplete(entry))
        for annotation in self._by_image.get(key, []):
            self._add(photo, incomplete, annotation)
        photo.incomplete = frozenset(incomplete)
        return photo

    def _size(self, entry: dict[str, Any], path: Path) -> Size | None:
        try:
            size = int(number_of(entry['height'])), int(number_of(entry['width']))
            if min(size) > 0:
                return size
        except MALFORMED:
            pass
        try:
            height, width = read_image(path).shape[:2]
        except ImageError as error:
            self._notes.left_out('images that cannot be read', error)
            return None
        self._notes.used('images without a width and height, taken from their files', path.name)
        return height, width

    def _incomplete(self, entry: dict[str, Any]) -> list[str]:
        complete = entry.get('complete_categories')
        if not isinstance(complete, list) or entry.get('exhaustive', False):
            return []
        known = {self.categories.name_of(category) for category in complete}
        return [name for name in self.categories.names if name not in known]

    def _add(self, photo: CocoPhoto, incomplete: set[str], annotation: dict[str, Any]) -> None:
        name = self.categories.name_of(annotation.get('category_id'))
        if name is None:
            self._notes.left_out(
                'annotations of an unknown category id', annotation.get('category_id', '')
            )
            incomplete.update(self.categories.names)
            return
        rle = self._mask(photo, annotation)
        box = box_of(annotation.get('bbox'))
        inside = None if box is None else clipped(box, photo.size)
        if inside is None or is_empty(inside):
            if rle is None:
                stray = box is not None and is_empty(box)
                self._notes.left_out(_TOO_THIN if stray else _OUTSIDE, photo.name)
                incomplete.update([] if stray else [name])
                return
            inside = box_of_mask(rle)
        crowd = _is_true(annotation.get('iscrowd')) and not self._with_crowds
        if rle is not None and not crowd:
            self._with_mask += 1
            mask_box = box_of_mask(rle)
            if not _fits(inside, mask_box):
                self._notes.used(_OTHER_BOXES, photo.name)
                self._corners += box is not None and _fits(_as_corners(box), mask_box)
        photo.objects.append(CocoObject(name, inside, rle, crowd))

    def _mask(self, photo: CocoPhoto, annotation: dict[str, Any]) -> Rle | None:
        segmentation = annotation.get('segmentation')
        if not segmentation:
            return None
        rle = run_lengths_of(segmentation, photo.size)
        if rle is None:
            self._notes.used('masks that are empty or malformed: their boxes are used', photo.name)
        return rle


def _as_corners(box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the box whose x2, y2 was taken for width and height."""
    return np.array([*box[:2], *(box[2:] - box[:2])], np.float32)


def _fits(box: NDArray[np.float32], mask_box: NDArray[np.float32]) -> bool:
    """Whether a box may be that of a mask: it is near, or overlaps by an IoU of _LEAST_FIT."""
    if np.abs(box - mask_box).max() <= _NEAR:
        return True
    return bool(ious_of_boxes(box[None], [mask_box], [False])[0, 0] >= _LEAST_FIT)


def _is_true(value: Any) -> bool:
    try:
        return number_of(value) != 0
    except MALFORMED:
        return value is True
