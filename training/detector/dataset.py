# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO-format data sets, checked as they are read."""

from __future__ import annotations

import difflib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

LOG = logging.getLogger(__name__)

SEMANTIC_SCALE = 4
UNKNOWN = 255
_MIN_SIDE = 1.0


class DatasetError(ValueError):
    """A data set that cannot be used; the message names the file and what to do."""


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
            set, 255 unknown.
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
        # Upright, as annotation tools show it and as the library reads it; else as it is stored.
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is not None and image.shape[:2] != self.size:
            image = cv2.imread(str(self.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise DatasetError(
                f'{self.path}: cannot be read as an image. Remove it from the data set or repair it'
            )
        if image.shape[:2] != self.size:
            raise DatasetError(
                f'{self.path}: is {image.shape[1]}x{image.shape[0]} pixels, its annotations are '
                f'for {self.size[1]}x{self.size[0]}. Export the data set again'
            )
        return image


def load_photos(
    annotation_file: Path | str,
    image_folder: Path | str,
    classes: Sequence[str],
    categories: Sequence[str] | None = None,
) -> list[Photo]:
    """Read one COCO annotation file.

    Images may carry two fields beyond COCO's: ``complete_categories`` (ids that are annotated
    completely in this image) and ``exhaustive`` (all are); without either, an image counts as
    completely annotated.

    Args:
        annotation_file: COCO JSON with ``images``, ``annotations`` and ``categories``.
        image_folder: folder of the image files.
        classes: names to train, in the order of the class ids.
        categories: names that the semantic maps use; the file's own, in its order, by default.

    Raises:
        DatasetError: the file is no COCO file, a class is unknown in it, or no image is left.

    """
    annotation_file, image_folder = Path(annotation_file), Path(image_folder)
    content = _read_json(annotation_file)
    names = {c['id']: c['name'] for c in content['categories']}
    _check_classes(classes, names.values(), annotation_file)
    reader = _Reader(annotation_file, list(classes), names, list(categories or names.values()))
    by_image = defaultdict(list)
    for annotation in content['annotations']:
        by_image[annotation['image_id']].append(annotation)
    photos = [
        reader.photo(entry, image_folder, by_image.get(entry['id'], []))
        for entry in content['images']
    ]
    present = [photo for photo in photos if photo is not None]
    reader.report()
    if not present:
        raise DatasetError(
            f'{annotation_file}: none of its {len(photos)} images is in {image_folder}. '
            'Give the folder that holds the image files'
        )
    return present


def category_names(annotation_file: Path | str) -> list[str]:
    """Names of all categories of a COCO file, in its order."""
    return [c['name'] for c in _read_json(Path(annotation_file))['categories']]


def hold_out(
    photos: Iterable[Photo], modulus: int, remainder: int
) -> tuple[list[Photo], list[Photo]]:
    """Split by image id into those to train on and those held out (``id % modulus ==
    remainder``).
    """
    train: list[Photo] = []
    held: list[Photo] = []
    for photo in photos:
        (held if photo.image_id % modulus == remainder else train).append(photo)
    return train, held


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f'{path}: no such file. Export the annotations as "COCO"') from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(
            f'{path}: cannot be read as JSON ({error}). Export the annotations as "COCO"'
        ) from None
    missing = [
        key
        for key in ('images', 'annotations', 'categories')
        if not isinstance(content, dict) or key not in content
    ]
    if missing:
        raise DatasetError(f'{path}: is no COCO annotation file, it lacks {", ".join(missing)}')
    return content


def _check_classes(classes: Sequence[str], names: Iterable[str], path: Path) -> None:
    names = list(names)
    if not classes:
        raise DatasetError('no class was named. Name at least one of: ' + ', '.join(names))
    for name in classes:
        if name not in names:
            close = difflib.get_close_matches(name, names, 3)
            hint = f'Did you mean {" or ".join(close)}?' if close else f'It has: {", ".join(names)}'
            raise DatasetError(f'{path}: has no category "{name}". {hint}')


class _Reader:
    """Turns COCO entries into photos and counts what it had to leave out."""

    def __init__(
        self, path: Path, classes: list[str], names: dict[int, str], categories: list[str]
    ) -> None:
        self.path, self.names, self.categories = path, names, categories
        self.class_index = {name: i for i, name in enumerate(classes)}
        self.left_out: Counter[str] = Counter()

    def photo(
        self, entry: dict[str, Any], folder: Path, annotations: list[dict[str, Any]]
    ) -> Photo | None:
        path = _image_file(folder, entry['file_name'])
        if not path.is_file():
            self.left_out[f'images that are not in {folder}'] += 1
            return None
        size = int(entry['height']), int(entry['width'])
        known = self._known(entry)
        photo = Photo(entry['id'], path, size, known=known)
        photo.complete = all(known[self.categories.index(name)] for name in self.class_index)
        semantic = np.zeros(
            (-(-size[0] // SEMANTIC_SCALE), -(-size[1] // SEMANTIC_SCALE)), np.uint8
        )
        for annotation in sorted(annotations, key=lambda a: -_box_area(a)):
            self._add(photo, semantic, annotation)
        photo.semantic = semantic
        return photo

    def _known(self, entry: dict[str, Any]) -> NDArray[np.bool_]:
        if 'complete_categories' in entry and not entry.get('exhaustive', False):
            complete = {self.names.get(i) for i in entry['complete_categories']}
            return np.array([name in complete for name in self.categories])
        return np.ones(len(self.categories), bool)

    def _add(self, photo: Photo, semantic: NDArray[np.uint8], annotation: dict[str, Any]) -> None:
        name = self.names.get(annotation.get('category_id', -1))
        if name is None:
            self.left_out['annotations of an unknown category id'] += 1
            return
        box = _clipped_box(annotation, photo.size)
        if box is None:
            self.left_out['boxes that are empty or outside their image'] += 1
            return
        rle = self._run_lengths(annotation, photo.size)
        crowd = bool(annotation.get('iscrowd', 0))
        _paint(
            semantic, box, rle, UNKNOWN if crowd or rle is None else self.categories.index(name) + 1
        )
        if name in self.class_index:
            photo.annotations.append(Annotation(self.class_index[name], box, rle, crowd))

    def _run_lengths(
        self, annotation: dict[str, Any], size: tuple[int, int]
    ) -> dict[str, Any] | None:
        """Polygons (also self-crossing ones), plain and compressed run-lengths; None where there
        is no usable mask.
        """
        segmentation = annotation.get('segmentation')
        if not segmentation:
            return None
        try:
            if isinstance(segmentation, list):
                polygons = [p for p in segmentation if len(p) >= 6]
                rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else None
            elif list(segmentation['size']) != list(size):
                rle = None
            elif isinstance(segmentation['counts'], list):
                rle = coco_mask.frPyObjects(segmentation, *size)
            else:
                rle = segmentation
            usable = rle is not None and float(coco_mask.area(rle)) > 0
        except (TypeError, ValueError, KeyError):
            usable = False
        if not usable:
            self.left_out['masks that are empty or malformed (their boxes are used)'] += 1
            return None
        return rle

    def report(self) -> None:
        for what, count in self.left_out.items():
            LOG.warning('%s: left out %d %s', self.path, count, what)


def _image_file(folder: Path, name: str) -> Path:
    """Return where an image is; Label Studio names images by address: ``/…/?d=photos/1.jpg``."""
    path = folder / name
    if path.is_file() or '?d=' not in name:
        return path
    below = Path(unquote(name.rpartition('?d=')[2]))
    return next((folder / each for each in (below, below.name) if (folder / each).is_file()), path)


def _box_area(annotation: dict[str, Any]) -> float:
    try:
        return float(annotation['bbox'][2]) * float(annotation['bbox'][3])
    except (KeyError, IndexError, TypeError, ValueError):
        return 0.0


def _clipped_box(annotation: dict[str, Any], size: tuple[int, int]) -> NDArray[np.float32] | None:
    try:
        x, y, w, h = (float(v) for v in annotation['bbox'])
    except (KeyError, TypeError, ValueError):
        return None
    box = np.array([x, y, x + w, y + h], np.float32)
    if not np.isfinite(box).all():
        return None
    box = np.clip(box, 0, np.array([size[1], size[0], size[1], size[0]], np.float32))
    return box if min(box[2] - box[0], box[3] - box[1]) >= _MIN_SIDE else None


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
