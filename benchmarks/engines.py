# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Both engines beside each other: cv2.dnn and onnxruntime, this in float32 and in int8, with the
same weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from library import COCO_LABELS, PHOTO, FullSizeModel, Run, photo
from timing import Spread, measure, ratios

from instance_seg_ros import Segmenter
from instance_seg_ros.detection.onnx_calibration import observe_ranges, ranges_file, write_ranges

ENGINES = 'opencv', 'onnxruntime'
INT8 = 'onnxruntime int8'
FULL_SIZE = 'full size'
MODELS = FULL_SIZE, 'everyday_mask_rcnn', 'person_mask_rcnn'
_INSTANCES = 10

# Its own process each time: what is loaded stays so. Prints seconds and MB.
_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import cv2, numpy
from instance_seg_ros import Segmenter
from instance_seg_ros.memory import return_freed_memory

def memory():
    return_freed_memory()
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 1e6

image = cv2.resize(cv2.imread(sys.argv[2]), (800, 600))
before, started = memory(), time.perf_counter()
segmenter = Segmenter(**json.loads(sys.argv[1]))
seconds = time.perf_counter() - started
for _ in range(4):
    segmenter(image)
used = memory() - before
status = Path('/proc/self/status').read_text()  # ru_maxrss would be the parent's
peak = int(status.split('VmHWM:')[1].split()[0]) * 1.024e-3 - before
print(json.dumps({'seconds': seconds, 'memory_mb': used, 'peak_mb': peak}))
"""


def measure_engines(
    sizes: Sequence[tuple[int, int]], threads: Sequence[int], repeats: int
) -> Iterator[dict[str, Any]]:
    """Yield a record for each model, engine, number of threads and size of image.

    Images are segmented from end to end, without a refiner, with 10 instances that survive; the
    engines take turns in one process.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        _calibrate(model)
        for number in threads:
            cv2.setNumThreads(number)
            for name in MODELS:
                engines = ENGINES if name == 'person_mask_rcnn' else (*ENGINES, INT8)
                segmenters = {engine: _segmenter(model, name, engine, number) for engine in engines}
                for size in sizes:
                    yield from _compare(name, segmenters, size, number, repeats)


def _calibrate(model: FullSizeModel) -> None:
    """Prepare it for int8; with random weights one photo will do."""
    ranges = observe_ranges(model.weights, model.text_graph, [photo(800, 600)])
    write_ranges(ranges_file(model.weights), model.weights, model.text_graph, ranges)


def _segmenter(model: FullSizeModel, name: str, engine: str, threads: int) -> Segmenter:
    options: dict[str, Any] = {
        'engine': engine.removesuffix(' int8'),
        'precision': 'int8' if engine == INT8 else 'f32',
        'num_threads': threads,
        'refiner': 'none',
    }
    return model.segmenter(**options) if name == FULL_SIZE else Segmenter(model=name, **options)


def _compare(
    name: str, segmenters: dict[str, Segmenter], size: tuple[int, int], threads: int, repeats: int
) -> Iterator[dict[str, Any]]:
    runs = {engine: Run(each, photo(*size), _INSTANCES) for engine, each in segmenters.items()}
    times = measure(runs, repeats)
    for engine, run in runs.items():
        yield {
            'model': name,
            'engine': segmenters[engine].engine,
            'threads': threads,
            'width': size[0],
            'height': size[1],
            'instances': len(run()),
            'milliseconds': asdict(Spread.of(times[engine])),
            'times_as_fast': asdict(ratios(times[ENGINES[0]], times[engine])),
        }


def measure_engine_starts(repeats: int) -> list[dict[str, Any]]:
    """Return a record for each model and engine: seconds to load, at first and then, and memory."""
    records = []
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        full_size = {
            'model_path': str(model.weights),
            'text_graph_path': str(model.text_graph),
            'labels_path': str(COCO_LABELS),
        }
        for name in MODELS:
            files = full_size if name == FULL_SIZE else {'model': name}
            for engine in ENGINES:
                arguments = {**files, 'engine': engine, 'refiner': 'none', 'num_threads': 1}
                first, later = [], []
                for number in range(repeats):
                    cache = Path(folder) / f'{name} {number}'
                    first.append(_start(arguments, cache))
                    later.append(_start(arguments, cache))
                records.append(
                    {
                        'model': name,
                        'engine': engine,
                        'first_s': _median(first, 'seconds'),
                        'later_s': _median(later, 'seconds'),
                        'memory_mb': _median(later, 'memory_mb'),
                        'peak_mb': _median(later, 'peak_mb'),
                    }
                )
    return records


def _start(arguments: dict[str, Any], cache: Path) -> dict[str, float]:
    finished = subprocess.run(
        [sys.executable, '-c', _PROGRAM, json.dumps(arguments), str(PHOTO)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, 'XDG_CACHE_HOME': str(cache)},
    )
    return {name: float(value) for name, value in json.loads(finished.stdout).items()}


def _median(runs: Sequence[dict[str, float]], key: str) -> float:
    return sorted(run[key] for run in runs)[len(runs) // 2]
