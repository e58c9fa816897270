# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instances as a robot sees them: what random weights detect are specks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros import Instances
from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.rois import clip_rois


def people(height: int, width: int, count: int) -> Instances:
    """Return instances of the size of people in front of a camera, with ragged outlines."""
    random = np.random.default_rng(0)
    tall = random.uniform(0.3, 0.8, count) * height
    centre = np.stack(
        [
            random.uniform(0.1, 0.9, count) * width,
            height - tall / 2 - random.uniform(0, 0.2, count) * height,
        ],
        1,
    )
    half = np.stack([0.2 * tall, 0.5 * tall], 1)
    boxes = (
        np.concatenate([centre - half, centre + half], 1)
        .clip(0, (width, height, width, height))
        .astype(np.float32)
    )
    y, x = np.mgrid[0:15, 0:15]
    blob = 1.3 - np.hypot((x - 7) / 6, (y - 7) / 7)
    coarse = (blob + random.normal(0, 0.15, (count, 15, 15))).clip(0, 1).astype(np.float32)
    instances = Instances(
        boxes=boxes,
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.zeros(count, np.int32),
        class_names=['person'] * count,
        rois=clip_rois(boxes, height, width),
        masks=None,
        refined=np.zeros(count, bool),
        image_size=(height, width),
        coarse=coarse,
    )
    instances.masks = pasted(instances)
    return instances


def pasted(instances: Instances) -> list[NDArray[np.uint8]]:
    """Return the plain resized masks of their ROIs, 0 or 1."""
    assert instances.coarse is not None
    return [
        (paste(mask, box, (x, y), (1, 1), (h, w), outside=True) >= 0.5).astype(np.uint8)
        for mask, box, (x, y, w, h) in zip(
            instances.coarse, instances.boxes, instances.rois.tolist(), strict=True
        )
    ]
