# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What of an image counts: regions, and pixels to ignore such as those of the robot itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import read_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.rois import trim_to_masks

MOSTLY = 0.5  # an instance with more than this part of its box on ignored pixels is dropped


@dataclass(frozen=True)
class Region:
    """A part of an image, pixels."""

    x: int
    y: int
    width: int
    height: int

    def view(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels of an image (H, W, 3); nothing is copied.

        Raises:
            ImageError: the region is not inside the image.
        """
        height, width = image.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise ImageError(
                f'the image is {width} x {height}: expected one that has the region '
                f'{self.width}x{self.height}+{self.x}+{self.y}'
            )
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def moved(self, instances: Instances, image_size: tuple[int, int]) -> Instances:
        """Return instances of the region in pixels of the image, whose size is height, width."""
        boxes = instances.boxes + np.array([self.x, self.y] * 2, np.float32)
        rois = instances.rois + np.array([self.x, self.y, 0, 0], np.int32)
        return replace(instances, boxes=boxes, rois=rois, image_size=image_size)


def read_ignore_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask of what is ignored: all pixels that are not black.

    Returns:
        bool (H, W), True where pixels are ignored.

    Raises:
        ValueError: there is no such image.
    """
    try:
        image = read_image(path)
    except ImageError as error:
        raise ValueError(
            f"ignore_mask {error}. Expected a PNG of the size of the camera's images, white where "
            'pixels are ignored'
        ) from None
    return image.max(axis=2) > 0


def apply_ignore_mask(instances: Instances, ignored: NDArray[np.bool_]) -> Instances:
    """Drop instances whose boxes are mostly on ignored pixels, and cut the masks of the others.

    Args:
        instances: with or without masks: the same ones are dropped.
        ignored: bool (H, W), of the size of the image.

    Raises:
        ImageError: of another size than the image.
    """
    if ignored.shape != tuple(instances.image_size):
        height, width = instances.image_size
        raise ImageError(
            f'the ignore mask is {ignored.shape[1]} x {ignored.shape[0]}, the image {width} x '
            f'{height}: expected the same size'
        )
    kept = [
        index for index, box in enumerate(instances.boxes) if _ignored_part(box, ignored) <= MOSTLY
    ]
    rest = instances[kept]
    if rest.masks is None:
        return rest
    masks = [
        mask * ~ignored[y : y + h, x : x + w]
        for mask, (x, y, w, h) in zip(rest.masks, rest.rois.tolist(), strict=True)
    ]
    rois, masks = trim_to_masks(rest.rois, masks)
    return replace(rest, rois=rois, masks=masks)


def _ignored_part(box: NDArray[np.float32], ignored: NDArray[np.bool_]) -> float:
    height, width = ignored.shape
    x1, y1 = np.floor(box[:2]).astype(int).clip(0)
    x2, y2 = np.ceil(box[2:]).astype(int).clip(0, (width, height))
    region = ignored[y1:y2, x1:x2]
    return float(region.mean()) if region.size else 0.0
