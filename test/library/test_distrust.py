# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Model files from anywhere: each is used, or refused by a ModelError that names it."""

import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import REPOSITORY

from instance_seg_ros import ModelError, Segmenter, trial
from instance_seg_ros.class_names import read_class_names
from instance_seg_ros.detection.frozen_graph import float_constants, read_weights
from instance_seg_ros.detection.text_graph import read_text_graph, split
from instance_seg_ros.models import find_model, read_manifest
from instance_seg_ros.segmentation import load_model
from instance_seg_ros.settings import ModelSettings
from instance_seg_ros.trial import try_model

MODELS = REPOSITORY / 'models'
MANIFEST = (MODELS / 'person_mask_rcnn.yaml').read_text()
TEXT_GRAPH = (MODELS / 'person_mask_rcnn.pbtxt').read_text()
WEIGHTS = (MODELS / 'person_mask_rcnn.pb').read_bytes()
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the files of a model that no manifest names."""
    for suffix in ('.pb', '.pbtxt'):
        shutil.copy(MODELS / f'person_mask_rcnn{suffix}', tmp_path / f'my{suffix}')
    shutil.copy(MODELS / 'person_labels.txt', tmp_path / 'my_labels.txt')
    return tmp_path


# ---- text files are read alike
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('mark', ['', '\ufeff'])
def test_text_files_may_come_from_any_editor(own: Path, end: str, mark: str) -> None:
    def convert(path: Path, text: str) -> None:
        path.write_bytes((mark + text.replace('\n', end)).encode())

    for name in ('my.pbtxt', 'my_labels.txt'):
        convert(own / name, (own / name).read_text())
    manifest = 'name: mine\nweights: my.pb\ntext_graph: my.pbtxt\nlabels: my_labels.txt\n'
    convert(own / 'my.yaml', manifest)
    found = find_model(str(own / 'my.yaml'))
    assert found.name == 'mine'
    assert split(read_text_graph(found.text_graph), found.text_graph).num_classes == 1
    assert read_class_names(found.labels, 1) == {0: 'person'}


@pytest.mark.parametrize('role', ['text_graph', 'labels'])
@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'\xff\xfen\0o\0d\0e\0', 'not a UTF-8 text file|cannot be read as text'),
        (bytes(20_000_000), 'has 20000000 bytes, at most'),
        (None, '[Nn]o such file'),
        ('folder', 'Is a directory'),
    ],
)
def test_what_is_no_text_file_is_named(
    own: Path, role: str, content: object, expected: str
) -> None:
    path = own / {'text_graph': 'my.pbtxt', 'labels': 'my_labels.txt'}[role]
    path.unlink()
    if content == 'folder':
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    read = read_text_graph if role == 'text_graph' else lambda p: read_class_names(p, 1)
    with pytest.raises(ModelError, match=f'{path}: .*({expected})'):
        read(path)


# ---- label files
@pytest.mark.parametrize(
    'text',
    [
        "item { id: 2 name: 'fork' }\nitem { id: 1 name: 'cup' }\n",
        '# of my project\nitem {\n  id: 1\n  name: "cup"\n}\nitem {\n  name: "fork"\n  id: 2\n}\n',
        'item: { name: "/m/01", id: 1, display_name: "cup" }\nitem { id: 2 name: "fork" }',
    ],
)
def test_a_label_map_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / 'map.pbtxt').write_text(text)
    assert read_class_names(tmp_path / 'map.pbtxt', 3) == {0: 'cup', 1: 'fork'}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('\n\n', 'names no class'),
        ('-\n-\n', 'names no class'),
        ('', 'has 0 lines'),
        ('cup\n' + 'x' * 1000 + '\n', 'class id 1 is called'),
        ('cup\na\x1bb\n', 'class id 1 is called'),
        ("item { id: 3 name: 'cup' }", "the id '3'; the model has the ids 1 to 2"),
        ("item { id: 1 name: 'cup' }\nitem { id: 1 name: 'fork' }", 'has the id 1 twice'),
        ("item { id: 1 name: 'cup'\n", 'a part that is none'),
        ('item { id: 99999999999999999999 name: "cup" }', 'with the id'),
        ('item { id: 1 }\nitem { id: 2 }', 'names no class|is called'),
    ],
)
def test_a_label_file_that_says_nothing_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / 'labels.txt').write_text(text)
    with pytest.raises(ModelError, match=f'labels.txt: .*({expected})'):
        read_class_names(tmp_path / 'labels.txt', 2)


# ---- manifests
BOMB = 'a: &a [x, x]\n' + ''.join(
    f'{here}: &{here} [*{last}, *{last}, *{last}, *{last}]\n'
    for last, here in itertools.pairwise('abcdefghijklmnop')
)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (BOMB, 'has a YAML alias'),
        ('[' * 5000, 'nested too deeply'),
        ('{a: ' * 200_000, 'bytes, at most|nested too deeply'),
        ('name: CI\non: push\njobs: {}\n', 'unknown keys'),
        ('1: a\nfoo: b\n', 'unknown keys'),
        (MANIFEST + 'card: 2001-99-99\n', 'is not YAML'),
        (MANIFEST.replace('size_multiple: 16', 'size_multiple: 4000000000'), 'at most 512'),
        (MANIFEST.replace('size_multiple: 16', f'size_multiple: {"9" * 9000}'), 'not YAML'),
        (MANIFEST.replace('size_multiple: 16', f'size_multiple: 0x{"f" * 9000}'), 'size_multiple'),
        (MANIFEST.replace('proposals: 16', 'proposals: 1:1:1:1:1:1:1:1:1'), 'proposals is'),
        (MANIFEST.replace('input_max_side: 544', 'input_max_side: ~'), 'input_max_side is None'),
        (MANIFEST.replace('side: 448', 'side: ~'), 'presets: .*input_max_side is None'),
        (MANIFEST.replace('max_upscale: 1.0625', 'max_upscale: .nan'), 'max_upscale is nan'),
        (MANIFEST.replace('name: person', f'name: {"x" * 999}'), 'name is'),
        (MANIFEST.replace('person_mask_rcnn.pb', 'x' * 15_000), 'weights is'),
        (MANIFEST + f'engine: {"x" * 15_000}\n', 'engine is'),
        (MANIFEST.replace('name: person_mask_rcnn', 'name: "a\\nb"'), 'name is'),
        ('? [a]\n: b\n', 'is not YAML'),
        ('!!python/object/apply:os.system [ls]', 'is not YAML'),
        ('\0', 'is not YAML'),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / 'm.yaml').write_text(text)
    with pytest.raises(ModelError, match=f'm.yaml: .*({expected})') as error:
        read_manifest(tmp_path / 'm.yaml')
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize('name', ['x' * 300, 'a\0b', '/dev/zero', '.', ''])
def test_names_that_no_file_has_are_missing_files(own: Path, name: str) -> None:
    quoted = name.replace('\0', '\\0')
    (own / 'm.yaml').write_text(
        f'name: m\nweights: "{quoted}"\ntext_graph: my.pbtxt\nlabels: my_labels.txt\n'
    )
    with pytest.raises(ModelError, match='weights .*missing'):
        find_model(str(own / 'm.yaml'))


@pytest.mark.parametrize('other', [BOMB, 'on: push\n', '[' * 5000, '\0', '- 1', '{1: 2, a: 3}'])
def test_another_programs_yaml_beside_the_weights_is_passed_over(own: Path, other: str) -> None:
    (own / 'ci.yaml').write_text(other)
    assert find_model(str(own / 'my.pb')).name == 'my'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    'name weights text_graph labels sha1 sha256 input_max_side proposals max_upscale size_multiple '
    'presets licence card description x'.split()
)


@SLOW
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_manifest_is_read_or_refused(changes: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'm.yaml')
        path.write_text(yaml.safe_dump(yaml.safe_load(MANIFEST) | changes), encoding='utf-8')
        try:
            manifest = find_model(str(path))
        except ModelError as error:
            assert len(str(error)) < 2000
        else:
            assert manifest.size_multiple <= 512 and manifest.input_max_side <= 16384


# ---- text graphs
@pytest.mark.parametrize(
    ('before', 'after', 'expected'),
    [
        ('i: 2', 'i: 2147483648', 'has the number'),
        ('size: 3', 'size: 99999999999999999999', 'has the number'),
        ('f: 0', 'f: nan', 'has the number'),
        ('f: 0', 'f: inf', 'has the number'),
        ('op: "CropAndResize"', 'op: "Identity"', 'is not that of a Mask R-CNN'),
    ],
)
def test_a_text_graph_that_makes_no_sense_is_refused(
    tmp_path: Path, before: str, after: str, expected: str
) -> None:
    assert before in TEXT_GRAPH
    (tmp_path / 'g.pbtxt').write_text(TEXT_GRAPH.replace(before, after))
    with pytest.raises(ModelError, match=f'g.pbtxt: .*{expected}'):
        split(read_text_graph(tmp_path / 'g.pbtxt'), tmp_path / 'g.pbtxt')


LINES = TEXT_GRAPH.splitlines(keepends=True)
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(LINES) - 1),
        st.sampled_from(['', '}\n', 'node {\n', '"', '  i: 1e400\n', '  input: "x"\n', 'again']),
    ),
    max_size=4,
)


@SLOW
@given(EDITS)
def test_any_text_graph_is_read_or_refused(tmp_path_factory: object, edits: list) -> None:
    lines = list(LINES)
    for place, edit in edits:
        lines[place] = lines[place] * 2 if edit == 'again' else edit
    path = tmp_path_factory.getbasetemp() / 'edited.pbtxt'
    path.write_text(''.join(lines))
    try:
        graph = split(read_text_graph(path), path)
    except ModelError as error:
        assert str(path) in str(error) and len(str(error)) < 1000
    else:
        assert 1 <= graph.num_classes <= 10_000


@pytest.mark.parametrize(
    'text', ['node {\n' * 200_000, '\n' * 3_000_000, 'node {' + '{' * 1_000_000, '"' * 1_000_001]
)
@pytest.mark.slow
def test_a_long_text_graph_of_nonsense_is_refused_in_linear_time(tmp_path: Path, text: str) -> None:
    (tmp_path / 'g.pbtxt').write_text(text)
    code = f"""
import resource; resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
from pathlib import Path
from instance_seg_ros import ModelError
from instance_seg_ros.detection.text_graph import read_text_graph
try: read_text_graph(Path({str(tmp_path / 'g.pbtxt')!r}))
except ModelError: print('refused')
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout == 'refused\n', done.stderr[-300:]


# ---- frozen graphs
def test_a_number_without_end_in_a_frozen_graph_is_refused(tmp_path: Path) -> None:
    for start in (b'\x0a', b'\x0a\x05\x0a\x03abc\x0a'):
        (tmp_path / 'm.pb').write_bytes(start + b'\xff' * 3_000_000)
        with pytest.raises(ModelError, match=r'm.pb: is not a frozen graph'):
            read_weights(tmp_path / 'm.pb')
    with pytest.raises(ValueError, match='has no end'):
        float_constants(np.frombuffer(b'\x0a\x84\x80\x00\x08' + b'\xff' * 3_000, np.uint8))


@SLOW
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8), st.integers(0, 99)
)
def test_any_frozen_graph_is_read_or_refused(
    tmp_path_factory: object, edits: list, cut: int
) -> None:
    content = bytearray(WEIGHTS[: 20_000 - cut] if cut else WEIGHTS)
    for place, value in edits:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / 'edited.pb'
    path.write_bytes(content)
    try:
        weights = read_weights(path)
    except ModelError as error:
        assert str(path) in str(error)
        return
    try:
        float_constants(weights)
    except ValueError:
        pass


# ---- the trial in another process
def test_the_shipped_model_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    try_model(find_model('person_mask_rcnn'), ModelSettings())
    assert not list(tmp_path.rglob('tried/*'))


def test_an_unknown_model_is_tried_once(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def passed() -> int:
        return len(list((tmp_path / 'cache').rglob('tried/*')))

    segmenter = Segmenter(model=str(own / 'my.pb'), refiner='none')
    assert passed() == 1
    assert segmenter.model_name == 'my'
    assert load_model(own / 'my.pb').class_names == {0: 'person'}
    assert passed() == 1


def test_a_model_that_could_not_be_tried_is_tried_the_next_time(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (own / 'my.pb').write_bytes(b'hostile')
    model = find_model(str(own / 'my.pb'))
    with monkeypatch.context() as embedded:
        embedded.setattr(sys, 'executable', '')
        try_model(model, ModelSettings())
    assert 'used without its trial' in caplog.text
    with pytest.raises(ModelError, match='my.pb'):
        try_model(model, ModelSettings())


@pytest.mark.slow
def test_a_network_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, 'LONGEST', 8.0)
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, kind: int, shape: object) -> object:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node('Identity', ['c'], ['c2']), helper.make_node('Identity', ['x'], ['x2'])],
        'body',
        [value('i', TensorProto.INT64, []), value('c', TensorProto.BOOL, []),
         value('x', TensorProto.FLOAT, None)],
        [value('c2', TensorProto.BOOL, []), value('x2', TensorProto.FLOAT, None)],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node('Loop', ['', 'true', 'coarse'], ['turned'], body=body),
            helper.make_node('Identity', ['turned'], ['alpha']),
        ],
        'graph',
        [
            value('image', TensorProto.FLOAT, ['n', 3, 'h', 'w']),
            value('coarse', TensorProto.FLOAT, ['n', 1, 'h', 'w']),
        ],
        [value('alpha', TensorProto.FLOAT, ['n', 1, 'h', 'w'])],
        initializer=[numpy_helper.from_array(np.array(True), 'true')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.save(model, str(tmp_path / 'loop.onnx'))
    with pytest.raises(ModelError, match=r'loop.onnx: loading and running it once took more than'):
        Segmenter(refiner=str(tmp_path / 'loop.onnx'))
