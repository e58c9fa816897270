# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A COCO data set, as CVAT, FiftyOne and this package's training read it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from instance_seg_ros.labelling.labels import Label, LabelledImage, coco_run_lengths, outlines


class CocoDataset:
    """Collects images.

    Args:
        polygons: masks as outlines that a person can move points of, instead of run lengths.
    """

    def __init__(self, *, polygons: bool = False) -> None:
        self._polygons = polygons
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}

    def add(self, image: LabelledImage) -> None:
        """Add an image and its labels; ids are numbers from 1 on."""
        height, width = image.size
        image_id = len(self._images) + 1
        self._images.append(
            {'id': image_id, 'file_name': image.file_name, 'height': height, 'width': width}
        )
        for label in image.labels:
            self._names[label.category_id] = label.name
            self._annotations.append(self._annotation(label, image_id))

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        categories = [
            {'id': number, 'name': name, 'supercategory': ''}
            for number, name in sorted(self._names.items())
        ]
        return {
            'info': {'description': 'found by instance_seg_ros, not corrected'},
            'licenses': [],
            'images': self._images,
            'annotations': self._annotations,
            'categories': categories,
        }

    def _annotation(self, label: Label, image_id: int) -> dict[str, Any]:
        annotation = {
            'id': len(self._annotations) + 1,
            'image_id': image_id,
            'category_id': label.category_id,
            'segmentation': self._segmentation(label),
            'area': int(np.count_nonzero(label.mask)),
            'bbox': list(cv2.boundingRect(label.mask)),
            'iscrowd': 0,
            'score': round(label.score, 4),
        }
        if label.track_id is not None:
            annotation['track_id'] = label.track_id
        return annotation

    def _segmentation(self, label: Label) -> Any:
        if self._polygons:
            parts = [points.round(2).ravel().tolist() for points in outlines(label.mask)]
            if parts:
                return parts
        return coco_run_lengths(label.mask)
