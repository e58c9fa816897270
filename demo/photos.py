# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The sample photos; README.md has their sources and licences."""

from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parent / 'photos'
# So that one frame has several people.
SIDE_BY_SIDE = ('astronaut', 'grace_hopper', 'camera')


def load_photos() -> dict[str, np.ndarray]:
    """Return the photos by name, uint8 (height, width, 3) BGR."""
    photos = {path.stem: _read(path) for path in sorted(FOLDER.glob('*.jpg'))}
    photos['side_by_side'] = _beside([photos[name] for name in SIDE_BY_SIDE])
    return photos


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f'{path} cannot be read as an image')
    return image


def _beside(images: list[np.ndarray], height: int = 480) -> np.ndarray:
    return np.hstack(
        [
            cv2.resize(
                image,
                (round(image.shape[1] * height / image.shape[0]), height),
                interpolation=cv2.INTER_AREA,
            )
            for image in images
        ]
    )
