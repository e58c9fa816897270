# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Models with random weights: they find nothing sensible, but do all that a real one does."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
COCO_LABELS = REPOSITORY / 'models' / 'coco_labels.txt'
# Full-size ones take seconds each to write, so they are kept; `make clean` removes them.
MODELS = REPOSITORY / '.pytest_cache' / 'models'
STOP_SIGN, SHEEP = 12, 19  # class ids: COCO's ids less one
SLOW_SIDE = 1600  # pixels: see the fixture slow_model
# OpenCV 5 has a second engine, which returns other tensors.
ENGINE = {'engine': cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, 'ENGINE_CLASSIC') else {}


def write_model(
    folder: Path, width: float, num_classes: int, class_bias: dict[int, float] | None = None
) -> None:
    """Write model.pb and model.pbtxt. Test sessions and their processes share what is written."""
    pytest.importorskip('tensorboard', reason='it has the schema of the graphs that are written')
    arguments = f'{width}, {num_classes}, 0, {class_bias!r}'
    cached = MODELS / _digest_of_the_writer(arguments)
    MODELS.mkdir(parents=True, exist_ok=True)
    with (MODELS / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cached.exists():
            unfinished = tempfile.mkdtemp(dir=MODELS)
            _write_random_model(unfinished, arguments)
            Path(unfinished).rename(cached)
    for name in ('model.pb', 'model.pbtxt'):
        shutil.copy(cached / name, folder)


def _write_random_model(folder: str, arguments: str) -> None:
    # In a process of its own. The trainer is not installed; with the repository on this process's
    # path it would be found, and so would the sources of the installed package, which lack the
    # generated messages.
    code = (
        'from training.graph.random_model import write_random_model; '
        f'write_random_model({folder!r}, {arguments})'
    )
    subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=True)


def _digest_of_the_writer(arguments: str) -> str:
    digest = hashlib.sha256(f'{arguments} {np.__version__}'.encode())
    for path in sorted((REPOSITORY / 'training' / 'graph').glob('*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_manifest(folder: Path, labels: list[str], name: str = 'model') -> Path:
    """Describe the model.pb and model.pbtxt of a folder; return the manifest's path."""
    (folder / 'model_labels.txt').write_text('\n'.join(labels) + '\n')
    files = {'weights': 'model.pb', 'text_graph': 'model.pbtxt', 'labels': 'model_labels.txt'}
    digests = {
        role: hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for role, file in files.items()
    }
    manifest = folder / f'{name}.yaml'
    manifest.write_text(yaml.safe_dump({'name': name, **files, 'sha256': digests}))
    return manifest


def load_whole_graph(folder: Path) -> 'cv2.dnn.Net':
    """Load the model of a folder as everybody does, in one piece."""
    return cv2.dnn.readNetFromTensorflow(
        str(folder / 'model.pb'), str(folder / 'model.pbtxt'), **ENGINE
    )


def forward_whole_graph(net: 'cv2.dnn.Net', image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (100, 7) and masks (100, C, M, M) of an image, as everybody computes them."""
    net.setInput(cv2.dnn.blobFromImage(image, swapRB=True, crop=False))
    rows, masks = net.forward(['detection_out_final', 'detection_masks'])
    return rows.reshape(-1, 7), masks
