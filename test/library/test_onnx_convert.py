# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the converter writes, and what it says of a graph that it cannot convert."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros.detection import OnnxMaskRcnn
from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_convert import convert
from instance_seg_ros.detection.text_graph import parse_text_graph
from instance_seg_ros.errors import ModelError

WEIGHTS = REPOSITORY / 'models' / 'person_mask_rcnn.pb'
TEXT_GRAPH = WEIGHTS.with_suffix('.pbtxt')


def edited(folder: Path, old: str, new: str) -> Path:
    text = TEXT_GRAPH.read_text()
    assert old in text
    (folder / 'edited.pbtxt').write_text(text.replace(old, new, 1))
    return folder / 'edited.pbtxt'


# What else the parts of a model have whose second stage reads the scores of the first, and whose
# classes share a mask.
SCORED = {
    'proposals': ([], ['proposal_scores']),
    'boxes': (['region_scores'], []),
    'masks': (['class_ids'], []),
}


@pytest.mark.parametrize('model, more', [('person_mask_rcnn', {}), ('everyday_mask_rcnn', SCORED)])
def test_parts_are_valid_and_documented(
    model: str, more: dict[str, tuple[list[str], list[str]]]
) -> None:
    onnx = pytest.importorskip('onnx', reason='it checks ONNX files')
    interface = {
        'proposals': (['image'], ['features', 'proposals']),
        'boxes': (['features', 'regions'], ['scores', 'boxes', 'region_features']),
        'masks': (['region_features'], ['masks']),
    }
    weights = REPOSITORY / 'models' / f'{model}.pb'
    for name, payload in convert(weights, weights.with_suffix('.pbtxt')).by_name().items():
        part = onnx.load_from_string(payload)
        onnx.checker.check_model(part, full_check=True)
        inputs, outputs = interface[name]
        more_inputs, more_outputs = more.get(name, ([], []))
        assert [i.name for i in part.graph.input] == inputs + more_inputs
        assert [o.name for o in part.graph.output] == outputs + more_outputs


def test_the_same_files_give_the_same_bytes() -> None:
    assert convert(WEIGHTS, TEXT_GRAPH) == convert(WEIGHTS, TEXT_GRAPH)


def test_nothing_heavy_is_imported() -> None:
    code = (
        'import sys; from pathlib import Path; '
        'from instance_seg_ros.detection.onnx_convert import convert; '
        f'convert(Path({str(WEIGHTS)!r}), Path({str(TEXT_GRAPH)!r})); '
        "print(sorted({'onnx', 'onnxruntime', 'torch', 'tensorflow', 'google.protobuf'} "
        '& set(sys.modules)))'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == '[]'


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('op: "Relu6"', 'op: "Mish"', r"'Conv/Relu6' \(Mish\) is not among the operations"),
        ('s: "SAME"', 's: "FULL"', r"has the padding 'FULL', expected SAME, VALID or EXPLICIT"),
        ('s: "NHWC"', 's: "NCHW"', 'has the data_format NCHW, expected NHWC'),
        ('s: "CENTER_SIZE"', 's: "CORNER"', 'has the code_type CORNER, expected CENTER_SIZE'),
        ('s: "bilinear"', 's: "nearest"', "has the method 'nearest', expected bilinear"),
        (
            'input: "Conv/weights"',
            'input: "Conv/kernels"',
            "needs the constant 'Conv/kernels', which the frozen graph does not have",
        ),
    ],
)
def test_what_is_unknown_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        convert(WEIGHTS, edited(tmp_path, old, new))
    assert 'edited.pbtxt' in str(caught.value)


def test_another_models_weights_are_refused(small_model: Path) -> None:
    pytest.importorskip('onnxruntime', reason='it finds out')
    with pytest.raises(ModelError, match='the model: .* are the files of the same model'):
        parts = convert(small_model.with_name('model.pb'), TEXT_GRAPH).by_name()
        OnnxMaskRcnn(parts, 'the model')


def test_attributes_of_all_forms_of_protobuf_text_are_read() -> None:
    text = """node {
      name: "n"  # a comment
      op: "Conv2D"
      input: "x"
      attr { key: "strides" value { list { i: [1, 2, 2, 1] } } }
      attr: < key: "ksize", value: { list { i: 1 i: 3 i: -1 i: 1 } } >
      attr { key: "x" value { f: 1.5e-3 } }
      attr { key: "s" value { s: "a \\" b" } }
      attr { key: "t" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 3 } }
             float_val: 0.5 } } }
      attr { key: "flag" value { b: true } }
    }"""
    (node,) = parse_text_graph(text)
    attributes = NodeAttributes(node)
    assert attributes.integers('strides', []) == [1, 2, 2, 1]
    assert attributes.integers('ksize', []) == [1, 3, -1, 1]
    assert attributes.number('x', 0) == 1.5e-3
    assert attributes.flag('flag') and not attributes.flag('absent')
    tensor = attributes.tensor('t')
    assert tensor is not None
    np.testing.assert_array_equal(tensor, np.full(3, 0.5, np.float32))


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('op: "Placeholder"', 'op: "Identity"'),  # each ended the converter once, by another error
        ('list {', 'list: "x" {'),
        ('op: "Relu6"', f'op: "{"x" * 9000}"'),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, old: str, new: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ModelError, match='edited.pbtxt') as error:
        convert(WEIGHTS, path)
    assert len(str(error.value)) < 1500


def test_a_tensor_without_end_is_refused() -> None:
    huge = 'tensor { dtype: DT_FLOAT tensor_shape { dim { size: 9000000000 } } float_val: 1 }'
    text = (
        f'node {{\n  name: "n"\n  op: "Const"\n  attr {{ key: "value" value {{ {huge} }} }}\n}}\n'
    )
    (node,) = parse_text_graph(text)
    with pytest.raises(ValueError, match='9000000000 numbers'):
        NodeAttributes(node).tensor('value')
