# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A COCO data set that is small enough to train on in a test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIDE = 96


@dataclass
class ToyData:
    """Its files, and its content to change and write again."""

    annotations: Path
    images: Path
    content: dict[str, Any]

    def save(self) -> None:
        """Write the content as it now is."""
        self.annotations.write_text(json.dumps(self.content))


def write_toy_data(folder: Path, count: int = 8) -> ToyData:
    """Write images of noise with a bright rectangle, and their annotations."""
    images = folder / 'images'
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    content: dict[str, Any] = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 7, 'name': 'box'}, {'id': 9, 'name': 'ball'}],
    }
    for i in range(count):
        image = rng.integers(0, 90, (SIDE, SIDE, 3), np.uint8)
        x, y, w, h = 20 + i, 25, 40, 50
        image[y : y + h, x : x + w] = (40, 200, 250)
        cv2.imwrite(str(images / f'{i}.png'), image)
        content['images'].append({'id': i, 'file_name': f'{i}.png', 'width': SIDE, 'height': SIDE})
        content['annotations'].append(
            {
                'id': i,
                'image_id': i,
                'category_id': 7,
                'iscrowd': 0,
                'bbox': [x, y, w, h],
                'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
        )
    data = ToyData(folder / 'annotations.json', images, content)
    data.save()
    return data
