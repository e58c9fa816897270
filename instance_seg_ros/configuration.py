# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What an image is segmented with, and an image whose masks are still to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection import Detections
from instance_seg_ros.refinement.interface import Refiner
from instance_seg_ros.regions import Region
from instance_seg_ros.settings import Settings


@dataclass(frozen=True)
class Configuration:
    """Checked settings and all that was loaded for them. A frame uses one from start to end.

    Attributes:
        settings: as they were given.
        class_ids: ids of the classes to keep.
        thresholds: lowest score of the classes that have one of their own, by class id.
        tiles: columns and rows of the tiles that an image is also segmented in.
        refiner: what turns coarse masks into those of the image.
    """

    settings: Settings
    class_ids: frozenset[int]
    thresholds: Mapping[int, float]
    tiles: tuple[int, int]
    refiner: Refiner


@dataclass(frozen=True, eq=False)
class PendingInstances:
    """Instances with boxes, whose masks are still to be computed.

    :meth:`Segmenter.detect` returns them for :meth:`Segmenter.finish`.

    Attributes:
        image: uint8 (H, W, 3), BGR, as it was given.
        detections: all that the box network found.
        boxes: float32 (N, 4) of the detections, x1, y1, x2, y2 in pixels of the image.
        keep: positions of the detections that survive threshold, class filter and NMS, best first.
        masks: whether masks are wanted.
        configuration: what the image is segmented with.
        milliseconds: that the boxes took.
        tiles: the same for each tile; with tiles, the boxes are known only with the masks.
    """

    image: NDArray[np.uint8]
    detections: Detections
    boxes: NDArray[np.float32]
    keep: NDArray[np.intp]
    masks: bool
    configuration: Configuration
    milliseconds: float
    tiles: tuple[tuple[Region, PendingInstances], ...] = ()
