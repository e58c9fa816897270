# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batch norms that become a part of the convolutions before them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import ENGINE, REPOSITORY, forward_whole_graph

from instance_seg_ros.detection import MaskRcnn
from instance_seg_ros.detection.batch_norm import fold_batch_norms
from instance_seg_ros.detection.frozen_graph import float_constants, read_weights
from instance_seg_ros.detection.text_graph import GraphNode, read_text_graph

# A trained model: its batch norms have four different numbers for every channel.
WEIGHTS = REPOSITORY / 'models' / 'person_mask_rcnn.pb'
TEXT_GRAPH = WEIGHTS.with_suffix('.pbtxt')


@pytest.fixture(scope='module')
def nodes() -> list[GraphNode]:
    return read_text_graph(TEXT_GRAPH)


@pytest.fixture(scope='module')
def weights() -> np.ndarray:
    return read_weights(WEIGHTS)


def forward(
    nodes: list[GraphNode], weights: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    text = ''.join(node.text for node in nodes)
    net = cv2.dnn.readNetFromTensorflow(weights, np.frombuffer(text.encode(), np.uint8), **ENGINE)
    return forward_whole_graph(net, image)


@pytest.fixture(scope='module')
def image(photo: np.ndarray) -> np.ndarray:
    return cv2.resize(photo, (280, 264))


@pytest.fixture(scope='module')
def expected(
    nodes: list[GraphNode], weights: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, masks = forward(nodes, weights, image)
    assert rows[0, 2] > 0.5  # the astronaut
    return rows, masks


def norms(nodes: list[GraphNode]) -> list[str]:
    return [node.name for node in nodes if node.op.startswith('FusedBatchNorm')]


def test_every_batch_norm_becomes_a_bias_and_the_results_stay_the_same_bits(
    nodes: list[GraphNode],
    weights: np.ndarray,
    image: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray],
) -> None:
    before = weights.copy()
    folded, changed = fold_batch_norms(nodes, weights)
    assert len(norms(nodes)) > 80 and norms(folded) == []
    np.testing.assert_array_equal(weights, before)  # the caller's are left as they are
    for actual, wanted in zip(forward(folded, changed, image), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_the_detector_gives_the_bits_of_the_network_in_one_piece(
    image: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    rows, masks = expected
    detector = MaskRcnn(WEIGHTS, TEXT_GRAPH)
    detections = detector.detect(image)
    reported = rows[rows[:, 2] >= 0.3]  # the text graph's own floor is higher than the detector's
    np.testing.assert_array_equal(detections.rows[: len(reported)], reported)
    np.testing.assert_array_equal(
        detector.masks(detections, np.arange(len(reported))), masks[: len(reported), 0]
    )


def test_weights_that_two_different_norms_follow_are_left_to_opencv(
    nodes: list[GraphNode], weights: np.ndarray, image: np.ndarray
) -> None:
    # Both stages convolve regions with the same weights; one gets an epsilon of its own.
    name = 'SecondStageFeatureExtractor_1/InceptionV2/Mixed_5a/Branch_0/Conv2d_0a_1x1'
    edited = [
        node.with_number('epsilon', 0.5)
        if node.name == f'{name}/BatchNorm/FusedBatchNorm'
        else node
        for node in nodes
    ]
    folded, changed = fold_batch_norms(edited, weights)
    assert norms(folded) == [
        f'{name.replace("_1/", "/", 1)}/BatchNorm/FusedBatchNorm',
        f'{name}/BatchNorm/FusedBatchNorm',
    ]
    for actual, wanted in zip(
        forward(folded, changed, image), forward(edited, weights, image), strict=True
    ):
        np.testing.assert_array_equal(actual, wanted)


def test_weights_that_are_used_without_a_norm_too_are_left_to_opencv(
    nodes: list[GraphNode], weights: np.ndarray
) -> None:
    norm = next(node for node in nodes if node.op == 'FusedBatchNorm')
    convolution = next(node for node in nodes if node.name == norm.inputs[0])
    twin = GraphNode('Twin', 'Conv2D', convolution.inputs, convolution.text)
    assert norms(fold_batch_norms([*nodes, twin], weights)[0]) == [norm.name]
    reader = GraphNode('Reader', 'Relu', (norm.inputs[2],), '')
    assert norms(fold_batch_norms([*nodes, reader], weights)[0]) == [norm.name]


def test_constants_are_read_and_written_where_they_are(weights: np.ndarray) -> None:
    constant = float_constants(weights)['SecondStageBoxPredictor/ClassPredictor/biases']
    assert constant.shape == (2,)
    changed = weights.copy()
    constant.write(changed, np.array([1.5, -2.5], np.float32))
    np.testing.assert_array_equal(constant.read(changed), [1.5, -2.5])
    np.testing.assert_array_equal(constant.read(weights) == constant.read(changed), False)
    assert (changed != weights).sum() <= 8


@pytest.mark.parametrize('content', [b'garbage', b'\x0a\x03\x0a\x7fx', b'\x0b'])
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        float_constants(np.frombuffer(content, np.uint8))


def test_a_graph_that_is_broken_inside_is_refused_by_name(tmp_path: Path) -> None:
    payload = WEIGHTS.read_bytes()
    assert b'/BatchNorm/gamma' in payload
    (tmp_path / 'model.pb').write_bytes(payload.replace(b'/gamma', b'/\xff\xfe\xff\xfe\xff', 1))
    with pytest.raises(RuntimeError, match=r'model\.pb and text graph .*do not work together'):
        MaskRcnn(tmp_path / 'model.pb', TEXT_GRAPH)
