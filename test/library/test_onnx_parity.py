# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""onnxruntime answers as cv2.dnn does, from the same weights."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros.detection import MaskRcnn, OnnxMaskRcnn
from instance_seg_ros.detection.net_loader import opencv_problem
from instance_seg_ros.detection.onnx_convert import convert

if opencv_problem():
    pytest.skip(opencv_problem(), allow_module_level=True)
pytest.importorskip('onnxruntime', reason='the second engine')

# Height and width: odd ones, portrait, the smallest, and larger than any manifest asks for.
SIZES = [
    (34, 34),
    (35, 47),
    (47, 35),
    (64, 64),
    (96, 129),
    (127, 97),
    (160, 240),
    (192, 256),
    (233, 311),
    (240, 320),
    (320, 320),
    (333, 415),
    (415, 333),
    (417, 545),
    (416, 544),
    (480, 640),
    (600, 800),
    (641, 481),
    (720, 1280),
    (1001, 1365),
]
TOLERANCE = 1e-3

Engines = tuple[MaskRcnn, OnnxMaskRcnn]


def load(weights: Path, text_graph: Path) -> Engines:
    parts = convert(weights, text_graph).by_name()
    return MaskRcnn(weights, text_graph), OnnxMaskRcnn(parts, 'the model')


def compare(engines: Engines, image: np.ndarray) -> int:
    """Compare all detections of an image; return their number."""
    opencv, onnx = engines
    expected, actual = opencv.detect(image), onnx.detect(image)
    assert len(actual.rows) == len(expected.rows)
    if len(expected.rows) == 0:
        return 0
    # Scores that differ in the last digit come in any order: each row has one like it.
    distance = np.abs(expected.rows[:, None] - actual.rows[None]).max(2)
    twin = distance.argmin(1)
    assert sorted(twin) == list(range(len(twin)))
    assert distance.min(1).max() < TOLERANCE
    keep = np.arange(min(len(twin), 12))
    np.testing.assert_allclose(
        onnx.masks(actual, twin[keep]), opencv.masks(expected, keep), atol=TOLERANCE
    )
    return len(twin)


@pytest.fixture(scope='module')
def shipped() -> Engines:
    weights = REPOSITORY / 'models' / 'person_mask_rcnn.pb'
    return load(weights, weights.with_suffix('.pbtxt'))


@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[1]}x{size[0]}')
@pytest.mark.slow
def test_shipped_model(shipped: Engines, photo: np.ndarray, size: tuple[int, int]) -> None:
    assert compare(shipped, cv2.resize(photo, size[::-1])) > 0


def test_sizes_one_after_the_other_do_not_matter(shipped: Engines, photo: np.ndarray) -> None:
    before = shipped[1].detect(photo).rows
    shipped[1].detect(photo[:100, :333])
    np.testing.assert_array_equal(shipped[1].detect(photo).rows, before)


def test_full_size_model(full_size_model: Path, photo: np.ndarray) -> None:
    weights = full_size_model.with_name('model.pb')
    engines = load(weights, weights.with_suffix('.pbtxt'))
    for height, width in ((34, 34), (127, 97), (320, 241), (333, 415)):
        assert compare(engines, cv2.resize(photo, (width, height))) > 0, (height, width)


PUBLISHED = (
    REPOSITORY.parent / 'shared' / 'reference' / 'mask_rcnn_inception_v2_coco_2018_01_28.pbtxt'
)


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f'needs the published {PUBLISHED.name}')
def test_the_published_text_graph(full_size_model: Path, photo: np.ndarray) -> None:
    """With random weights under the names and in the shapes of the published ones."""
    engines = load(full_size_model.with_name('model.pb'), PUBLISHED)
    for height, width in ((233, 311), (416, 320)):
        assert compare(engines, cv2.resize(photo, (width, height))) > 0, (height, width)


def test_fewer_proposals(small_model: Path, photo: np.ndarray) -> None:
    weights, text_graph = small_model.with_name('model.pb'), small_model.with_name('model.pbtxt')
    parts = convert(weights, text_graph).by_name()
    engines = MaskRcnn(weights, text_graph, 30), OnnxMaskRcnn(parts, 'the model', 30)
    assert compare(engines, photo[:241, :322]) > 10


@pytest.mark.parametrize(
    'model, sizes',
    [
        ('person_mask_rcnn', [(480, 640), (112, 112), (111, 300), (300, 111), (224, 97)]),
        ('everyday_mask_rcnn', [(480, 640), (64, 96), (320, 224)]),
    ],
)
def test_parts_for_devices_give_the_same(
    photo: np.ndarray, model: str, sizes: list[tuple[int, int]]
) -> None:
    """They crop by RoiAlign, also where features have as many rows or columns as a crop."""
    weights = REPOSITORY / 'models' / f'{model}.pb'
    text_graph = weights.with_suffix('.pbtxt')
    ours, theirs = (
        OnnxMaskRcnn(convert(weights, text_graph, processor).by_name(), 'the model')
        for processor in (True, False)
    )
    for height, width in sizes:
        image = cv2.resize(photo, (width, height))
        a, b = ours.detect(image), theirs.detect(image)
        assert len(a.rows) > 0
        np.testing.assert_allclose(a.rows, b.rows, atol=TOLERANCE)
        keep = np.arange(len(a.rows))
        np.testing.assert_allclose(ours.masks(a, keep), theirs.masks(b, keep), atol=TOLERANCE)


@pytest.mark.parametrize('more, value', [('', 0), ('scale', 0.125), ('shift', 1e-6)])
def test_scores_of_both_stages(tmp_path: Path, photo: np.ndarray, more: str, value: float) -> None:
    """Their product, to a power that may have a scale or shift besides, as the layer allows."""
    weights = REPOSITORY / 'models' / 'everyday_mask_rcnn.pb'
    text = weights.with_suffix('.pbtxt').read_text()
    power = '  attr {\n    key: "power"'
    assert text.count(power) == 1
    added = f'  attr {{ key: "{more}" value {{ f: {value} }} }}\n' if more else ''
    (tmp_path / 'model.pbtxt').write_text(text.replace(power, added + power))
    engines = load(weights, tmp_path / 'model.pbtxt')
    for height, width in ((64, 96), (320, 320), (480, 640), (640, 480)):
        assert compare(engines, cv2.resize(photo, (width, height))) > 0, (height, width)


def depthwise(folder: Path, **options: bool) -> tuple[Path, Path]:
    from other_graphs import depthwise_model

    return depthwise_model(folder, **options)


def residual(folder: Path, **options: bool) -> tuple[Path, Path]:
    from other_graphs import residual_model

    return residual_model(folder, **options)


@pytest.mark.parametrize(
    'write, options, sizes',
    [
        # The upsampled map fits the other one in multiples of 32.
        (depthwise, {'per_class': False}, [(64, 96), (320, 224), (416, 544)]),
        (depthwise, {'per_class': True}, [(64, 96), (160, 128)]),
        (residual, {}, [(127, 97), (233, 311), (320, 240)]),
    ],
    ids=['depthwise, boxes for all classes alike', 'depthwise', 'residual and atrous'],
)
def test_other_backbones(
    tmp_path: Path,
    photo: np.ndarray,
    write: Callable[..., tuple[Path, Path]],
    options: dict[str, bool],
    sizes: list[tuple[int, int]],
) -> None:
    pytest.importorskip('tensorboard', reason='it has the schema of the graphs that are written')
    engines = load(*write(tmp_path, **options))
    for height, width in sizes:
        assert compare(engines, cv2.resize(photo, (width, height))) > 5, (height, width)


def test_both_ways_to_write_atrous_convolutions_are_the_same(
    tmp_path: Path, photo: np.ndarray
) -> None:
    """cv2.dnn pads the one with the attribute ``dilations`` differently from TensorFlow."""
    pytest.importorskip('tensorboard', reason='it has the schema of the graphs that are written')
    rows = []
    for name in ('spread', 'dilated'):
        folder = tmp_path / name
        folder.mkdir()
        parts = convert(*residual(folder, dilations=name == 'dilated')).by_name()
        rows.append(OnnxMaskRcnn(parts, name).detect(photo[:233, :311]).rows)
    assert len(rows[0]) > 5
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-5)


def in_float16(weights: bytes, listed: str) -> bytes:
    """Return a frozen graph with its kernels in float16, one of them number by number."""
    pytest.importorskip('tensorboard', reason='it has the schema of the graph')
    from tensorboard.compat.proto import graph_pb2, types_pb2

    graph = graph_pb2.GraphDef.FromString(weights)
    for node in graph.node:
        tensor = node.attr['value'].tensor
        if tensor.dtype != types_pb2.DT_FLOAT or len(tensor.tensor_shape.dim) < 2:
            continue
        halves = np.frombuffer(tensor.tensor_content, np.float32).astype(np.float16)
        node.attr['dtype'].type = tensor.dtype = types_pb2.DT_HALF
        tensor.tensor_content = b'' if node.name == listed else halves.tobytes()
        if node.name == listed:
            tensor.half_val.extend(halves.view(np.uint16).tolist())
    return graph.SerializeToString()


def test_weights_in_float16(shipped: Engines, photo: np.ndarray, tmp_path: Path) -> None:
    """Batch norms stay batch norms here: only those of float32 kernels are folded."""
    weights = REPOSITORY / 'models' / 'person_mask_rcnn.pb'
    text_graph = weights.with_suffix('.pbtxt')
    smaller = tmp_path / 'smaller.pb'
    smaller.write_bytes(
        in_float16(weights.read_bytes(), 'SecondStageBoxPredictor/ClassPredictor/weights')
    )
    assert smaller.stat().st_size < 0.6 * weights.stat().st_size
    engines = load(smaller, text_graph)
    assert compare(engines, photo) > 0
    before, after = (engine.detect(photo).rows for engine in (shipped[1], engines[1]))
    best = before[before[:, 2].argmax()]
    assert np.abs(after - best).max(1).min() < 0.01
