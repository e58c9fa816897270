# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The library beside the naive script, on a graph of the published size with random weights.

Random weights cost the same time as trained ones. Thresholds are chosen such that a wanted number
of instances survives.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from naive import NMS_THRESHOLD, NaiveScript
from numpy.typing import NDArray
from timing import Spread, measure, ratios

from instance_seg_ros import Instances, Segmenter

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY))  # for the trainer; last, for the built package goes first

from training.graph.random_model import write_random_model  # noqa: E402

COCO_LABELS = REPOSITORY / 'models' / 'coco_labels.txt'
PHOTO = REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'
# Number 67 of the COCO model has no class; random weights that prefer it would find nothing.
CLASS_BIAS = {67 + 1: -30.0}
NAIVE = 'naive script'
PRESETS = ('exact', 'balanced', 'fast')


class FullSizeModel:
    """The published model's structure with random weights, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.weights, self.text_graph = write_random_model(folder, class_bias=CLASS_BIAS)

    def segmenter(self, **options: Any) -> Segmenter:
        """Return a Segmenter of it."""
        return Segmenter(
            model_path=self.weights,
            text_graph_path=self.text_graph,
            labels_path=COCO_LABELS,
            nms_threshold=NMS_THRESHOLD,
            **options,
        )


class Run:
    """A Segmenter at the confidence threshold that lets about ``count`` instances through."""

    def __init__(
        self, segmenter: Segmenter, image: NDArray[np.uint8], count: int, masks: bool = True
    ) -> None:
        self.segmenter, self.image, self.masks = segmenter, image, masks
        segmenter.confidence_threshold = 0.01
        scores = [*segmenter(image, masks=False).scores.tolist(), 0.01]
        last = min(count, len(scores) - 1)
        self.confidence_threshold = (scores[last - 1] + scores[last]) / 2

    def __call__(self) -> Instances:
        """Segment the image."""
        self.segmenter.confidence_threshold = self.confidence_threshold
        return self.segmenter(self.image, masks=self.masks)


def photo(width: int, height: int) -> NDArray[np.uint8]:
    """Return a real photo of that size, BGR."""
    image = cv2.imread(str(PHOTO))
    assert image is not None, f'{PHOTO} is missing'
    return cv2.resize(image, (width, height)).astype(np.uint8)


def measure_library(
    sizes: Sequence[tuple[int, int]], counts: Sequence[int], threads: Sequence[int], repeats: int
) -> Iterator[dict[str, Any]]:
    """Yield a record for every contender, size of image, and number of threads and instances."""
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        for number in threads:
            for size in sizes:
                cv2.setNumThreads(number)
                contenders = _contenders(model, photo(*size), counts)
                times = measure(contenders, repeats)
                for name, contender in contenders.items():
                    yield {
                        'contender': name,
                        'width': size[0],
                        'height': size[1],
                        'threads': number,
                        'instances': len(contender()),
                        'milliseconds': asdict(Spread.of(times[name])),
                        'times_as_fast': asdict(ratios(times[NAIVE], times[name])),
                    }


def _contenders(
    model: FullSizeModel, image: NDArray[np.uint8], counts: Sequence[int]
) -> dict[str, NaiveScript | Run]:
    middle = counts[len(counts) // 2]
    plain, refining = model.segmenter(refiner='none'), model.segmenter(refiner='auto')
    boxes_only = Run(plain, image, middle, masks=False)
    contenders: dict[str, NaiveScript | Run] = {
        NAIVE: NaiveScript(model.weights, model.text_graph, boxes_only.confidence_threshold, image),
        'boxes only': boxes_only,
    }
    for count in counts:
        contenders[f'plain masks, {count}'] = Run(plain, image, count)
        contenders[f'refiner {refining.refiner}, {count}'] = Run(refining, image, count)
    for preset in PRESETS[1:]:
        contenders[f'plain masks, {preset}'] = Run(
            model.segmenter(refiner='none', speed_preset=preset), image, middle
        )
    for name in ('everyday_mask_rcnn', 'person_mask_rcnn'):
        for preset in PRESETS:
            contenders[f'{name}, {preset}'] = Run(
                Segmenter(model=name, refiner='none', speed_preset=preset), image, middle
            )
    return contenders


def same_detections(width: int = 800, height: int = 600, count: int = 10) -> bool:
    """Whether the library's boxes, scores and mask probabilities are the naive script's bits."""
    image = photo(width, height)
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        segmenter = model.segmenter(refiner='none', input_max_side=max(width, height))
        run = Run(segmenter, image, count)
        naive = NaiveScript(model.weights, model.text_graph, run.confidence_threshold, image)
        instances, (rows, masks) = run(), naive.forward()
    keep = naive.kept(rows)
    boxes = rows[keep, 3:] * np.array([width, height, width, height], np.float32)
    assert instances.coarse is not None
    coarse = masks[keep, rows[keep, 1].astype(int)]
    return bool(
        np.array_equal(instances.boxes, boxes)
        and np.array_equal(instances.scores, rows[keep, 2])
        and np.array_equal(instances.coarse, coarse)
    )
