# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One container of parallel arrays for everything that was found in a frame."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.images import check_image
from instance_seg_ros.run_lengths import run_lengths_in

MAX_CLASS_ID = 254  # of a class image, whose pixels are bytes and 0 is background
_TYPES: dict[str, Any] = {
    'boxes': np.float32,
    'scores': np.float32,
    'class_ids': np.int32,
    'rois': np.int32,
    'refined': np.bool_,
    'coarse': np.float32,
    'track_ids': np.int64,
}
_PARALLEL = (
    'scores',
    'class_ids',
    'class_names',
    'rois',
    'masks',
    'refined',
    'coarse',
    'track_ids',
)


@dataclass(eq=False)
class Instances:
    """Instances of one frame, sorted by descending score. It may be empty.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the source image.
        scores: float32 (N,), 0 to 1.
        class_ids: int32 (N,), in the model's own numbering.
        class_names: N names.
        rois: int32 (N, 4), x, y, width, height in whole pixels, inside the image: as large as the
            mask, which can reach beyond the box; without masks the pixels that the box touches.
        masks: N arrays uint8 (height, width) of the roi, 0 or 1; None where the mask stage did not
            run.
        refined: bool (N,), whether the refiner in use sharpened the mask. With a learned one it is
            False where the time budget left the mask to the smoother.
        image_size: (height, width) of the source image.
        coarse: float32 (N, M, M), the mask head's raw probabilities over each box; None without
            masks, and where tiles were put together.
        track_ids: int64 (N,), ids from 1 on that last from frame to frame; None where nothing
            tracks the instances.
        timings: milliseconds of each stage of the frame that these were found in: ``detect``,
            ``masks`` and ``refine``; empty where they were not measured.

    Lists are taken as well, as from JSON. Two containers are equal only if they are the same.

    Raises:
        ValueError: the arrays are not parallel.

    Examples:
        >>> instances.boxes.shape, instances.scores.shape, len(instances.masks)
        ((1, 4), (1,), 1)
        >>> for instance in instances:  # each a container of one
        ...     print(instance.class_names[0], bool(instance.scores[0] > 0.5))
        person True
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    class_names: list[str]
    rois: NDArray[np.int32]
    masks: list[NDArray[np.uint8]] | None
    refined: NDArray[np.bool_]
    image_size: tuple[int, int]
    coarse: NDArray[np.float32] | None = None
    timings: dict[str, float] = field(default_factory=dict)
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check that every array has as many rows as there are boxes."""
        for name, dtype in _TYPES.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, np.ndarray):
                array = np.asarray(value, dtype)
                rows = (-1, 4) if name in ('boxes', 'rois') else array.shape  # also of empty lists
                setattr(self, name, array.reshape(rows))
        masks = self.masks
        if masks is not None and len(masks) and not isinstance(masks[0], np.ndarray):
            self.masks = [np.asarray(mask, np.uint8) for mask in masks]
        self.image_size = (int(self.image_size[0]), int(self.image_size[1]))
        count = len(self.boxes)
        for name in _PARALLEL:
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise ValueError(
                    f'{name} has {len(value)} rows, boxes has {count}: expected as many'
                )

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Instances:
        """Return the result of a frame of (height, width) in which nothing was found.

        Examples:
            >>> len(Instances.empty((480, 640)))
            0
        """
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            [],
            np.zeros((0, 4), np.int32),
            [],
            np.zeros(0, bool),
            image_size,
        )

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.boxes)

    def __iter__(self) -> Iterator[Instances]:
        """Yield each instance as a container of one."""
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: SupportsIndex | slice | Sequence[Any] | NDArray[Any]) -> Instances:
        """Select instances by position, slice, boolean mask or array of positions.

        Raises:
            IndexError: a position or the length of a boolean mask does not fit, or it is no index.

        Examples:
            >>> large = instances[instances.rois[:, 2] > 100]
            >>> large.class_names, instances[:0].class_names
            (['person'], [])
        """
        rows = self._rows(index)
        return Instances(
            self.boxes[rows],
            self.scores[rows],
            self.class_ids[rows],
            [self.class_names[i] for i in rows],
            self.rois[rows],
            None if self.masks is None else [self.masks[i] for i in rows],
            self.refined[rows],
            self.image_size,
            None if self.coarse is None else self.coarse[rows],
            self.timings,
            None if self.track_ids is None else self.track_ids[rows],
        )

    def _rows(self, index: Any) -> NDArray[np.intp]:
        rows = np.arange(len(self))
        if isinstance(index, slice) or index is Ellipsis:
            return rows[index]
        try:
            if not isinstance(index, (bool, np.bool_)):
                return rows[[operator.index(index)]]
        except TypeError:  # not a single position
            pass
        try:
            chosen = np.asarray(index)
        except ValueError:  # lists of several lengths
            chosen = np.asarray(None)
        if chosen.size == 0 and chosen.dtype != np.bool_:
            chosen = chosen.astype(np.intp)  # an empty list has no type of its own
        if chosen.ndim != 1 or chosen.dtype.kind not in 'iub':
            raise IndexError(
                f'{index!r}: expected a position, a slice, a list of positions, or a bool for each '
                f'of {len(self)} instances'
            )
        return rows[chosen]

    def full_mask(self, i: int) -> NDArray[np.uint8]:
        """Return the mask of instance ``i`` over the whole image, uint8 (H, W), 0 or 1.

        Examples:
            >>> mask = instances.full_mask(0)
            >>> mask.shape, int(mask.max())
            ((512, 512), 1)
            >>> grey_person = image[mask > 0].mean()
        """
        full = np.zeros(self.image_size, np.uint8)
        x, y, w, h = self.rois[i]
        full[y : y + h, x : x + w] = self._masks()[i]
        return full

    def label_image(self) -> NDArray[np.uint16]:
        """Return uint16 (H, W): 0 is background, else position + 1; the best score lies on top.

        Examples:
            >>> labels = instances.label_image()
            >>> np.unique(labels).tolist()  # background and the only instance
            [0, 1]
        """
        return self._painted(np.arange(1, len(self) + 1, dtype=np.uint16))

    def class_image(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W): 0 is background, else class id + 1; the best score lies on top.

        Raises:
            ValueError: a class id is above MAX_CLASS_ID; there are no masks.

        Examples:
            >>> np.unique(instances.class_image()).tolist()  # background and class id 0
            [0, 1]
        """
        if len(self) and self.class_ids.max() > MAX_CLASS_ID:
            raise ValueError(
                f'class id {self.class_ids.max()}: expected at most {MAX_CLASS_ID}, as a class '
                'image has one byte a pixel'
            )
        return self._painted(self.class_ids.astype(np.uint8) + np.uint8(1))

    def confidence_image(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W): the score in 1/255, 0 for background; the best lies on top.

        Examples:
            >>> int(instances.confidence_image().max()) == round(float(instances.scores[0]) * 255)
            True
        """
        return self._painted(np.rint(self.scores * 255).astype(np.uint8))

    def _painted(self, values: NDArray[Any]) -> NDArray[Any]:
        image = np.zeros(self.image_size, values.dtype)
        masks = self._masks()
        for i in np.argsort(-self.scores, kind='stable')[::-1].tolist():
            x, y, w, h = self.rois[i]
            image[y : y + h, x : x + w][masks[i] > 0] = values[i]
        return image

    def cutout(self, image: NDArray[Any], i: int) -> NDArray[np.uint8]:
        """Return instance ``i`` without its background.

        Args:
            image: the source image, uint8 (H, W, 3) BGR.
            i: position of the instance.

        Returns:
            uint8 (h, w, 4) BGRA of the roi, alpha 0 outside the mask.

        Raises:
            ImageError: not such an image.
            ValueError: the image is not of the size that was segmented, or there are no masks.

        Examples:
            >>> cutout = instances.cutout(image, 0)
            >>> cutout.shape[2], np.unique(cutout[..., 3]).tolist()
            (4, [0, 255])
            >>> written = cv2.imwrite('person.png', cutout)
        """
        if isinstance(image, np.ndarray) and image.shape != (*self.image_size, 3):
            raise ValueError(
                f'image has the shape {image.shape}: expected {(*self.image_size, 3)}, the frame '
                'that these instances were found in'
            )
        check_image(image)
        x, y, w, h = self.rois[i]
        alpha = self._masks()[i] * np.uint8(255)
        return np.dstack([image[y : y + h, x : x + w], alpha])

    def to_coco(
        self, image_id: int = 0, category_ids: Mapping[int, int] | None = None
    ) -> list[dict[str, Any]]:
        """Convert to COCO result dictionaries.

        Args:
            image_id: COCO id of the image.
            category_ids: class id to COCO category id; the class ids themselves by default.

        Returns:
            One dictionary per instance: ``image_id``, ``category_id``, ``score``, ``bbox``
            (x, y, width, height in pixels), where there are masks ``segmentation`` (run lengths
            over the whole image as pycocotools writes them, as text), and where there are track
            ids ``track_id``.

        Raises:
            ValueError: ``category_ids`` lacks a class id that was found.

        Examples:
            >>> result, = instances.to_coco(image_id=7, category_ids={0: 1})
            >>> result['image_id'], result['category_id'], result['segmentation']['size']
            (7, 1, [512, 512])
        """
        results = []
        for i in range(len(self)):
            class_id = int(self.class_ids[i])
            x1, y1, x2, y2 = (float(v) for v in self.boxes[i])
            result: dict[str, Any] = {
                'image_id': image_id,
                'category_id': _category(class_id, category_ids),
                'score': float(self.scores[i]),
                'bbox': [x1, y1, x2 - x1, y2 - y1],
            }
            if self.masks is not None:
                result['segmentation'] = self._run_lengths(i)
            if self.track_ids is not None:
                result['track_id'] = int(self.track_ids[i])
            results.append(result)
        return results

    def _run_lengths(self, i: int) -> dict[str, Any]:
        from pycocotools import mask as coco_mask  # only those who export need it

        counts = run_lengths_in(self._masks()[i], self.rois[i], self.image_size).tolist()
        size = list(self.image_size)
        rle = coco_mask.frPyObjects({'size': size, 'counts': counts}, *size)
        return {'size': size, 'counts': rle['counts'].decode('ascii')}

    def _masks(self) -> list[NDArray[np.uint8]]:
        if self.masks is None:
            raise ValueError('there are no masks: the frame was segmented with masks=False')
        return self.masks


def _category(class_id: int, category_ids: Mapping[int, int] | None) -> int:
    if category_ids is None:
        return class_id
    if class_id not in category_ids:
        raise ValueError(
            f'category_ids has no class id {class_id}, which was found: expected a category for '
            'each class of the model'
        )
    return category_ids[class_id]
