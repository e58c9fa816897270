# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Measure onnxruntime on a GPU beside the processor; `make bench-gpu` calls it. See
docs/performance.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import this_machine
from library import FullSizeModel, Run, photo
from numpy.typing import NDArray
from timing import Spread, measure, ratios

from instance_seg_ros import Instances, Segmenter
from instance_seg_ros.onnxruntime_import import import_onnxruntime

CPU = 'CPUExecutionProvider'
FULL_SIZE = 'full size'
MODELS = FULL_SIZE, 'everyday_mask_rcnn'
SIZES = (640, 480), (800, 600), (1280, 720)
PRECISIONS = 'f32', 'f16'
_INSTANCES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--provider',
        default='CUDAExecutionProvider',
        help=f'execution provider of onnxruntime (%(default)s); {CPU} rehearses without a GPU',
    )
    parser.add_argument('--repeats', type=int, default=5, help='of everything (%(default)s)')
    parser.add_argument(
        '--minutes', type=float, default=7.0, help='after which nothing more begins (%(default)s)'
    )
    arguments = parser.parse_args()
    problem = _problem(arguments.provider)
    if problem:
        sys.exit(problem)
    for name, value in this_machine.describe().items():
        print(f'{name}: {value}')
    print(f'GPU: {_gpu()}\n')
    print('| model | image | runs on | ms | times as fast | first image, ms | scores differ by |')
    print('|---|---|---|---|---|---|---|')
    deadline = time.monotonic() + 60 * arguments.minutes
    for row in _rows(arguments.provider, arguments.repeats, deadline):
        print('|', ' | '.join(row), '|', flush=True)


def _problem(provider: str) -> str:
    """Return why nothing can be measured, '' if it can."""
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        return f'onnxruntime cannot be imported: {error}'
    available = onnxruntime.get_available_providers()
    if provider in available:
        return ''
    return (
        f'{provider}: this onnxruntime has only {", ".join(available)}. Nothing was measured. On a '
        'machine with an NVIDIA GPU: pip uninstall onnxruntime; pip install onnxruntime-gpu. '
        f'--provider {CPU} rehearses on the processor'
    )


def _gpu() -> str:
    try:
        command = ['nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader']
        return subprocess.check_output(command, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return 'none that nvidia-smi knows'


def _rows(provider: str, repeats: int, deadline: float) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        full_size = FullSizeModel(Path(folder))
        for name in MODELS:
            segmenters = {
                f'{where}, {precision}': _segmenter(full_size, name, where, precision)
                for where, precision in ((CPU, 'f32'), *((provider, p) for p in PRECISIONS))
            }
            for size in SIZES:
                if time.monotonic() > deadline:
                    return
                yield from _compare(name, segmenters, photo(*size), repeats)


def _segmenter(full_size: FullSizeModel, name: str, provider: str, precision: str) -> Segmenter:
    options: dict[str, Any] = {
        'engine': 'onnxruntime',
        'refiner': 'none',
        'providers': [provider],  # no other, or a failure would go unnoticed
        'precision': precision,
    }
    return full_size.segmenter(**options) if name == FULL_SIZE else Segmenter(model=name, **options)


def _compare(
    name: str, segmenters: dict[str, Segmenter], image: NDArray[np.uint8], repeats: int
) -> Iterator[list[str]]:
    first: dict[str, float] = {}
    for where, segmenter in segmenters.items():
        started = time.perf_counter()
        segmenter(image)
        first[where] = 1e3 * (time.perf_counter() - started)
    runs = {where: Run(each, image, _INSTANCES) for where, each in segmenters.items()}
    times = measure(runs, repeats)
    (processor, reference), *_ = times.items()
    expected = runs[processor]()
    for where, run in runs.items():
        yield [
            name,
            f'{image.shape[1]}x{image.shape[0]}',
            where,
            Spread.of(times[where]).text(),
            f'{ratios(reference, times[where]).median:.2f}',
            f'{first[where]:.0f}',
            _difference(run(), expected),
        ]


def _difference(found: Instances, expected: Instances) -> str:
    if len(found) != len(expected):
        return f'{len(found)} instances, not {len(expected)}'
    return f'{np.abs(found.scores - expected.scores).max(initial=0):.1e}'


if __name__ == '__main__':
    main()
