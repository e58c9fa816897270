# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Networks in another precision than float32, and what is said where there is none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros import Instances, ModelError, Segmenter
from instance_seg_ros.cli import main
from instance_seg_ros.detection.onnx_convert import VERSION
from instance_seg_ros.settings import OPENVINO_PROVIDER

onnxruntime = pytest.importorskip('onnxruntime', reason='the engine that has precisions')

MODELS = REPOSITORY / 'models'
PHOTOS = REPOSITORY / 'demo' / 'photos'
CPU = 'CPUExecutionProvider'


# As the person model's own would be, but for one number.
_NO_NUMBER = (
    f'{{"converter": {VERSION}, "model": "", "proposals": {{"Conv_6": [0, NaN]}}, "boxes": {{}}}}'
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache, empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Frozen graph of a copy of the person model, which is not calibrated."""
    folder = tmp_path / 'model'
    folder.mkdir()
    for suffix in ('.pb', '.pbtxt', '.yaml'):
        name = f'person_mask_rcnn{suffix}'
        (folder / name).write_bytes((MODELS / name).read_bytes())
    (folder / 'person_labels.txt').write_bytes((MODELS / 'person_labels.txt').read_bytes())
    return folder / 'person_mask_rcnn.pb'


def segment(photo: np.ndarray, precision: str, **settings: object) -> tuple[Instances, str]:
    arguments = {'model': 'everyday_mask_rcnn', 'engine': 'onnxruntime', 'refiner': 'none'}
    segmenter = Segmenter(precision=precision, **(arguments | settings))  # type: ignore[arg-type]
    return segmenter(photo), segmenter.engine


def assert_alike(ours: Instances, theirs: Instances, box: float, score: float) -> None:
    assert ours.class_names == theirs.class_names != []
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=score)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=box * max(ours.image_size))
    for i in range(len(ours)):
        a, b = ours.full_mask(i) > 0, theirs.full_mask(i) > 0
        assert (a & b).sum() > 0.8 * (a | b).sum()


# In int8 another of several regions of nearly the same score may win.
@pytest.mark.parametrize('precision, box, score', [('int8', 0.03, 0.1), ('f16', 1e-3, 2e-3)])
@pytest.mark.parametrize('name', ['grace_hopper', 'chelsea'])
def test_the_shipped_model_finds_the_same(
    name: str, precision: str, box: float, score: float
) -> None:
    photo = cv2.imread(str(PHOTOS / f'{name}.jpg'))
    expected, engine = segment(photo, 'f32')
    assert engine == f'onnxruntime ({CPU})'
    found, engine = segment(photo, precision)
    assert engine == f'onnxruntime ({CPU}, {precision})'
    assert_alike(found, expected, box, score)
    assert not np.array_equal(found.boxes, expected.boxes)


def test_a_model_is_calibrated_by_the_command(
    model: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match='instance-seg models calibrate'):
        segment(photo, 'int8', model=str(model))
    assert main(['models', 'calibrate', str(model), str(PHOTOS)]) == 0
    assert Path(capsys.readouterr().out.strip()).parent == model.parent
    expected, _ = segment(photo, 'f32', model=str(model))
    found, engine = segment(photo, 'int8', model=str(model))
    assert 'int8' in engine
    assert_alike(found, expected, 0.15, 0.25)  # six photos are few


def test_ranges_go_with_a_model_to_the_data_folder_and_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray
) -> None:
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))
    data = tmp_path / 'instance_seg_ros' / 'models'
    graph = MODELS / 'everyday_mask_rcnn.pb'
    labels = MODELS / 'everyday_mask_rcnn_labels.txt'
    files = [str(graph), str(graph.with_suffix('.pbtxt')), str(labels)]
    assert main(['models', 'add', '--name', 'mine', *files]) == 0
    assert (data / 'mine_int8.json').is_file()
    _, engine = segment(photo, 'int8', model='mine')
    assert 'int8' in engine
    assert main(['models', 'remove', 'mine']) == 0
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(
    'content, message',
    [
        ((MODELS / 'everyday_mask_rcnn_int8.json').read_text(), 'is of another model or release'),
        ('{"converter": 1', 'is no file of ranges'),
        ('[]', 'is no file of ranges'),
        ('[' * 100_000, 'is no file of ranges'),
        (' ' * 2_000_000, 'at most 1000000 are read'),
        (_NO_NUMBER, 'is no file of ranges'),
    ],
)
def test_ranges_of_something_else_are_refused(
    model: Path, photo: np.ndarray, content: str, message: str
) -> None:
    model.with_name('person_mask_rcnn_int8.json').write_text(content)
    with pytest.raises(ModelError, match=message):
        segment(photo, 'int8', model=str(model))


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'engine': 'opencv', 'precision': 'int8'}, 'engine opencv computes in f32 only'),
        ({'precision': 'bf16'}, f'only {OPENVINO_PROVIDER} computes in it'),
    ],
)
def test_what_cannot_be_is_refused(photo: np.ndarray, settings: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        segment(photo, **settings)


def test_auto_takes_the_engine_that_has_the_precision(model: Path, photo: np.ndarray) -> None:
    _, engine = segment(photo, 'f16', model=str(model), engine='auto')
    assert engine == f'onnxruntime ({CPU}, f16)'


@pytest.mark.skipif(
    OPENVINO_PROVIDER not in onnxruntime.get_available_providers(),
    reason='this onnxruntime has no provider of OpenVINO (pip install onnxruntime-openvino)',
)
def test_openvino(photo: np.ndarray) -> None:
    providers = (OPENVINO_PROVIDER, CPU)
    expected, _ = segment(photo, 'f32')
    exact, _ = segment(photo, 'f32', providers=providers)
    assert_alike(exact, expected, 1e-3, 1e-3)
    found, engine = segment(photo, 'bf16', providers=providers)
    assert engine == f'onnxruntime ({OPENVINO_PROVIDER}, bf16)'
    assert_alike(found, expected, 0.02, 0.05)
