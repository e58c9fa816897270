# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training samples: a photo, scaled, shifted, flipped, recoloured, blurred, with parts erased;
mosaics; objects pasted from other photos.

Copy-paste follows Ghiasi et al. 2021 (arXiv 2012.07177), mosaics Bochkovskiy et al. 2020 (arXiv
2004.10934), erased parts Zhong et al. 2017 (arXiv 1708.04896).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.detector.dataset import SEMANTIC_SCALE, UNKNOWN, Annotation, Photo
from training.graph.network import FEATURE_STRIDE

MASK_SCALE = 2
_MIN_VISIBLE = 0.25
_MIN_SIDE = (
    16.0  # of the longer side in pixels: what is smaller is ignored, one cell of the features
)
_MIN_PASTE_AREA = 600


@dataclass(frozen=True)
class Augmentation:
    """How strongly training samples vary; probabilities 0 to 1.

    Attributes:
        scale: smallest and largest factor beside fitting the photo into the sample.
        aim: probability that a photo larger than the sample is cut so that it shows a certain
            object.
        stretch: largest change of the aspect ratio, as a factor.
        blur: probability of a loss of sharpness, as by motion, focus or a cheap camera.
        erase: probability of patches of plain colour or noise over a part.
        mosaic: probability of four photos in one sample.
        paste: probability of objects pasted from other photos.
    """

    scale: tuple[float, float] = (0.6, 2.4)
    aim: float = 0.6
    stretch: float = 1.2
    flip: float = 0.5
    colour: float = 0.8
    gray: float = 0.08
    blur: float = 0.15
    erase: float = 0.25
    mosaic: float = 0.2
    paste: float = 0.4

    def without_composites(self) -> Augmentation:
        """Return the same with neither mosaics nor pasted objects, for the last part of a
        training.
        """
        return replace(self, mosaic=0.0, paste=0.0)


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


@dataclass
class _Object:
    box: NDArray[np.float32]
    class_index: int
    mask: NDArray[np.uint8] | None  # (H / 2, W / 2), 0 to 255
    visible: float
    ignore: bool


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
        image, objects, semantic, known = _transform(self.photos[index], size, augmentation, rng)
        if self.pasteable and rng.random() < augmentation.paste:
            for _ in range(rng.integers(1, 4)):
                image, objects = self._paste(image, objects, semantic, rng)
        image = _recolour(image, augmentation, rng)
        image = _erase(_blur(image, augmentation, rng), augmentation, rng)
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
        objects: list[_Object],
        semantic: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], list[_Object]]:
        photo_index, object_index = self.pasteable[rng.integers(len(self.pasteable))]
        photo = self.photos[photo_index]
        annotation = photo.annotations[object_index]
        x1, y1, x2, y2 = _outer(annotation.box, photo.size)
        source = _recolour(photo.read()[y1:y2, x1:x2], self.augmentation, rng)
        mask = coco_mask.decode(annotation.rle)[y1:y2, x1:x2] * np.uint8(255)
        height, width = image.shape[:2]
        factor = (
            np.exp(rng.uniform(np.log(0.15), np.log(0.9))) * min(height, width) / max(mask.shape)
        )
        if factor > 2.5:  # a blown-up thumbnail teaches blur
            return image, objects
        h, w = mask.shape[0] * factor, mask.shape[1] * factor
        matrix = _matrix(
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
        covered = [_hide(o, small) for o in objects]
        rows, columns = semantic.shape
        semantic[cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_AREA) > 127] = UNKNOWN
        visible = (
            float((small > 127).sum())
            * MASK_SCALE**2
            / max(float((mask > 0).sum()) * factor**2, 1.0)
        )
        return image, [
            *covered,
            _Object(_box_of(small), annotation.class_index, small, visible, False),
        ]


def _transform(
    photo: Photo, size: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[_Object], NDArray[np.uint8], NDArray[np.bool_]]:
    """Scale, stretch, shift and flip one photo into ``size``."""
    image = photo.read()[..., ::-1]
    (height, width), (h, w) = size, photo.size
    factor = min(width / w, height / h) * np.exp(rng.uniform(*np.log(augmentation.scale)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(augmentation.stretch) / 2)
    sx, sy = factor * stretch, factor / stretch
    flip = rng.random() < augmentation.flip
    dx, dy = (rng.uniform(min(0, room), max(0, room)) for room in (width - w * sx, height - h * sy))
    if photo.annotations and rng.random() < augmentation.aim:
        x, y = _somewhere_in(photo.annotations[rng.integers(len(photo.annotations))].box, rng)
        dx = _show(w - x if flip else x, sx, w, width, dx, rng)
        dy = _show(y, sy, h, height, dy, rng)
    matrix = _matrix(sx, sy, dx, dy, w, flip)
    if factor < 0.6:  # warpAffine does not average: shrink first
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        warp = matrix @ np.diag([w / image.shape[1], h / image.shape[0], 1.0])
    else:
        warp = matrix
    fill = rng.integers(0, 256, 3).tolist()
    out = cv2.warpAffine(image, warp, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
    objects = [_warp_object(a, matrix, size) for a in photo.annotations]
    assert photo.semantic is not None and photo.known is not None
    shape = -(-height // FEATURE_STRIDE), -(-width // FEATURE_STRIDE)
    to_cells = (
        np.diag([1 / FEATURE_STRIDE, 1 / FEATURE_STRIDE])
        @ matrix
        @ np.diag([SEMANTIC_SCALE, SEMANTIC_SCALE, 1.0])
    )
    semantic = cv2.warpAffine(
        photo.semantic, to_cells, shape[::-1], flags=cv2.INTER_NEAREST, borderValue=0
    )
    return out, objects, semantic, np.broadcast_to(photo.known, (*shape, len(photo.known)))


def _somewhere_in(box: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(box[0], box[2])), float(rng.uniform(box[1], box[3]))


def _show(
    point: float, scale: float, source: float, target: int, shift: float, rng: np.random.Generator
) -> float:
    """Shift along one axis that keeps a point in sight, where the photo is larger than the
    sample.
    """
    if source * scale <= target:
        return shift
    lowest, highest = target - source * scale, 0.0
    return float(np.clip(rng.uniform(0.15, 0.85) * target - point * scale, lowest, highest))


def _matrix(
    sx: float, sy: float, dx: float, dy: float, width: int, flip: bool
) -> NDArray[np.float64]:
    if flip:
        return np.array([[-sx, 0, dx + width * sx], [0, sy, dy]])
    return np.array([[sx, 0, dx], [0, sy, dy]])


def _warp_object(
    annotation: Annotation, matrix: NDArray[np.float64], size: tuple[int, int]
) -> _Object:
    x1, y1, x2, y2 = annotation.box
    xs = sorted((matrix[0, 0] * x1 + matrix[0, 2], matrix[0, 0] * x2 + matrix[0, 2]))
    ys = matrix[1, 1] * y1 + matrix[1, 2], matrix[1, 1] * y2 + matrix[1, 2]
    whole = np.array([xs[0], ys[0], xs[1], ys[1]], np.float32)
    height, width = size
    box = np.clip(whole, 0, [width, height, width, height]).astype(np.float32)
    visible = _area(box) / max(_area(whole), 1e-6)
    if annotation.rle is None or annotation.ignore:
        return _Object(box, annotation.class_index, None, visible, annotation.ignore)
    mask = coco_mask.decode(annotation.rle)
    full_area = float(mask.sum()) * abs(matrix[0, 0] * matrix[1, 1]) / MASK_SCALE**2
    warped = cv2.warpAffine(
        mask * np.uint8(255), matrix / MASK_SCALE, (width // MASK_SCALE, height // MASK_SCALE)
    )
    area = float((warped > 127).sum())
    if area == 0:
        return _Object(box, annotation.class_index, None, 0.0, False)
    return _Object(
        _box_of(warped) if visible < 0.999 else box,
        annotation.class_index,
        warped,
        area / max(full_area, 1e-6),
        False,
    )


def _hide(thing: _Object, cover: NDArray[np.uint8]) -> _Object:
    """What is left of an object behind a pasted one."""
    if thing.mask is None:
        x1, y1, x2, y2 = (thing.box / MASK_SCALE).astype(int)
        hidden = float((cover[y1:y2, x1:x2] > 127).mean()) if x2 > x1 and y2 > y1 else 1.0
        return replace(thing, visible=thing.visible * (1 - hidden))
    before = float((thing.mask > 127).sum())
    mask = np.minimum(thing.mask, 255 - cover)
    after = float((mask > 127).sum())
    if after == 0:
        return replace(thing, visible=0.0)
    return replace(
        thing, mask=mask, box=_box_of(mask), visible=thing.visible * after / max(before, 1.0)
    )


def _finish(
    image: NDArray[np.uint8],
    objects: list[_Object],
    semantic: NDArray[np.uint8],
    known: NDArray[np.bool_],
    complete: bool,
) -> Sample:
    objects = [o for o in objects if _area(o.box) > 0]

    def too_little(o: _Object) -> bool:
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


def _recolour(
    image: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation and white balance, as one affine map of the three
    channels.
    """
    if rng.random() < augmentation.gray:
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() >= augmentation.colour:
        return image
    saturation = rng.uniform(0.4, 1.5)
    mix = saturation * np.eye(3) + (1 - saturation) / 3 * np.ones((3, 3))
    gains = rng.uniform(0.6, 1.4) * rng.uniform(0.9, 1.1, 3)
    contrast = rng.uniform(0.7, 1.3)
    mean = float(image.mean())
    offset = mean * (1 - contrast) + rng.uniform(-25, 25)
    return cv2.transform(
        image, np.column_stack([contrast * gains[:, None] * mix, np.full(3, offset)])
    )


def _blur(
    image: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if rng.random() >= augmentation.blur:
        return image
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 2.0))
    if kind == 1:
        quality = int(rng.integers(15, 60))
        encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return np.asarray(decoded, np.uint8)
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(4, 20)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _erase(
    image: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if rng.random() >= augmentation.erase:
        return image
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 5)):
        h, w = (int(side * rng.uniform(0.05, 0.25)) for side in (height, width))
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        noise = rng.integers(0, 256, (h, w, 3), np.uint8)
        image[y : y + h, x : x + w] = noise if rng.random() < 0.3 else noise[0, 0]
    return image


def _outer(box: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches."""
    x1, y1 = np.floor(box[:2]).astype(int)
    x2, y2 = np.ceil(box[2:]).astype(int)
    return max(int(x1), 0), max(int(y1), 0), min(int(x2), size[1]), min(int(y2), size[0])


def _box_of(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Box in sample pixels around a half-size mask that is not empty."""
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) * MASK_SCALE


def _area(box: NDArray[np.float32]) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _stack_boxes(boxes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 4)
