# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which engine runs a model, and where its ONNX parts come from."""

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from random_models import REPOSITORY

from instance_seg_ros import ModelError, Segmenter
from instance_seg_ros.cli import main
from instance_seg_ros.detection import OnnxMaskRcnn
from instance_seg_ros.detection.net_loader import opencv_problem
from instance_seg_ros.detection.onnx_convert import convert

pytest.importorskip('onnxruntime', reason='the second engine')

SHIPPED = REPOSITORY / 'models' / 'person_mask_rcnn.yaml'
CPU = 'CPUExecutionProvider'
NAMES = 'proposals', 'boxes', 'masks'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'instance_seg_ros'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Manifest of a copy of the shipped model."""
    folder = tmp_path / 'model'
    folder.mkdir()
    for name in ('person_mask_rcnn.pb', 'person_mask_rcnn.pbtxt', 'person_labels.txt'):
        (folder / name).write_bytes((SHIPPED.parent / name).read_bytes())
    (folder / 'model.yaml').write_text(SHIPPED.read_text())
    return folder / 'model.yaml'


def load(model: Path, **settings: object) -> Segmenter:
    settings = {'engine': 'onnxruntime', 'refiner': 'none', **settings}
    return Segmenter(model=str(model), **settings)  # type: ignore[arg-type]


def edit(manifest: Path, **changes: object) -> Path:
    content = yaml.safe_load(manifest.read_text()) | changes
    manifest.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return manifest


# ---- the engine
@pytest.mark.skipif(bool(opencv_problem()), reason=opencv_problem())
def test_both_engines_segment_alike(model: Path, photo: np.ndarray) -> None:
    ours, theirs = (load(model, engine=e)(photo) for e in ('onnxruntime', 'opencv'))
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.1)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
    for a, b in zip(ours.masks or [], theirs.masks or [], strict=True):
        assert (a != b).mean() < 1e-3


def test_auto_goes_by_opencv_then_by_what_the_model_prefers(model: Path) -> None:
    usual = 'onnxruntime (CPUExecutionProvider)' if opencv_problem() else 'opencv'
    assert load(model, engine='auto').engine == usual
    edit(model, engine='onnxruntime')
    assert load(model, engine='auto').engine == 'onnxruntime (CPUExecutionProvider)'


@pytest.mark.parametrize('trust_model', [True, False])
@pytest.mark.skipif(bool(opencv_problem()), reason=opencv_problem())
def test_opencv_runs_what_only_the_manifest_prefers_onnxruntime_for(
    model: Path, photo: np.ndarray, caplog: pytest.LogCaptureFixture, trust_model: bool
) -> None:
    edit(model, engine='onnxruntime', sha256=None)
    text_graph = model.with_name('person_mask_rcnn.pbtxt')
    # An operation that OpenCV has and the converter has not.
    text_graph.write_text(text_graph.read_text().replace('op: "Relu6"', 'op: "Elu"', 1))
    segmenter = load(model, engine='auto', trust_model=trust_model)
    assert segmenter.engine == 'opencv'
    segmenter(photo)
    (message,) = [text for text in caplog.messages if 'runs in OpenCV instead' in text]
    assert '(Elu) is not among the operations' in message
    with pytest.raises(ModelError, match='is not among the operations'):
        load(model, engine='onnxruntime', trust_model=trust_model)


def test_an_unknown_engine_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match='expected one of auto, opencv, onnxruntime'):
        load(model, engine='tensorrt')
    with pytest.raises(ModelError, match="engine is 'tensorrt', expected opencv or onnxruntime"):
        load(edit(model, engine='tensorrt'))


def test_layer_times_name_layers_of_all_stages(model: Path, photo: np.ndarray) -> None:
    times = load(model).layer_times(photo)
    assert set(times) == set(NAMES)
    for stage in times.values():
        assert sum(stage.values()) > 0


def test_layer_times_count_a_loop_once(model: Path, photo: np.ndarray) -> None:
    boxes = load(model).layer_times(photo)['boxes']
    assert any(layer.startswith('Scan') for layer in boxes)
    assert [layer for layer in boxes if layer.startswith('of_region')] == []  # its body


USE_ONNXRUNTIME = """
import sys
import numpy as np
from instance_seg_ros import Segmenter

Segmenter(model=sys.argv[1], engine='onnxruntime', refiner='gan')(np.zeros((64, 64, 3), np.uint8))
"""


def test_onnxruntime_keeps_no_identifier_of_the_machine(tmp_path: Path) -> None:
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / 'cache'))
    environment.pop('ORT_DISABLE_TELEMETRY', None)
    for name in ('CI', 'GITHUB_ACTIONS', 'GITLAB_CI', 'CIRCLECI', 'TF_BUILD'):
        environment.pop(name, None)  # onnxruntime does not count what it finds there
    subprocess.run(
        [sys.executable, '-c', USE_ONNXRUNTIME, 'person_mask_rcnn'], env=environment, check=True
    )
    assert list(tmp_path.rglob('proposals.onnx'))  # it was used, and this is its cache
    assert not list(tmp_path.rglob('*deviceid*')) and not list(tmp_path.rglob('Microsoft'))


# ---- the cache
def kept(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.rglob('*.onnx')}


def test_a_model_is_converted_once(model: Path, cache: Path) -> None:
    load(model)
    first = kept(cache)
    assert sorted(path.stem for path in first) == sorted(NAMES)
    load(model)
    assert kept(cache) == first


@pytest.mark.parametrize('name', ['boxes.onnx', 'parts.json'])
@pytest.mark.parametrize('damage', ['cut', 'changed', 'gone'])
def test_damaged_files_are_made_again(
    model: Path, cache: Path, photo: np.ndarray, name: str, damage: str
) -> None:
    expected = load(model)(photo)
    (path,) = cache.rglob(name)
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 0x10
    if damage == 'gone':
        path.unlink()
    else:
        path.write_bytes(payload[:100] if damage == 'cut' else payload)
    np.testing.assert_array_equal(load(model)(photo).boxes, expected.boxes)
    (path,) = cache.rglob('boxes.onnx')
    (record,) = cache.rglob('parts.json')
    assert hashlib.sha256(path.read_bytes()).hexdigest() in record.read_text()


def test_other_weights_are_another_model(model: Path, cache: Path, small_model: Path) -> None:
    load(model)
    load(small_model)
    assert len(kept(cache)) == 2 * len(NAMES)


@pytest.mark.parametrize('home', ['a file', 'none'])
def test_a_place_that_cannot_be_written_is_no_error(
    model: Path, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file') if home == 'a file' else '')
    if home == 'none':
        monkeypatch.setenv('HOME', '/dev/null/nobody')
    assert len(load(model)(photo)) > 0


def test_models_convert_writes_parts_that_are_used(
    model: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['models', 'convert', str(model)]) == 0
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.stem for path in files] == list(NAMES)
    assert {path.parent for path in files} == {model.with_name('person_mask_rcnn_onnx')}
    load(model)
    assert not cache.exists()
    # Of other weights they are not used any more.
    with (model.parent / 'person_mask_rcnn.pbtxt').open('a') as file:
        file.write('\n')
    load(edit(model, sha256=None))
    assert len(kept(cache)) == len(NAMES)


def test_models_convert_leaves_other_folders_alone(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['models', 'convert', str(model), '--output', str(model.parent)]) == 2
    assert 'is no folder of ONNX parts' in capsys.readouterr().err
    assert model.exists()


# ---- providers
def test_a_provider_that_is_missing_is_reported_and_the_next_one_used(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        segmenter = load(model, providers=['CUDAExecutionProvider', CPU])
    assert segmenter.engine == f'onnxruntime ({CPU})'
    (message,) = caplog.messages
    assert 'CUDAExecutionProvider' in message and f'runs on {CPU} now' in message


def test_no_provider_is_a_clear_error(model: Path) -> None:
    with pytest.raises(ModelError, match='CUDAExecutionProvider: this onnxruntime has only'):
        load(model, providers=['CUDAExecutionProvider'])


def test_the_gpu_benchmark_says_where_there_is_none() -> None:
    import onnxruntime

    pytest.importorskip('tensorboard', reason='it has the schema of the graphs that are written')
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('it would measure')
    folder = REPOSITORY / 'benchmarks'
    result = subprocess.run(
        [sys.executable, 'gpu.py'],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': f'..{os.pathsep}{os.environ.get("PYTHONPATH", "")}'},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert 'CUDAExecutionProvider: this onnxruntime has only' in result.stderr
    assert result.stdout == ''


_OUT_OF_MEMORY = """
import logging, resource, sys
from pathlib import Path
import cv2, numpy as np, onnxruntime
from instance_seg_ros import ModelError
from instance_seg_ros.detection import OnnxMaskRcnn
from instance_seg_ros.detection.onnx_convert import convert

logging.basicConfig(stream=sys.stdout, format='%(message)s')
weights, providers = Path(sys.argv[1]), sys.argv[2:]
detector = OnnxMaskRcnn(
    convert(weights, weights.with_suffix('.pbtxt')).by_name(), 'the model', num_threads=1,
    providers=providers,
)
small = cv2.imread(sys.argv[0] + '.jpg')
expected = detector.detect(small).rows
large = cv2.resize(small, (5000, 4000))
used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20, resource.RLIM_INFINITY))
try:
    detector.detect(large)
except ModelError as error:
    print('ModelError:', error)
print(detector.engine)
print('the same:', np.array_equal(detector.detect(small).rows, expected))
"""


@pytest.mark.parametrize('providers', [[CPU], ['AzureExecutionProvider', CPU]])
@pytest.mark.slow
def test_out_of_memory_in_the_middle_of_an_image(
    tmp_path: Path, photo: np.ndarray, providers: list[str]
) -> None:
    """The next provider is tried, then the image is given up, and the next image is answered."""
    import cv2
    import onnxruntime

    if not set(providers) <= set(onnxruntime.get_available_providers()):
        pytest.skip('this onnxruntime has no second provider')
    (tmp_path / 'run.py').write_text(_OUT_OF_MEMORY)
    cv2.imwrite(str(tmp_path / 'run.py.jpg'), photo)
    result = subprocess.run(
        [sys.executable, str(tmp_path / 'run.py'), str(SHIPPED.with_suffix('.pb')), *providers],
        capture_output=True,
        text=True,
    )
    lines = result.stdout.splitlines()
    assert lines[-1] == 'the same: True', result
    assert lines[-2] == f'onnxruntime ({CPU})'
    assert lines[-3].startswith(
        f'ModelError: the model: {CPU} failed in the middle of an image, and no other'
    )
    warnings = lines[:-3]
    assert len(warnings) == len(providers) - 1
    if warnings:
        assert 'AzureExecutionProvider' in warnings[0] and f'runs on {CPU} now' in warnings[0]


# ---- ONNX parts of one's own
@pytest.fixture
def own_parts(model: Path) -> Path:
    """Manifest of a model that has nothing but ONNX parts."""
    weights = model.with_name('person_mask_rcnn.pb')
    for name, payload in convert(weights, weights.with_suffix('.pbtxt')).by_name().items():
        model.with_name(f'{name}.onnx').write_bytes(payload)
    digest = hashlib.sha256(model.with_name('boxes.onnx').read_bytes()).hexdigest()
    return edit(
        model,
        weights=None,
        text_graph=None,
        proposal_part='proposals.onnx',
        box_part='boxes.onnx',
        mask_part='masks.onnx',
        sha256={'box_part': digest},
    )


def test_a_manifest_names_onnx_parts(own_parts: Path, model: Path, photo: np.ndarray) -> None:
    (model.parent / 'person_mask_rcnn.pb').unlink()
    segmenter = load(own_parts, engine='auto')
    assert segmenter.engine == f'onnxruntime ({CPU})'
    assert segmenter(photo).class_names == ['person']
    with pytest.raises(ModelError, match='has ONNX parts only'):
        load(own_parts, engine='opencv')


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'mask_part': None}, 'lacks mask_part'),
        ({'mask_part': 'nowhere.onnx'}, r'mask part .*nowhere\.onnx is missing'),
        ({'mask_part': 'boxes.onnx'}, 'its part masks has the inputs features, regions and'),
        ({'mask_part': 'person_labels.txt'}, r'onnxruntime cannot load the part masks .*labels'),
        ({'sha256': {'box_part': '0' * 64}}, r'box_part .*boxes\.onnx: its SHA256 is'),
        ({'sha256': {'weights': '0' * 64}}, 'has a digest of weights, which it does not name'),
    ],
)
def test_wrong_parts_are_refused(own_parts: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(edit(own_parts, **changes))


def test_scores_of_regions_need_those_of_the_proposals(tmp_path: Path) -> None:
    """Parts of a model that has no scores of proposals, with the boxes of one that reads them."""
    weights = {
        name: REPOSITORY / 'models' / f'{name}_mask_rcnn.pb' for name in ('everyday', 'person')
    }
    scored, plain = (convert(path, path.with_suffix('.pbtxt')) for path in weights.values())
    files = plain.by_name() | {'boxes': scored.boxes}
    with pytest.raises(ModelError, match='reads region_scores, .* has no output proposal_scores'):
        OnnxMaskRcnn(files, 'the model')


def test_a_mask_part_may_read_features_and_regions(own_parts: Path, photo: np.ndarray) -> None:
    """Networks whose masks have nothing in common with the boxes are exported like that."""
    onnx = pytest.importorskip('onnx', reason='it merges two parts into one')
    folder = own_parts.parent
    # Without graphs in the graph, in which onnx renames nothing.
    parts = convert(SHIPPED.with_suffix('.pb'), SHIPPED.with_suffix('.pbtxt'), False)
    for name, payload in parts.by_name().items():
        (folder / f'{name}.onnx').write_bytes(payload)
    expected = OnnxMaskRcnn({n: folder / f'{n}.onnx' for n in NAMES}, 'the model')
    detections = expected.detect(photo)
    keep = np.arange(2)
    boxes = onnx.compose.add_prefix(onnx.load(folder / 'boxes.onnx'), 'boxes_')
    masks = onnx.compose.add_prefix(onnx.load(folder / 'masks.onnx'), 'masks_')
    merged = onnx.compose.merge_models(
        boxes, masks, [('boxes_region_features', 'masks_region_features')], outputs=['masks_masks']
    )
    renamed = {'boxes_features': 'features', 'boxes_regions': 'regions', 'masks_masks': 'masks'}
    for value in (*merged.graph.input, *merged.graph.output):
        value.name = renamed[value.name]
    for node in merged.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    onnx.save(merged, folder / 'masks.onnx')
    own = OnnxMaskRcnn({n: folder / f'{n}.onnx' for n in NAMES}, 'the model')
    np.testing.assert_allclose(
        own.masks(own.detect(photo), keep), expected.masks(detections, keep), atol=1e-5
    )


_WITHOUT_XIMGPROC = """
import sys
import cv2
del cv2.ximgproc  # as in opencv-python and in some distributions' builds
from instance_seg_ros import ModelError, Segmenter

for refiner in ('gan', 'smooth'):
    try:
        found = Segmenter(model=sys.argv[1], refiner=refiner, refine_budget_ms=1)(
            cv2.imread(sys.argv[2])
        )
        print(refiner, found.masks[0].any(), found.refined.tolist())
    except ModelError as error:
        print(error)
"""


def test_without_opencvs_contributed_modules_gan_works_and_smooth_says_so() -> None:
    """With so short a budget what the network does not reach would be left to the smoother."""
    pytest.importorskip('cv2.ximgproc', reason='it is taken away')
    photo = REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'
    lines = subprocess.check_output(
        [sys.executable, '-c', _WITHOUT_XIMGPROC, str(SHIPPED), str(photo)], text=True
    ).splitlines()
    assert lines[0] == 'gan True [False]'
    assert lines[1].startswith('refiner smooth: this OpenCV has no ximgproc module')
