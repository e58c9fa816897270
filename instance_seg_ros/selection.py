# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which of the detections become instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.configuration import Configuration
from instance_seg_ros.detection import Detections
from instance_seg_ros.detection.nms import suppress


def select_detections(
    detections: Detections, boxes: NDArray[np.float32], configuration: Configuration
) -> NDArray[np.intp]:
    """Return the positions of the detections to keep, best first.

    They survive the thresholds, the smallest area, the class filter and NMS, in this order.

    Args:
        detections: all that the network found.
        boxes: float32 (N, 4) of them, x1, y1, x2, y2 in pixels of the image.
        configuration: with the thresholds and classes.
    """
    settings = configuration.settings
    usable = detections.scores >= settings.confidence_threshold
    for class_id, threshold in configuration.thresholds.items():
        of_class = detections.class_ids == class_id
        usable[of_class] = detections.scores[of_class] >= threshold
    if settings.min_area:
        usable &= np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) >= settings.min_area
    usable &= np.isin(detections.class_ids, list(configuration.class_ids))
    candidates = np.flatnonzero(usable)
    kept = suppress(
        boxes[candidates].astype(np.float64),
        detections.class_ids[candidates],
        settings.nms_threshold,
    )
    return candidates[kept][: settings.max_instances]
