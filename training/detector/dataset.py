# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO-format data sets for training, read and checked as ``instance-seg evaluate`` does."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from instance_seg_ros.errors import ImageError
from instance_seg_ros.evaluation.coco_file import Categories, read_coco_file
from instance_seg_ros.evaluation.notes import DatasetError
from instance_seg_ros.evaluation.photo_files import read_photo
from instance_seg_ros.evaluation.reader import CocoDataset, CocoObject, CocoPhoto, read_coco
from instance_seg_ros.image_header import read_header

__all__ = ['Annotation', 'DatasetError', 'Photo', 'category_names', 'hold_out', 'load_photos']

LOG = logging.getLogger(__name__)

SEMANTIC_SCALE = 4
UNKNOWN = 255
_NUMBERED = 254  # categories that the values below UNKNOWN tell apart


@dataclass
class Annotation:
    """One object of one image.

    Attributes:
        class_index: index into the trained classes.
        box: float32 (4,) x1, y1, x2, y2 in image pixels, clipped to the image.
        rle: COCO run-lengths over the whole image, None where only the box is known.
        ignore: crowd region: neither an object nor background.
    """

    class_index: int
    box: NDArray[np.float32]
    rle: dict[str, Any] | None
    ignore: bool


@dataclass
class Photo:
    """One image and what is known about it.

    Attributes:
        path: the image file.
        size: (height, width) in pixels.
        annotations: objects of the trained classes.
        complete: every object of the trained classes is annotated, so that the rest is background.
        semantic: uint8 (height / 4, width / 4), 0 background, k + 1 the k-th category of the data
            set, 255 unknown, as are all objects of categories behind the 254th.
        known: bool (categories,): categories that are completely annotated in this image.
    """

    image_id: int
    path: Path
    size: tuple[int, int]
    annotations: list[Annotation] = field(default_factory=list)
    complete: bool = True
    semantic: NDArray[np.uint8] | None = None
    known: NDArray[np.bool_] | None = None

    def read(self) -> NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3) BGR; raises DatasetError where the file is no image of
        its size.
        """
        try:
            return read_photo(self.path, self.size)
        except ImageError as error:
            raise DatasetError(f'{error}. Remove it from the data set or repair it') from None


def load_photos(
    annotation_file: Path | str,
    image_folder: Path | str,
    classes: Sequence[str],
    categories: Sequence[str] | None = None,
    *,
    decoded: bool = True,
) -> list[Photo]:
    """Read one COCO annotation file.

    Images may carry two fields beyond COCO's: ``complete_categories`` (ids that are annotated
    completely in this image) and ``exhaustive`` (all are); without either, an image counts as
    completely annotated. Of categories that the file lacks nothing is known.

    Args:
        annotation_file: COCO JSON with ``images``, ``annotations`` and ``categories``.
        image_folder: folder of the image files.
        classes: names to train, in the order of the class ids.
        categories: names that the semantic maps use; the file's own, in its order, by default.
        decoded: leave out photos that cannot be decoded; else those whose header is damaged.

    Raises:
        DatasetError: the file is no COCO file, a class is unknown in it, or no image is left.

    """
    dataset = read_coco(annotation_file, image_folder)
    _check_classes(classes, dataset.categories, dataset.path)
    names = list(categories or dataset.categories)
    photos = [_photo(each, dataset, list(classes), names) for each in _usable(dataset, decoded)]
    if not photos:
        reasons = '; '.join(dataset.notes.lines())
        raise DatasetError(f'{dataset.path}: no photo in {image_folder} can be used: {reasons}')
    for note in dataset.notes.lines():
        LOG.warning('%s: %s', dataset.path, note)
    empty = sum(photo.complete and not photo.annotations for photo in photos)
    LOG.info('%s: %d of %d photos are background', dataset.path, empty, len(photos))
    if hint := dataset.crowd_hint():
        LOG.warning('%s: %s. Set iscrowd to 0 where it is an object', dataset.path, hint)
    return photos


def _usable(dataset: CocoDataset, decoded: bool) -> Iterator[CocoPhoto]:
    """Yield the photos that can be read: a run would end at the others, hours later.

    Raises:
        DatasetError: a photo is of another size than its annotations, as all of them may be.
    """
    LOG.info('%s: looking at %d photos', dataset.path, len(dataset.photos))
    with ThreadPoolExecutor() as pool:
        for photo, problem in zip(
            dataset.photos,
            pool.map(partial(_problem, decoded=decoded), dataset.photos),
            strict=True,
        ):
            if problem:
                dataset.notes.left_out(f'photos that cannot be read ({problem})', photo.path.name)
            else:
                yield photo


def _problem(photo: CocoPhoto, decoded: bool) -> str:
    """Return why a photo cannot be read, '' if it can."""
    try:
        if not decoded:
            header = read_header(photo.path.read_bytes())
            if photo.size == (header.height, header.width):
                return ''
        # Of another size than its header says, it may be turned by its EXIF data.
        read_photo(photo.path, photo.size)
    except ImageError as error:
        return str(error).removeprefix(f'{photo.path}: ')
    except OSError as error:
        return error.strerror or str(error)
    return ''


def category_names(annotation_file: Path | str) -> list[str]:
    """Names of all categories of a COCO file, in its order."""
    content = read_coco_file(Path(annotation_file))
    return Categories(content['categories'], content['annotations']).names


def hold_out(
    photos: Iterable[Photo], modulus: int, remainder: int
) -> tuple[list[Photo], list[Photo]]:
    """Split by image id into those to train on and those held out (``id % modulus == remainder``).

    A file that stands in two data sets, under two ids, is held out where one of the ids is.
    """
    photos = list(photos)
    out = {photo.path.resolve() for photo in photos if photo.image_id % modulus == remainder}
    train: list[Photo] = []
    held: list[Photo] = []
    for photo in photos:
        (held if photo.path.resolve() in out else train).append(photo)
    return train, held


def _check_classes(classes: Sequence[str], names: Iterable[str], path: Path) -> None:
    names = list(names)
    if not classes:
        raise DatasetError('no class was named. Name at least one of: ' + ', '.join(names))
    for name in classes:
        if name not in names:
            close = difflib.get_close_matches(name, names, 3)
            hint = f'Did you mean {" or ".join(close)}?' if close else f'It has: {", ".join(names)}'
            raise DatasetError(f'{path}: has no category "{name}". {hint}')


def _photo(
    photo: CocoPhoto, dataset: CocoDataset, classes: list[str], categories: list[str]
) -> Photo:
    unknown = photo.incomplete.union(set(categories).difference(dataset.categories))
    height, width = photo.size
    semantic = np.zeros((-(-height // SEMANTIC_SCALE), -(-width // SEMANTIC_SCALE)), np.uint8)
    annotations = []
    for each in sorted(photo.objects, key=lambda o: -float(np.prod(o.box[2:] - o.box[:2]))):
        _paint(semantic, each.box, each.rle, _semantic_value(each, categories))
        if each.category in classes:
            index = classes.index(each.category)
            annotations.append(Annotation(index, each.box, each.rle, each.crowd))
    return Photo(
        photo.image_id,
        photo.path,
        photo.size,
        annotations,
        complete=unknown.isdisjoint(classes),
        semantic=semantic,
        known=np.array([name not in unknown for name in categories]),
    )


def _semantic_value(each: CocoObject, categories: list[str]) -> int:
    if each.crowd or each.rle is None or each.category not in categories:
        return UNKNOWN
    index = categories.index(each.category)
    return index + 1 if index < _NUMBERED else UNKNOWN


def _paint(
    semantic: NDArray[np.uint8], box: NDArray[np.float32], rle: dict[str, Any] | None, value: int
) -> None:
    if rle is None:
        x1, y1, x2, y2 = (box / SEMANTIC_SCALE).round().astype(int)
        semantic[y1:y2, x1:x2] = value
        return
    mask = coco_mask.decode(rle)[
        SEMANTIC_SCALE // 2 :: SEMANTIC_SCALE, SEMANTIC_SCALE // 2 :: SEMANTIC_SCALE
    ]
    region = semantic[: mask.shape[0], : mask.shape[1]]
    region[mask > 0] = value
