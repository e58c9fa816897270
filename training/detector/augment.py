# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training samples: a photo, scaled, shifted, flipped, recoloured, blurred, with parts erased;
mosaics; objects pasted from other photos.

Copy-paste follows Ghiasi et al. 2021 (arXiv 2012.07177), mosaics Bochkovskiy et al. 2020 (arXiv
2004.10934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.detector.dataset import UNKNOWN, Photo
from training.detector.photometric import Augmentation, blur, erase, recolour
from training.detector.warping import (
    MASK_SCALE,
    SampleObject,
    area_of,
    box_of,
    hidden_behind,
    placement,
    transform,
)
from training.graph.network import FEATURE_STRIDE

_MIN_VISIBLE = 0.25
# Of the longer side in pixels: what is smaller is ignored, one cell of the features.
_MIN_SIDE = 16.0
_MIN_PASTE_AREA = 600


@dataclass
class Sample:
    """One training image of (height, width) and its targets, in its pixels.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        boxes: float32 (N, 4); classes int64 (N,).
        masks: uint8 (N, H / 2, W / 2), 0 to 255; all zero where ``has_mask`` is false.
        ignored: float32 (M, 4), regions that are neither object nor background.
        complete: what is not in a box is background.
        semantic: uint8 (ceil(H / 16), ceil(W / 16)); known: bool (H / 16, W / 16, categories).
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: NDArray[np.uint8]
    has_mask: NDArray[np.bool_]
    ignored: NDArray[np.float32]
    complete: bool
    semantic: NDArray[np.uint8]
    known: NDArray[np.bool_]


class Sampler:
    """Makes samples of a list of photos.

    Args:
        photos: what to draw from.
        augmentation: how strongly.

    """

    def __init__(self, photos: Sequence[Photo], augmentation: Augmentation) -> None:
        self.photos = photos
        self.augmentation = augmentation
        self.pasteable = [
            (i, k)
            for i, photo in enumerate(photos)
            for k, a in enumerate(photo.annotations)
            if a.rle is not None and not a.ignore and coco_mask.area(a.rle) >= _MIN_PASTE_AREA
        ]

    def sample(
        self, index: int, size: tuple[int, int], rng: np.random.Generator, composites: bool = True
    ) -> Sample:
        """Make one sample of ``size`` (height, width), both multiples of 32, of the photo at
        ``index``.
        """
        augmentation = self.augmentation if composites else self.augmentation.without_composites()
        if rng.random() < augmentation.mosaic:
            return self._mosaic(index, size, rng)
        image, objects, semantic, known = transform(self.photos[index], size, augmentation, rng)
        if self.pasteable and rng.random() < augmentation.paste:
            for _ in range(rng.integers(1, 4)):
                image, objects = self._paste(image, objects, semantic, rng)
        image = recolour(image, augmentation, rng)
        image = erase(blur(image, augmentation, rng), augmentation, rng)
        return _finish(image, objects, semantic, known, self.photos[index].complete)

    def _mosaic(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        half = size[0] // 2, size[1] // 2
        indices = [index, *rng.integers(0, len(self.photos), 3)]
        tiles = [self.sample(int(i), half, rng, composites=False) for i in indices]
        offsets = [(0, 0), (0, half[1]), (half[0], 0), half]
        return _merge(tiles, offsets, size)

    def _paste(
        self,
        image: NDArray[np.uint8],
        objects: list[SampleObject],
        semantic: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], list[SampleObject]]:
        photo_index, object_index = self.pasteable[rng.integers(len(self.pasteable))]
        photo = self.photos[photo_index]
        annotation = photo.annotations[object_index]
        x1, y1, x2, y2 = _outer(annotation.box, photo.size)
        source = recolour(photo.read()[y1:y2, x1:x2], self.augmentation, rng)
        mask = coco_mask.decode(annotation.rle)[y1:y2, x1:x2] * np.uint8(255)
        height, width = image.shape[:2]
        factor = (
            np.exp(rng.uniform(np.log(0.15), np.log(0.9))) * min(height, width) / max(mask.shape)
        )
        if factor > 2.5:  # a blown-up thumbnail teaches blur
            return image, objects
        h, w = mask.shape[0] * factor, mask.shape[1] * factor
        matrix = placement(
            factor,
            factor,
            rng.uniform(-0.1 * w, width - 0.9 * w),
            rng.uniform(-0.1 * h, height - 0.9 * h),
            mask.shape[1],
            rng.random() < 0.5,
        )
        soft = cv2.GaussianBlur(cv2.warpAffine(mask, matrix, (width, height)), (3, 3), 0)
        pasted = cv2.warpAffine(source, matrix, (width, height))
        alpha = soft[..., None].astype(np.float32) / 255
        image = (image * (1 - alpha) + pasted * alpha).astype(np.uint8)
        small = cv2.resize(
            soft, (width // MASK_SCALE, height // MASK_SCALE), interpolation=cv2.INTER_AREA
        )
        if not (small > 127).any():
            return image, objects
        covered = [hidden_behind(o, small) for o in objects]
        rows, columns = semantic.shape
        semantic[cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_AREA) > 127] = UNKNOWN
        visible = (
            float((small > 127).sum())
            * MASK_SCALE**2
            / max(float((mask > 0).sum()) * factor**2, 1.0)
        )
        return image, [
            *covered,
            SampleObject(box_of(small), annotation.class_index, small, visible, False),
        ]


def _finish(
    image: NDArray[np.uint8],
    objects: list[SampleObject],
    semantic: NDArray[np.uint8],
    known: NDArray[np.bool_],
    complete: bool,
) -> Sample:
    objects = [o for o in objects if area_of(o.box) > 0]

    def too_little(o: SampleObject) -> bool:
        return (
            o.ignore
            or o.visible < _MIN_VISIBLE
            or max(o.box[2] - o.box[0], o.box[3] - o.box[1]) < _MIN_SIDE
        )

    kept = [o for o in objects if not too_little(o)]
    shape = image.shape[0] // MASK_SCALE, image.shape[1] // MASK_SCALE
    empty = np.zeros(shape, np.uint8)
    return Sample(
        image,
        _stack_boxes([o.box for o in kept]),
        np.array([o.class_index for o in kept], np.int64),
        np.stack([empty if o.mask is None else o.mask for o in kept])
        if kept
        else np.zeros((0, *shape), np.uint8),
        np.array([o.mask is not None for o in kept], bool),
        _stack_boxes([o.box for o in objects if too_little(o)]),
        complete,
        semantic,
        known,
    )


def _merge(tiles: list[Sample], offsets: list[tuple[int, int]], size: tuple[int, int]) -> Sample:
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    cells = -(-height // FEATURE_STRIDE), -(-width // FEATURE_STRIDE)
    semantic = np.full(cells, UNKNOWN, np.uint8)
    known = np.zeros((*cells, tiles[0].known.shape[-1]), bool)
    masks = []
    for tile, (y, x) in zip(tiles, offsets, strict=True):
        h, w = tile.image.shape[:2]
        image[y : y + h, x : x + w] = tile.image
        top, left = y // FEATURE_STRIDE, x // FEATURE_STRIDE
        rows, columns = tile.semantic.shape
        semantic[top : top + rows, left : left + columns] = tile.semantic
        known[top : top + rows, left : left + columns] = tile.known
        placed = np.zeros((len(tile.masks), height // MASK_SCALE, width // MASK_SCALE), np.uint8)
        placed[
            :,
            y // MASK_SCALE : y // MASK_SCALE + tile.masks.shape[1],
            x // MASK_SCALE : x // MASK_SCALE + tile.masks.shape[2],
        ] = tile.masks
        masks.append(placed)
    shifts = [np.array([x, y, x, y], np.float32) for y, x in offsets]
    return Sample(
        image,
        np.concatenate([t.boxes + s for t, s in zip(tiles, shifts, strict=True)]),
        np.concatenate([t.classes for t in tiles]),
        np.concatenate(masks),
        np.concatenate([t.has_mask for t in tiles]),
        np.concatenate([t.ignored + s for t, s in zip(tiles, shifts, strict=True)]),
        all(t.complete for t in tiles),
        semantic,
        known,
    )


def _outer(box: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches."""
    x1, y1 = np.floor(box[:2]).astype(int)
    x2, y2 = np.ceil(box[2:]).astype(int)
    return max(int(x1), 0), max(int(y1), 0), min(int(x2), size[1]), min(int(y2), size[0])


def _stack_boxes(boxes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 4)
