# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The detector of everyday things: PyTorch and cv2.dnn compute the same from the shipped files."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY, load_whole_graph

torch = pytest.importorskip('torch', reason='parity compares with PyTorch')

from instance_seg_ros.models import read_manifest
from training.everyday.__main__ import main
from training.everyday.boxes import decode, propose
from training.everyday.export import export, read_choices
from training.everyday.graph import read_network
from training.everyday.network import (
    SCORE_EXPONENT,
    EverydayConfig,
    EverydayNetwork,
    anchor_boxes,
    crop,
    imagenet_variant,
)
from training.graph.seams import DETECTIONS, MASKS

SHIPPED = REPOSITORY / 'models' / 'everyday_mask_rcnn.pb'
CONFIG = EverydayConfig(num_classes=90)
FEATURES = 'Neck/merge_8/pointwise/Relu6'


@torch.no_grad()
def compute(network: EverydayNetwork, blob: np.ndarray) -> tuple[np.ndarray, ...]:
    """Features, boxes (P, 4) and scores (P, 90) of the proposals, in fractions."""
    config = network.config
    features = network.levels(torch.from_numpy(blob))[0]
    encodings, logits = network.first_stage(features)
    regions, region_scores = propose(
        anchor_boxes(config, *features.shape[2:]),
        encodings,
        logits.softmax(-1)[..., 1],
        config.rpn_candidates,
        config.proposals,
        config.rpn_nms_threshold,
    )
    boxes, scores = network.second_stage(network.regions(crop(features, regions)))
    boxes = decode(regions[0], boxes).clamp(0, 1)
    scores = (scores.softmax(-1)[:, 1:] * region_scores[0, :, None]) ** SCORE_EXPONENT
    return features.numpy(), boxes.numpy(), scores.numpy()


@pytest.mark.parametrize('size', [(320, 320), (288, 416)])
def test_same_numbers(tmp_path: Path, photo: np.ndarray, size: tuple[int, int]) -> None:
    network = read_network(SHIPPED, CONFIG)
    names = {i + 1: f'class {i}' for i in range(90)}
    export(network, names, tmp_path / 'model')
    blob = cv2.dnn.blobFromImage(cv2.resize(photo, size[::-1]), swapRB=True)
    net = load_whole_graph(tmp_path)
    net.setInput(blob)
    rows, masks, features = net.forward([DETECTIONS, MASKS, FEATURES])
    rows = rows[0, 0]
    used = (rows[:, 2] > 0) & (rows[:, 5] > rows[:, 3]) & (rows[:, 6] > rows[:, 4])
    rows, masks = rows[used], masks[used]
    assert len(rows) > 0

    ours, boxes, scores = compute(network, blob)

    np.testing.assert_allclose(ours, features, atol=1e-3)
    for row in rows:
        distance = np.abs(boxes - row[3:]).max(1) + np.abs(scores[:, int(row[1])] - row[2])
        assert distance.min() < 1e-3
    with torch.no_grad():
        inner = network.regions(crop(torch.from_numpy(features), torch.tensor(rows[None, :, 3:])))
        expected = network.masks(inner).sigmoid().numpy()
    for row, mask, one in zip(rows, masks, expected, strict=True):
        np.testing.assert_allclose(mask[int(row[1])], one, atol=1e-3)


def test_only_reported_classes_are_found(tmp_path: Path, photo: np.ndarray) -> None:
    network = read_network(SHIPPED, CONFIG)
    names = {i + 1: f'class {i}' for i in range(90)}
    blob = cv2.dnn.blobFromImage(cv2.resize(photo, (320, 320)), swapRB=True)
    found = []
    for reported in (None, ['class 46']):
        export(network, names, tmp_path / 'model', reported=reported)
        net = load_whole_graph(tmp_path)
        net.setInput(blob)
        rows = net.forward(DETECTIONS)[0, 0]
        found.append({int(row[1]) for row in rows if row[2] > 0})
    assert found[0] > found[1] == {46}


def test_a_frozen_graph_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match='is of another network'):
        read_network(REPOSITORY / 'models' / 'person_mask_rcnn.pb', CONFIG)


@pytest.mark.parametrize('variant, blocks', [('lite0', 16), ('lite1', 21), ('lite2', 21)])
def test_all_backbones_are_exported_and_read(
    tmp_path: Path, photo: np.ndarray, variant: str, blocks: int
) -> None:
    """A graph says itself which backbone it has, and cv2.dnn computes the same."""
    torch.manual_seed(0)
    network = EverydayNetwork(EverydayConfig(num_classes=2, backbone=variant)).eval()
    export(network, {1: 'box', 2: 'ball'}, tmp_path / 'model')
    read = read_network(tmp_path / 'model.pb', EverydayConfig(num_classes=2))
    assert read.config.backbone == variant and len(read.blocks) == blocks
    blob = cv2.dnn.blobFromImage(cv2.resize(photo, (320, 320)), swapRB=True)
    net = load_whole_graph(tmp_path)
    net.setInput(blob)
    with torch.no_grad():
        for same in (network, read):
            features = same.levels(torch.from_numpy(blob))[0].numpy()
            np.testing.assert_allclose(net.forward(FEATURES), features, atol=1e-3)


def test_large_category_ids_are_counted_from_one(tmp_path: Path) -> None:
    """A graph has a row of scores for each number, so not for millions of them."""
    torch.manual_seed(0)
    network = EverydayNetwork(EverydayConfig(num_classes=2)).eval()
    changes = {'ball': 0.5, 'background': -1.0}
    for name, ids in ('small', (1, 2)), ('large', (7346181, 9120034)), ('coco', (3, 90)):
        export(
            network,
            dict(zip(ids, ('box', 'ball'), strict=True)),
            tmp_path / name,
            reported=['ball'],
            logit_changes=changes,
        )
    for ending in ('.pb', '.pbtxt', '_labels.txt'):
        small, large = ((tmp_path / f'{name}{ending}').read_bytes() for name in ('small', 'large'))
        assert small == large
    assert (tmp_path / 'large_labels.txt').read_text() == '-\nball\n'
    assert (tmp_path / 'coco_labels.txt').read_text() == '-\n' * 89 + 'ball\n'


@pytest.mark.parametrize(
    'content, message',
    [
        ('{"reported": ["box"', ': cannot be read as JSON (Expecting'),
        ('[]', ': expected a JSON mapping with the keys reported, logit_changes, settings'),
        ('{"classes": ["box"]}', ': expected a JSON mapping with the keys reported'),
        ('{"reported": "box"}', ": reported: is 'box', expected a list of classes"),
        ('{"reported": []}', ': reported: is [], expected a list of classes, at least one'),
        (
            '{"reported": ["bxo", "ball"]}',
            ": reported: 'bxo': no such class. Expected some of: box",
        ),
        ('{"reported": ["background"]}', ": reported: 'background': no such class"),
        ('{"reported": [["box"]]}', ": reported: ['box']: no such class"),
        ('{"logit_changes": [1]}', ': logit_changes: is [1], expected a mapping of classes to'),
        ('{"logit_changes": {"bxo": 1}}', ": logit_changes: 'bxo': no such class. Expected"),
        ('{"logit_changes": {"box": "1"}}', ": logit_changes: box is '1', expected a number"),
        ('{"logit_changes": {"box": NaN}}', ': logit_changes: box is nan, expected a number'),
        (
            '{"logit_changes": {"box": 1e99}}',
            ': logit_changes: box is 1e+99, expected a number from -100',
        ),
        ('{"settings": 640}', ': settings: is 640, expected a mapping of keys of the manifest'),
        ('{"settings": {"input_max_sid": 640}}', ': settings: has unknown keys input_max_sid'),
        ('{"settings": {"input_max_side": 100000}}', ': settings: input_max_side is 100000, exp'),
        ('{"settings": {"max_upscale": NaN}}', ': settings: max_upscale is nan, expected a factor'),
        ('{"settings": {"presets": {"fast": 3}}}', ': settings: presets is '),
        ('{"settings": {"size_multiple": 7}}', ': settings: size_multiple is 7, expected a mul'),
        ('{"settings": {"weights": "my.pb"}}', ': settings: has weights, which the export itself'),
    ],
)
def test_settings_that_make_no_model_are_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / 'names.json').write_text('{"1": "box", "2": "ball"}')
    settings = tmp_path / 'settings.json'
    settings.write_text(content)
    arguments = ['export', '--run', str(tmp_path), '--output', str(tmp_path / 'out' / 'model')]
    assert main([*arguments, '--settings', str(settings)]) == 2
    assert f'error: {settings}{message}' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_settings_of_a_file_are_those_of_the_model(tmp_path: Path) -> None:
    network = EverydayNetwork(EverydayConfig(num_classes=2)).eval()
    names = {1: 'box', 2: 'ball'}
    (tmp_path / 'settings.json').write_text(
        '{"reported": ["ball"], "logit_changes": {"ball": 0.5, "background": -1},'
        ' "settings": {"input_max_side": 640, "proposals": 80, "licence": "MIT"}}'
    )
    chosen = read_choices(tmp_path / 'settings.json', names)
    manifest = read_manifest(export(network, names, tmp_path / 'model', **chosen))
    assert (manifest.input_max_side, manifest.proposals) == (640, 80)
    assert (tmp_path / 'model_labels.txt').read_text() == '-\nball\n'
    assert read_choices(REPOSITORY / 'training/everyday/reported.json', shipped_names())


def shipped_names() -> dict[int, str]:
    lines = SHIPPED.with_name('everyday_mask_rcnn_labels.txt').read_text().splitlines()
    return {i: name for i, name in enumerate(lines, 1) if name != '-'}


def test_a_model_is_exported_where_opencv_is_missing(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules['cv2'] = None
from pathlib import Path
from training.everyday.export import EverydayConfig, EverydayNetwork, export
network = EverydayNetwork(EverydayConfig(num_classes=1)).eval()
export(network, {{1: 'box'}}, Path({str(tmp_path / 'model')!r}))
"""
    subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=True)
    assert not read_manifest(tmp_path / 'model.yaml').missing_files()


def test_float16_halves_the_file_and_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = EverydayNetwork(EverydayConfig(num_classes=2)).eval()
    names = {1: 'box', 2: 'ball'}
    export(network, names, tmp_path / 'large')
    export(network, names, tmp_path / 'small', float16=True)
    large, small = tmp_path / 'large.pb', tmp_path / 'small.pb'
    assert small.stat().st_size < 0.6 * large.stat().st_size
    expected, actual = (read_network(path, network.config).state_dict() for path in (large, small))
    for name, array in expected.items():
        torch.testing.assert_close(actual[name], array, rtol=2**-11, atol=1e-7)


def test_kernels_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    network = EverydayNetwork(EverydayConfig(num_classes=1)).eval()
    with torch.no_grad():
        network.lateral16.weight.fill_(1e6)
    with pytest.raises(ValueError, match='too large for float16'):
        export(network, {1: 'box'}, tmp_path / 'model', float16=True)
    assert not list(tmp_path.iterdir())


def test_weights_of_an_unknown_backbone_are_refused() -> None:
    with pytest.raises(ValueError, match=r'backbone of 31 blocks .* expected EfficientNet lite0'):
        imagenet_variant({'_blocks.30._project_conv.weight': torch.zeros(448, 2, 1, 1)})
