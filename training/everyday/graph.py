# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A trained network as the operations and arrays of a frozen graph and its OpenCV text graph.

Batch norms are folded into the convolutions. The seams are those of the published Mask R-CNN:
``detection_out``, ``CropAndResize``, ``detection_out_final``, ``CropAndResize_1``,
``detection_masks``, so that it is split and run like one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.everyday.network import (
    FEATURE_STRIDE,
    MASK_SIZE,
    SCORE_EXPONENT,
    Block,
    Convolution,
    EverydayConfig,
    EverydayNetwork,
    variant_with,
)
from training.graph.nodes import Node, NodeList, Weight
from training.graph.seams import (
    DETECTIONS,
    MASKS,
    PROPOSALS,
    crops,
    detections,
    prior_boxes,
    proposals,
)
from training.graph.tensorflow_files import read_floats

GRAPH_NUMBERS = 90  # classes of the shipped graph, COCO's gaps among them
_PROJECTION = re.compile(r'Backbone/block_(\d+)/project/weights')
_NO_CLASS = -30.0  # logit of a number without a class


class _Graph(NodeList):
    """Collects nodes and arrays; every method returns the name of the last node it added."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: dict[str, NDArray[np.float32]] = {}
        self.layers: dict[str, Any] = {}

    def weight(self, name: str, array: NDArray[np.float32], role: str) -> Weight:
        self.arrays[name] = np.ascontiguousarray(array, np.float32)
        return Weight(name, array.shape, role)

    def convolution(
        self, name: str, layer: Convolution, x: str, weights: str = '', **attributes: Any
    ) -> str:
        """Convolution, bias and, if the layer has one, ReLU6; ``weights`` where another node of the
        same layer is called so.
        """
        kernel, bias = (value.detach().float().numpy() for value in layer.folded())
        weights = weights or name
        self.layers[weights] = layer
        kernel = kernel.transpose(2, 3, 0, 1) if layer.depthwise else kernel.transpose(2, 3, 1, 0)
        shared = {
            'data_format': 'NHWC',
            'dilations': [1, 1, 1, 1],
            'padding': 'SAME',
            'strides': [1, layer.stride, layer.stride, 1],
        }
        x = self.add(
            f'{name}/Conv2D' if not layer.depthwise else f'{name}/depthwise',
            'DepthwiseConv2dNative' if layer.depthwise else 'Conv2D',
            x,
            weights=(self.weight(f'{weights}/weights', kernel, 'kernel'),),
            attributes=shared | attributes,
        )
        x = self.bias(f'{name}/BiasAdd', x, f'{weights}/biases', bias)
        return self.add(f'{name}/Relu6', 'Relu6', x) if layer.relu else x

    def bias(self, name: str, x: str, weights: str, array: NDArray[np.float32]) -> str:
        weight = self.weight(weights, array, 'bias')
        return self.add(name, 'BiasAdd', x, weights=(weight,), attributes={'data_format': 'NHWC'})

    def separable(self, name: str, layers: Sequence[Convolution], x: str, weights: str = '') -> str:
        weights = weights or name
        x = self.convolution(f'{name}/depthwise', layers[0], x, f'{weights}/depthwise')
        return self.convolution(f'{name}/pointwise', layers[1], x, f'{weights}/pointwise')

    def matrix(self, name: str, x: str, kernel: Any, bias: Any, **attributes: Any) -> str:
        weight = self.weight(f'{name}/weights', kernel, 'matrix')
        plain = {'transpose_a': False, 'transpose_b': False}
        x = self.add(
            f'{name}/MatMul', 'MatMul', x, weights=(weight,), attributes=plain | attributes
        )
        return self.bias(f'{name}/BiasAdd', x, f'{name}/biases', bias)


def describe(
    network: EverydayNetwork,
    class_ids: Sequence[int],
    logit_changes: Mapping[int, float],
    reported: Collection[int] | None = None,
) -> tuple[list[Node], dict[str, NDArray[np.float32]]]:
    """Return the operations of a network in evaluation mode, in running order, and their arrays.

    Args:
        network: on the CPU.
        class_ids: number of each of its classes in the graph, rising; those in between get no
            score.
        logit_changes: by class number, what is added to the class's logit; -1 stands for
            "background".
        reported: class numbers that the graph gives detections of; all by default.
    """
    g = _Graph()
    reported = class_ids if reported is None else reported
    _describe(g, network, class_ids, logit_changes, reported)
    return list(g.nodes.values()), g.arrays


def _describe(
    g: _Graph,
    network: EverydayNetwork,
    class_ids: Sequence[int],
    logit_changes: Mapping[int, float],
    reported: Collection[int],
) -> None:
    features = _backbone(g, network)
    _proposals(g, network, features)
    numbers = max(class_ids) + 1
    x = _box_features(g, network, features)
    boxes = _box_encodings(g, network, x)
    kernel, bias = _class_arrays(network, class_ids, numbers, logit_changes)
    g.layers['Boxes/classes'] = network.classes
    scores = _scores(g, g.matrix('Boxes/classes', x, kernel, bias), numbers, reported)
    detections(g, boxes, scores, numbers, network.config, share_location=True)
    _mask_stage(g, network, features, numbers)


def read_network(weights: Path, config: EverydayConfig) -> EverydayNetwork:
    """Return the network of a frozen graph, with a class for each of the graph's numbers.

    Its norms are part of its kernels and biases, for good: training on changes those. Its backbone
    is the file's, whatever the configuration says.

    Raises:
        ValueError: the file is no frozen graph, or of another network.
        OSError: the file cannot be read.
    """
    stored = read_floats(weights)
    network = EverydayNetwork(replace(config, backbone=_variant(weights, stored)))
    for layer in network.modules():
        if isinstance(layer, Convolution):
            layer.absorb_norm()
    described = _Graph()
    numbers = range(config.num_classes)
    _describe(described, network, numbers, {}, numbers)
    for name, layer in described.layers.items():
        for part, parameter in (('weights', layer.weight), ('biases', layer.bias)):
            values = torch.from_numpy(np.array(stored.get(f'{name}/{part}', np.zeros(0))))
            if values.dim() == 4:
                values = (
                    values.permute(2, 3, 0, 1) if layer.depthwise else values.permute(3, 2, 0, 1)
                )
            elif part == 'weights':
                values = values.T
            if values.shape != parameter.shape:
                raise ValueError(f'{weights}: is of another network: {name}/{part}')
            with torch.no_grad():
                parameter.copy_(values)
    return network.eval()


def _variant(weights: Path, stored: Mapping[str, NDArray[np.float32]]) -> str:
    """Return the variant of the backbone that a frozen graph has."""
    found = [_PROJECTION.fullmatch(name) for name in stored]
    last = max((int(match[1]) for match in found if match), default=-1)
    projection = stored.get(f'Backbone/block_{last}/project/weights')
    try:
        return variant_with(last, 0 if projection is None else projection.shape[-1])
    except ValueError as error:
        raise ValueError(f'{weights}: is of another network: {error}') from error


def _backbone(g: _Graph, network: EverydayNetwork) -> str:
    x = g.add(
        'image_tensor', 'Placeholder', attributes={'dtype': 'uint8', 'shape': [-1, -1, -1, 3]}
    )
    x = g.add('Preprocessor/mul', 'Mul', x, constants={'Preprocessor/mul/x': 1 / 128})
    x = g.add('Preprocessor/sub', 'Sub', x, constants={'Preprocessor/sub/y': 127 / 128})
    x = g.convolution('Backbone/stem', network.stem, x)
    ends = []
    for i, block in enumerate(network.blocks):
        x = _block(g, f'Backbone/block_{i}', block, x)
        if i in network.shape.levels:
            ends.append(x)
    x = g.convolution('Neck/lateral_32', network.lateral32, ends[2])
    x = g.separable('Neck/merge_32', network.merge32, x)
    for stride, end, lateral, merge in (
        (16, ends[1], network.lateral16, network.merge16),
        (8, ends[0], network.lateral8, network.merge8),
    ):
        side = g.convolution(f'Neck/lateral_{stride}', lateral, end)
        name = f'Neck/enlarge_{stride}'
        # With two factors in place of a size, as cv2.dnn knows it: right for images of any size.
        factors = {f'{name}/factor_y': 2, f'{name}/factor_x': 2}
        x = g.add(name, 'ResizeNearestNeighbor', x, constants=factors)
        x = g.add(f'Neck/add_{stride}', 'AddV2', side, x)
        x = g.add(f'Neck/add_{stride}/Relu6', 'Relu6', x)
        x = g.separable(f'Neck/merge_{stride}', merge, x)
    return x


def _block(g: _Graph, name: str, block: Block, x: str) -> str:
    y = x if block.expand is None else g.convolution(f'{name}/expand', block.expand, x)
    y = g.convolution(f'{name}/depthwise', block.depthwise, y)
    y = g.convolution(f'{name}/project', block.project, y)
    return g.add(f'{name}/add', 'AddV2', y, x) if block.skip else y


def _proposals(g: _Graph, network: EverydayNetwork, features: str) -> None:
    config = network.config
    x = g.separable('Proposals/features', network.rpn, features)
    boxes = g.convolution('Proposals/boxes', network.rpn_boxes, x, loc_pred_transposed=True)
    scores = g.convolution('Proposals/scores', network.rpn_scores, x)
    shape = g.constant('Proposals/scores/shape', 'int32', 0, -1, 2)
    scores = g.add('Proposals/scores/reshape', 'Reshape', scores, shape)
    scores = g.add('Proposals/scores/softmax', 'Softmax', scores, attributes={'axis': -1})
    scores = g.add('Proposals/scores/flatten', 'Flatten', scores)
    priors = prior_boxes(g, boxes, config.anchors, FEATURE_STRIDE)
    boxes = g.add('Proposals/boxes/flatten', 'Flatten', boxes)
    proposals(g, boxes, scores, priors, config)


def _regions(g: _Graph, network: EverydayNetwork, features: str, boxes: str, suffix: str) -> str:
    x = crops(g, features, boxes, suffix)
    x = g.add(
        f'AvgPool2D{suffix}/AvgPool',
        'AvgPool',
        x,
        attributes={
            'data_format': 'NHWC',
            'ksize': [1, 2, 2, 1],
            'padding': 'VALID',
            'strides': [1, 2, 2, 1],
        },
    )
    x = g.convolution(f'Regions{suffix}/in', network.region_in, x, 'Regions/in')
    x = g.separable(f'Regions{suffix}/first', network.region_1, x, 'Regions/first')
    return g.separable(f'Regions{suffix}/second', network.region_2, x, 'Regions/second')


def _box_features(g: _Graph, network: EverydayNetwork, features: str) -> str:
    x = _regions(g, network, features, PROPOSALS, '')
    x = g.convolution('Boxes/features', network.class_in, x)
    axes = {'Boxes/mean/reduction_indices': (1, 2)}
    x = g.add('Boxes/mean', 'Mean', x, constants=axes, attributes={'keep_dims': True})
    return g.add('Boxes/flatten', 'Flatten', x)


def _box_encodings(g: _Graph, network: EverydayNetwork, x: str) -> str:
    g.layers['Boxes/encodings'] = network.boxes
    kernel, bias = (
        value.detach().float().numpy() for value in (network.boxes.weight.T, network.boxes.bias)
    )
    boxes = g.matrix('Boxes/encodings', x, kernel, bias, loc_pred_transposed=True)
    shape = g.constant('Boxes/encodings/shape', 'int32', 1, -1, 4)
    return g.add('Boxes/encodings/reshape', 'Reshape', boxes, shape)


def _scores(g: _Graph, logits: str, numbers: int, reported: Collection[int]) -> str:
    """Scores (1, n * numbers) of class logits with background: those of ``scoring.detect``."""
    name = 'Boxes/classes/reshape'
    scores = g.add(name, 'Reshape', logits, constants={f'{name}/shape': (-1, 1, numbers + 1)})
    scores = g.add('Boxes/classes/softmax', 'Softmax', scores, attributes={'axis': -1})
    begins = g.constant('Boxes/classes/begins', 'int32', 0, 0, 1)
    sizes = g.constant('Boxes/classes/sizes', 'int32', -1, -1, -1)
    scores = g.add('Boxes/classes/slice', 'Slice', scores, begins, sizes)
    shape = g.constant('Boxes/classes/flat_shape', 'int32', 1, -1)
    scores = g.add('Boxes/classes/flat', 'Reshape', scores, shape)
    scores = g.add('Boxes/product', 'Mul', scores, _proposal_scores(g, numbers, reported))
    return g.add('Boxes/scores', 'Power', scores, attributes={'power': SCORE_EXPONENT})


def _proposal_scores(g: _Graph, numbers: int, reported: Collection[int]) -> str:
    """Scores (1, n * numbers) of the first stage for each class that is reported, 0 for others.

    By a matrix, because cv2.dnn multiplies values of the same shape only.
    """
    name = 'Boxes/proposal_scores'
    begins = g.constant(f'{name}/begins', 'int32', 0, 0, 0, 2)
    sizes = g.constant(f'{name}/sizes', 'int32', -1, -1, -1, 1)
    x = g.add(f'{name}/slice', 'Slice', PROPOSALS, begins, sizes)
    x = g.add(f'{name}/column', 'Reshape', x, g.constant(f'{name}/shape', 'int32', -1, 1))
    each = np.zeros((1, numbers), np.float32)
    each[:, list(reported)] = 1
    plain = {'transpose_a': False, 'transpose_b': False}
    weight = g.weight(f'{name}/weights', each, 'matrix')
    x = g.add(f'{name}/MatMul', 'MatMul', x, weights=(weight,), attributes=plain)
    return g.add(f'{name}/flat', 'Reshape', x, g.constant(f'{name}/flat_shape', 'int32', 1, -1))


def _class_arrays(
    network: EverydayNetwork,
    class_ids: Sequence[int],
    numbers: int,
    logit_changes: Mapping[int, float],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrix and bias of the class logits, background first, spread to the graph's numbers."""
    places = [0, *(number + 1 for number in class_ids)]
    trained = network.classes.weight.detach().float().numpy().T
    kernel = np.zeros((trained.shape[0], numbers + 1), np.float32)
    bias = np.full(numbers + 1, _NO_CLASS, np.float32)
    kernel[:, places] = trained
    bias[places] = network.classes.bias.detach().float().numpy()
    for number, change in logit_changes.items():
        bias[number + 1] += change
    return kernel, bias


def _mask_stage(g: _Graph, network: EverydayNetwork, features: str, numbers: int) -> None:
    x = _regions(g, network, features, DETECTIONS, '_1')
    x = g.convolution('Masks/in', network.mask_in, x)
    size = {'Masks/enlarge/size': (MASK_SIZE, MASK_SIZE)}
    x = g.add(
        'Masks/enlarge', 'ResizeBilinear', x, constants=size, attributes={'align_corners': True}
    )
    x = g.convolution('Masks/first', network.mask_1, x)
    x = g.convolution('Masks/out', network.mask_out, x)
    # One mask serves all classes; whoever reads it expects one for each.
    ones = Convolution(1, numbers, relu=False, norm='none').requires_grad_(False)
    ones.weight.fill_(1.0)
    x = g.convolution('Masks/each', ones, x)
    del g.layers['Masks/each']  # it is no part of what is trained
    perm = {'Masks/transpose/perm': (0, 3, 1, 2)}
    x = g.add('Masks/transpose', 'Transpose', x, constants=perm)
    g.add(MASKS, 'Sigmoid', x)
