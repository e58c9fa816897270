# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Time of a Segmenter beside that of the plain two-output forward, on the same weights.

The graph has the published model's structure and size and random weights: they cost the same time
as trained ones. The threshold is chosen such that about as many instances survive as asked for.

    pip install tensorboard
    python benchmarks/segmenter_speed.py
"""
from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(1, str(REPOSITORY))  # the trainer is not installed

from instance_seg_ros import Segmenter  # noqa: E402
from training.graph.random_model import write_random_model  # noqa: E402

PHOTO = REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'
NMS_THRESHOLD = 0.4
# Number 67 of the COCO model has no class; random weights that prefer it would find nothing.
CLASS_BIAS = {67 + 1: -30.0}

Image = NDArray[np.uint8]
Contender = Callable[[], object]


class PlainNetwork:
    """What a script for this model does: one forward for both outputs, masks of the whole frame."""

    def __init__(self, weights: Path, text_graph: Path, confidence_threshold: float) -> None:
        engine = {'engine': cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, 'ENGINE_CLASSIC') else {}
        self.net = cv2.dnn.readNetFromTensorflow(str(weights), str(text_graph), **engine)
        self.confidence_threshold = confidence_threshold

    def __call__(self, image: Image) -> list[Image]:
        height, width = image.shape[:2]
        self.net.setInput(cv2.dnn.blobFromImage(image, swapRB=True, crop=False))
        rows, masks = self.net.forward(['detection_out_final', 'detection_masks'])
        rows = rows.reshape(-1, 7)
        boxes = (rows[:, 3:] * (width, height, width, height)).astype(int)
        sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        keep = cv2.dnn.NMSBoxesBatched(
            sizes.tolist(), rows[:, 2].tolist(), rows[:, 1].astype(int).tolist(),
            self.confidence_threshold, NMS_THRESHOLD)
        return [self.full_mask(image, masks[i, int(rows[i, 1])], boxes[i]) for i in keep]

    def full_mask(self, image: Image, mask: NDArray[np.float32], box: NDArray[np.int_]) -> Image:
        x1, y1, x2, y2 = box
        full = np.zeros(image.shape[:2], np.uint8)
        if x2 > x1 and y2 > y1:
            full[y1:y2, x1:x2] = cv2.resize(mask, (int(x2 - x1), int(y2 - y1))) > 0.5
        return full


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=15, help='of each; %(default)s')
    parser.add_argument('--instances', type=int, default=10, help='about so many; %(default)s')
    parser.add_argument('--sizes', nargs='+', default=['800x600', '640x480'], help='%(default)s')
    arguments = parser.parse_args()
    print(f'OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads, medians of '
          f'{arguments.repeats} interleaved repeats')
    with tempfile.TemporaryDirectory() as folder:
        weights, text_graph = write_random_model(folder, class_bias=CLASS_BIAS)
        for size in arguments.sizes:
            width, height = (int(side) for side in size.split('x'))
            image = cv2.resize(cv2.imread(str(PHOTO)), (width, height)).astype(np.uint8)
            compare(image, weights, text_graph, arguments.instances, arguments.repeats)


def compare(image: Image, weights: Path, text_graph: Path, count: int, repeats: int) -> None:
    """Measure all on one image and print it."""
    segmenter = Segmenter(
        model_path=weights, text_graph_path=text_graph,
        labels_path=REPOSITORY / 'models' / 'coco_labels.txt', refiner='none',
        nms_threshold=NMS_THRESHOLD, input_max_side=max(image.shape))
    tune(segmenter, image, count)
    person = Segmenter(model='person_mask_rcnn', refiner='none', nms_threshold=NMS_THRESHOLD)
    tune(person, image, count)
    plain = PlainNetwork(weights, text_graph, segmenter.confidence_threshold)
    contenders: dict[str, Contender] = {
        'plain forward, full-size graph': lambda: plain(image),
        'Segmenter, full-size graph': lambda: segmenter(image),
        'Segmenter, full-size graph, boxes only': lambda: segmenter(image, masks=False),
        f'Segmenter, person_mask_rcnn at {person.manifest.input_max_side}': lambda: person(image),
        'Segmenter, person_mask_rcnn, boxes only': lambda: person(image, masks=False),
    }
    found = len(plain(image)), len(segmenter(image)), len(person(image))
    medians = measure(contenders, repeats)
    print(f'{image.shape[1]}x{image.shape[0]}; instances found: plain {found[0]}, '
          f'Segmenter {found[1]}, person model {found[2]}')
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f'  {name:44} {1e3 * median:8.1f} ms  {first / median:6.2f} x as fast')


def tune(segmenter: Segmenter, image: Image, count: int) -> None:
    """Set the confidence threshold that lets about ``count`` instances through."""
    segmenter.confidence_threshold = 0.01
    scores = segmenter(image, masks=False).scores
    segmenter.confidence_threshold = float(scores[min(count, len(scores)) - 1])


def measure(contenders: dict[str, Contender], repeats: int) -> dict[str, float]:
    """Return the median seconds of each; they take turns, so that a disturbance meets all."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if repeat:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


if __name__ == '__main__':
    main()
