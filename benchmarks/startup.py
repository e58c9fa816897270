# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How long a new process takes until it segments."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from library import COCO_LABELS, PHOTO, FullSizeModel
from timing import Spread

# Its own process each time: what is imported stays so. Prints seconds by what was done.
_PROGRAM = """
import json, sys, time
times, last = {}, time.perf_counter()
def done(name):
    global last
    now = time.perf_counter()
    times[name], last = now - last, now
import numpy, cv2
done('import numpy and cv2')
from instance_seg_ros import Segmenter
done('import instance_seg_ros')
image = cv2.resize(cv2.imread(sys.argv[2]), (640, 480))
last = time.perf_counter()
segmenter = Segmenter(**json.loads(sys.argv[1]))
done('load the models, with a first forward')
segmenter(image)
done('first image')
segmenter(image)
done('second image')
print(json.dumps(times))
"""


def measure_startup(repeats: int) -> list[dict[str, Any]]:
    """Return a record for each model: spreads of seconds by step, image 640x480."""
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        models = {
            'person_mask_rcnn': {'model': 'person_mask_rcnn'},
            'full size': {
                'model_path': str(model.weights),
                'labels_path': str(COCO_LABELS),
                'text_graph_path': str(model.text_graph),
            },
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in models}
        for _ in range(repeats):
            for name, files in models.items():
                runs[name].append(_run(files))
    return [
        {
            'model': name,
            'seconds': {
                step: asdict(Spread.of(np.array([run[step] for run in of_model])))
                for step in of_model[0]
            },
        }
        for name, of_model in runs.items()
    ]


def _run(arguments: dict[str, str]) -> dict[str, float]:
    finished = subprocess.run(
        [sys.executable, '-c', _PROGRAM, json.dumps(arguments), str(PHOTO)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {step: float(seconds) for step, seconds in json.loads(finished.stdout).items()}
