# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Reading, editing and splitting OpenCV's text graphs."""

import re
from pathlib import Path

import pytest
from random_models import REPOSITORY

from instance_seg_ros import ModelError
from instance_seg_ros.detection.text_graph import SCORE_FLOOR, read_text_graph, split

SHIPPED = REPOSITORY / 'models' / 'person_mask_rcnn.pbtxt'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / 'graph.pbtxt'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def weights_in(text: str) -> set[str]:
    return set(re.findall(r'input: "(.*/(?:weights|biases|gamma))"', text))


def test_every_weight_is_in_one_part() -> None:
    graph = split(read_text_graph(SHIPPED), SHIPPED)
    assert (graph.detections, graph.mask_output) == ('detection_out_final', 'detection_masks')
    assert graph.num_classes == 1
    parts = [
        weights_in(text) for text in (graph.proposals, graph.regions, graph.boxes, graph.masks)
    ]
    assert all(len(part) >= 2 for part in parts)
    assert set.union(*parts) == weights_in(SHIPPED.read_text())
    assert sum(len(part) for part in parts) == len(set.union(*parts))


def test_a_mask_stage_of_another_kind_is_refused(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace(
        'SecondStageFeatureExtractor_1/InceptionV2/Mixed_5c/Branch_0', 'Other/Branch_0'
    )
    path = write(tmp_path, text)
    with pytest.raises(ModelError, match=r'graph\.pbtxt: its mask stage does not begin as'):
        split(read_text_graph(path), path)


def final_detection(text: str) -> str:
    return text[text.index('name: "detection_out_final"') :]


def test_low_scores_are_reported_so_that_low_thresholds_mean_something() -> None:
    graph = split(read_text_graph(SHIPPED), SHIPPED)
    assert f'f: {SCORE_FLOOR}' in final_detection(graph.boxes)


def test_the_number_of_proposals_can_be_lowered_but_not_raised(tmp_path: Path) -> None:
    nodes = read_text_graph(SHIPPED)

    def numbers(proposals: int | None) -> list[float | None]:
        graph = split(nodes, SHIPPED, proposals)
        edited = read_text_graph(write(tmp_path, graph.proposals + graph.boxes))
        return [n.number('keep_top_k') for n in edited if n.op == 'DetectionOutput']

    own = numbers(None)
    assert numbers(7) == [7, own[1]]  # the first stage's alone
    assert numbers(300) == own


def test_an_attribute_is_read_replaced_or_added() -> None:
    node = next(n for n in read_text_graph(SHIPPED) if n.name == 'detection_out_final')
    assert node.number('num_classes') == 1
    assert node.number('no_such_key') is None
    assert node.with_number('keep_top_k', 7).number('keep_top_k') == 7
    assert node.with_number('no_such_key', 0.5).number('no_such_key') == 0.5


@pytest.mark.parametrize(
    'content, problem',
    [
        ('', 'is not an OpenCV text graph'),
        ('<!DOCTYPE html><html></html>', 'is not an OpenCV text graph .*<!DOCTYPE html>'),
        ('version https://git-lfs.github.com/spec/v1\n', 'is not an OpenCV text graph .*git-lfs'),
        ('node {\n  name: "only a name"\n}\n', 'is not an OpenCV text graph'),
        (b'\x0a\xff\xfe\x80', 'cannot be read as text'),
    ],
)
def test_what_is_no_text_graph_is_refused(tmp_path: Path, content, problem) -> None:
    with pytest.raises(ModelError, match=rf'graph\.pbtxt: {problem}'):
        read_text_graph(write(tmp_path, content))


def test_a_missing_text_graph_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'nowhere\.pbtxt: no such file.*OpenCV text graph'):
        read_text_graph(tmp_path / 'nowhere.pbtxt')


@pytest.mark.parametrize('kept', [0.3, 0.5, 0.9, 0.9995])
def test_a_truncated_text_graph_is_refused(tmp_path: Path, kept: float) -> None:
    text = SHIPPED.read_text()
    path = write(tmp_path, text[: int(kept * len(text))])
    with pytest.raises(ModelError, match='is truncated'):
        read_text_graph(path)


def test_a_text_graph_that_lacks_its_last_nodes_is_refused(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    path = write(tmp_path, text[: text.index('node {', len(text) // 2)])
    with pytest.raises(ModelError, match='is not that of a Mask R-CNN'):
        split(read_text_graph(path), path)


def test_a_detector_without_masks_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ''.join(
            f'node {{\n  name: "{name}"\n  op: "{op}"\n}}\n'
            for name, op in [('image_tensor', 'Placeholder'), ('detection_out', 'DetectionOutput')]
        ),
    )
    with pytest.raises(ModelError, match='1 DetectionOutput nodes.*without masks cannot be used'):
        split(read_text_graph(path), path)
