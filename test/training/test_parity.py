# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""PyTorch and cv2.dnn compute the same from the same weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY, load_whole_graph

torch = pytest.importorskip('torch', reason='parity compares with PyTorch')

from training.detector.export import export_model
from training.graph import NetworkConfig, random_arrays, write_model
from training.graph.detect import detect
from training.graph.network import FEATURES
from training.graph.seams import DETECTIONS, MASKS, PROPOSALS
from training.graph.tensorflow_files import read_arrays
from training.graph.torch_module import MaskRcnnModule

SHIPPED = NetworkConfig(
    width=0.25,
    num_classes=1,
    anchor_sizes=(24.0, 48.0, 96.0, 192.0, 352.0),
    anchor_ratios=(0.4, 0.8, 1.5),
    proposals=40,
    rpn_candidates=1000,
    score_threshold=0.01,
)
FULL = NetworkConfig()


def full_size_arrays() -> dict[str, np.ndarray]:
    """Random weights with batch norms that do something."""
    rng = np.random.default_rng(0)
    arrays = random_arrays(FULL, 1, {1: 3.0})
    for name, array in arrays.items():
        if name.endswith('moving_variance'):
            array[:] = 0.5 + rng.random(array.shape)
        elif name.endswith(('moving_mean', 'beta')):
            array[:] = 0.2 * rng.standard_normal(array.shape)
    return arrays


@pytest.mark.parametrize(
    'name, size', [('shipped', (320, 320)), ('shipped', (333, 415)), ('full', (240, 320))]
)
def test_same_numbers(tmp_path: Path, photo: np.ndarray, name: str, size: tuple[int, int]) -> None:
    config = SHIPPED if name == 'shipped' else FULL
    weights = REPOSITORY / 'models' / 'person_mask_rcnn.pb'
    arrays = read_arrays(SHIPPED, weights) if name == 'shipped' else full_size_arrays()
    write_model(config, arrays, tmp_path / 'model.pb', tmp_path / 'model.pbtxt')
    image = cv2.resize(photo, size[::-1])
    blob = cv2.dnn.blobFromImage(image, swapRB=True)
    net = load_whole_graph(tmp_path)
    net.setInput(blob)
    rows, masks, features, proposals = net.forward([DETECTIONS, MASKS, FEATURES, PROPOSALS])
    rows = rows[0, 0]
    used = (rows[:, 2] > 0) & (rows[:, 5] > rows[:, 3]) & (rows[:, 6] > rows[:, 4])

    ours = detect(MaskRcnnModule(config, arrays).eval(), torch.from_numpy(blob))

    assert used.sum() > 3
    np.testing.assert_allclose(ours.features.numpy(), features, atol=1e-3)
    # Scores that round to the same number come in any order: compare as sets.
    distance = np.abs(ours.proposals.numpy()[:, None] - proposals[0, 0, None, :, 3:]).max(2)
    assert distance.min(1).max() * max(size) < 0.5
    assert len(ours.rows) == used.sum()
    np.testing.assert_allclose(ours.rows[:, 1], rows[used, 2], atol=1e-3)
    np.testing.assert_allclose(ours.rows[:, 2:] * max(size), rows[used, 3:] * max(size), atol=0.5)
    np.testing.assert_allclose(ours.masks.numpy(), masks[used], atol=1e-3)


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    arrays = random_arrays(SHIPPED, 5)
    module = MaskRcnnModule(SHIPPED, arrays)
    export_model(SHIPPED, module.arrays(), ('person',), tmp_path / 'm', 320)
    back = read_arrays(SHIPPED, tmp_path / 'm.pb')
    assert all(np.array_equal(arrays[name], back[name]) for name in arrays)
