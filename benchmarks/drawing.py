# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Time of draw_instances beside that of supervision's annotators, on one frame of 20 instances.

pip install supervision
python benchmarks/drawing.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros import Instances, draw_instances
from instance_seg_ros.images import read_image

PHOTO = Path(__file__).parents[1] / 'demo' / 'photos' / 'astronaut.jpg'

Draw = Callable[[], NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--width', type=int, default=1280, help='of the frame; %(default)s')
    parser.add_argument('--height', type=int, default=720, help='of the frame; %(default)s')
    parser.add_argument('--instances', type=int, default=20, help='%(default)s')
    parser.add_argument('--repeats', type=int, default=60, help='of each; %(default)s')
    arguments = parser.parse_args()
    size = arguments.height, arguments.width
    frame, instances = make_frame(size), make_instances(size, arguments.instances)
    contenders = {
        'draw_instances': lambda: draw_instances(frame, instances),
        **supervision_annotators(frame, instances),
    }
    medians = measure(contenders, arguments.repeats)
    print(
        f'{size[1]}x{size[0]}, {len(instances)} instances, medians of {arguments.repeats} '
        'interleaved repeats'
    )
    own = medians['draw_instances']
    for name, median in medians.items():
        print(f'  {name:52} {1e3 * median:8.2f} ms  {median / own:6.2f} x')


def make_frame(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a real photo of that (height, width), BGR."""
    photo = read_image(PHOTO)
    return cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)


def make_instances(size: tuple[int, int], count: int) -> Instances:
    """Return instances with wavy outlines, some with a hole, of 8 to 35 % of the frame's width."""
    random = np.random.default_rng(0)
    height, width = size
    extent = np.stack(
        [random.uniform(0.08, 0.35, count) * width, random.uniform(0.15, 0.5, count) * height], 1
    )
    low = random.uniform(0, 1, (count, 2)) * (np.array([width, height]) - extent)
    rois = np.concatenate([low, extent], 1).astype(np.int32)
    boxes = np.concatenate([rois[:, :2], rois[:, :2] + rois[:, 2:]], 1).astype(np.float32)
    masks = [make_mask(w, h, random) for w, h in rois[:, 2:].tolist()]
    return Instances(
        boxes=boxes,
        scores=np.linspace(0.99, 0.5, count, dtype=np.float32),
        class_ids=np.zeros(count, np.int32),
        class_names=['person'] * count,
        rois=rois,
        masks=masks,
        refined=np.zeros(count, bool),
        image_size=size,
    )


def make_mask(width: int, height: int, random: np.random.Generator) -> NDArray[np.uint8]:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    waves = sum(np.sin(k * angle + random.uniform(0, 6)) / k for k in (2, 3, 5, 9, 17))
    radius = 0.42 + 0.04 * waves
    outline = np.stack(
        [(0.5 + radius * np.cos(angle)) * width, (0.5 + radius * np.sin(angle)) * height], 1
    )
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
    if random.random() < 0.25:
        cv2.circle(mask, (width // 2, height // 2), min(width, height) // 8, 0, cv2.FILLED)
    return mask


def supervision_annotators(frame: NDArray[np.uint8], instances: Instances) -> dict[str, Draw]:
    """Return supervision's way to the same picture; what it wants as input is made beforehand."""
    import supervision as sv

    masks = np.stack([instances.full_mask(i) for i in range(len(instances))]).astype(bool)
    detections = sv.Detections(
        xyxy=instances.boxes, mask=masks, confidence=instances.scores, class_id=instances.class_ids
    )
    labels = [
        f'{name} {score:.2f}'
        for name, score in zip(instances.class_names, instances.scores, strict=True)
    ]
    by_index = sv.ColorLookup.INDEX
    mask, box = sv.MaskAnnotator(color_lookup=by_index), sv.BoxAnnotator(color_lookup=by_index)
    outline = sv.PolygonAnnotator(color_lookup=by_index)
    label = sv.LabelAnnotator(color_lookup=by_index, smart_position=True)

    def draw(*, outlines: bool) -> NDArray[np.uint8]:
        scene = mask.annotate(frame.copy(), detections)
        if outlines:
            scene = outline.annotate(scene, detections)
        scene = box.annotate(scene, detections)
        return label.annotate(scene, detections, labels)

    return {
        'supervision: mask, box, label': lambda: draw(outlines=False),
        'supervision: mask, polygon, box, label': lambda: draw(outlines=True),
    }


def measure(contenders: dict[str, Draw], repeats: int) -> dict[str, float]:
    """Return the median time of each in seconds; they take turns, so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for draw in contenders.values():
        draw()
    for _ in range(repeats):
        for name, draw in contenders.items():
            started = time.perf_counter()
            draw()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == '__main__':
    main()
