# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The two files of a model: what cv2.dnn makes of them, and what may go wrong in writing them."""

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from random_models import REPOSITORY, forward_whole_graph, load_whole_graph
from tensorboard.compat.proto import graph_pb2

from training.detector.export import export_model
from training.graph import NetworkConfig, random_arrays, write_model, write_random_model
from training.graph.tensorflow_files import frozen_graph, read_arrays, text_graph

SMALL = NetworkConfig(width=0.125, num_classes=2, proposals=20)


def nodes_of(text: str) -> dict:
    graph = graph_pb2.GraphDef()
    text_format.Parse(text, graph)
    return {node.name: node for node in graph.node}


def test_full_size_text_graph_is_the_published_one(published_text_graph: Path) -> None:
    ours = nodes_of(text_graph(NetworkConfig()))
    published = nodes_of(published_text_graph.read_text())
    assert ours.keys() == published.keys()
    for name, node in published.items():
        assert ours[name].op == node.op
        assert list(ours[name].input) == [i for i in node.input if not i.startswith('^')]
        assert {k: str(v) for k, v in ours[name].attr.items()} == {
            k: str(v) for k, v in node.attr.items()
        }, name


def test_published_text_graph_gives_the_same_output(
    published_text_graph: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    write_random_model(tmp_path, class_bias={1: 6.0})
    ours = forward_whole_graph(load_whole_graph(tmp_path), photo)
    (tmp_path / 'model.pbtxt').write_bytes(published_text_graph.read_bytes())
    theirs = forward_whole_graph(load_whole_graph(tmp_path), photo)
    assert (ours[0][:, 2] > 0.5).any()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('width, classes, anchors', [(0.125, 1, 3), (0.25, 90, 12), (0.25, 3, 15)])
def test_cv2_dnn_runs_any_width_and_number_of_classes(
    tmp_path: Path, photo: np.ndarray, width: float, classes: int, anchors: int
) -> None:
    config = NetworkConfig(
        width=width,
        num_classes=classes,
        anchor_ratios=(0.5, 1.0, 2.0),
        anchor_sizes=tuple(32.0 * 2**k for k in range(anchors // 3)),
    )
    write_model(
        config,
        random_arrays(config, class_bias={classes: 6.0}),
        tmp_path / 'model.pb',
        tmp_path / 'model.pbtxt',
    )
    rows, masks = forward_whole_graph(load_whole_graph(tmp_path), photo)
    assert masks.shape == (100, classes, 15, 15)
    found = rows[rows[:, 2] > 0.5]
    assert len(found) and set(found[:, 1]) == {classes - 1}


def test_single_numbers_are_stored_where_cv2_dnn_reads_them() -> None:
    # As raw bytes they crash the process at load: this test must not load them.
    graph = graph_pb2.GraphDef()
    graph.ParseFromString(frozen_graph(SMALL, random_arrays(SMALL)))
    axes = [n for n in graph.node if n.name.endswith('/axis')]
    assert len(axes) > 10
    for node in axes:
        assert list(node.attr['value'].tensor.int_val) == [3]
        assert not node.attr['value'].tensor.tensor_content


def test_arrays_are_read_back(tmp_path: Path) -> None:
    arrays = random_arrays(SMALL, seed=3)
    write_model(SMALL, arrays, tmp_path / 'a.pb', tmp_path / 'a.pbtxt')
    back = read_arrays(SMALL, tmp_path / 'a.pb')
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(arrays[k], back[k]) for k in arrays)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    write_model(SMALL, random_arrays(SMALL), tmp_path / 'a.pb', tmp_path / 'a.pbtxt')
    with pytest.raises(ValueError, match=r'a\.pb: is of another network'):
        read_arrays(NetworkConfig(width=0.25, num_classes=2), tmp_path / 'a.pb')


def test_an_array_of_another_size_than_it_says_is_refused(tmp_path: Path) -> None:
    graph = graph_pb2.GraphDef.FromString(frozen_graph(SMALL, random_arrays(SMALL)))
    kernel = next(n for n in graph.node if n.attr['value'].tensor.tensor_content)
    kernel.attr['value'].tensor.tensor_content += bytes(4)
    (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
    with pytest.raises(ValueError, match=r'a\.pb: has a broken array'):
        read_arrays(SMALL, tmp_path / 'a.pb')


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda arrays: arrays.pop('Conv/biases'), 'no array for Conv/biases'),
        (lambda arrays: arrays.update({'Conv/biases': np.zeros(3, np.float32)}), 'has the shape'),
        (lambda arrays: arrays['Conv/biases'].fill(np.nan), 'training diverged'),
    ],
)
def test_bad_arrays_are_refused(change, message: str) -> None:
    arrays = random_arrays(SMALL)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        frozen_graph(SMALL, arrays)


@pytest.mark.parametrize(
    'values', [{'width': 0.0}, {'num_classes': 0}, {'anchor_sizes': ()}, {'anchor_ratios': (-1.0,)}]
)
def test_impossible_networks_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        NetworkConfig(**values)


def test_a_full_disk_leaves_the_old_model(tmp_path: Path) -> None:
    """A limit on the size of files fails a write as a full disk does."""
    paths = tmp_path / 'model.pb', tmp_path / 'model.pbtxt'
    write_model(SMALL, random_arrays(SMALL, seed=1), *paths)
    before = [p.read_bytes() for p in paths]
    code = (
        'from training.graph import write_random_model; '
        f'write_random_model({str(tmp_path)!r}, 0.125, 2)'
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=REPOSITORY,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert 'cannot write' in result.stderr and 'model.pb' in result.stderr
    assert [p.read_bytes() for p in paths] == before
    assert not list(tmp_path.glob('*.part'))


def test_graph_loads_in_this_opencv(tmp_path: Path) -> None:
    write_random_model(tmp_path, 0.125, 2)
    assert not load_whole_graph(tmp_path).empty(), cv2.__version__


@pytest.mark.parametrize(
    'side, upscale, message',
    [
        (100000, 1.0, 'input_max_side is 100000, expected a whole number above 0 and at most'),
        (-5, 1.0, 'input_max_side is -5, expected a whole number above 0'),
        (320, float('nan'), 'max_upscale is nan, expected a factor from 1'),
        (320, 9.0, 'max_upscale is 9.0, expected a factor from 1'),
    ],
)
def test_a_model_that_would_not_load_is_not_written(
    tmp_path: Path, side: int, upscale: float, message: str
) -> None:
    with pytest.raises(ValueError, match=f'mine.yaml: {message}.*. Nothing was written'):
        export_model(
            SMALL, random_arrays(SMALL), ('box', 'ball'), tmp_path / 'out' / 'mine', side, upscale
        )
    assert not list(tmp_path.iterdir())
