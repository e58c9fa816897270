# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How strongly samples vary, and what changes their pixels alone: colours, blur, erased parts.

Erased parts: Zhong et al. 2017 (arXiv 1708.04896).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray


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


def recolour(
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


def blur(
    image: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Loss of sharpness, of detail, or noise, in some images."""
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


def erase(
    image: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Patches of plain colour or noise, in some images."""
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
