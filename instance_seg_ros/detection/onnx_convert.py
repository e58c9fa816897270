# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From a frozen graph and its text graph to the ONNX parts of the same Mask R-CNN.

Three graphs of ONNX that docs/models.md describes: from the image to the proposals, from regions to
their boxes, and from boxes to their masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from instance_seg_ros.detection.detections import BOX_COLUMN
from instance_seg_ros.detection.frozen_graph import read_constants, read_weights
from instance_seg_ros.detection.onnx_boxes import anchors, as_rows, boxes_and_scores, proposals
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_layers import LAYERS
from instance_seg_ros.detection.onnx_masks import masks_of_classes
from instance_seg_ros.detection.onnx_shapes import SHAPES
from instance_seg_ros.detection.onnx_translation import Translation, TranslationError, Value
from instance_seg_ros.detection.text_graph import (
    GraphNode,
    SplitGraph,
    parse_text_graph,
    read_text_graph,
    split,
)
from instance_seg_ros.errors import ModelError
from instance_seg_ros.text_files import one_line

# To be raised whenever the same files give other parts.
VERSION = 6
# What the boxes may read of each region, and what it is among the outputs of the proposals.
REGION_INPUTS = {'regions': 'proposals', 'region_scores': 'proposal_scores'}
_OPERATIONS = {**LAYERS, **SHAPES, 'PriorBox': anchors}


@dataclass(frozen=True)
class OnnxParts:
    """A Mask R-CNN as the bytes of three ONNX files.

    Attributes:
        proposals: ``image`` float32 (1, 3, H, W), RGB, 0 to 255, to ``features`` (1, C, h, w) and
            ``proposals`` float32 (P, 4), x1, y1, x2, y2 as fractions of the image.
        boxes: ``features`` and ``regions`` (n, 4) to ``scores`` (n, classes), ``boxes``
            (n, classes or 1, 4) and ``region_features``.
        masks: ``region_features`` to ``masks`` (n, classes, M, M), probabilities; or these and
            ``class_ids`` int64 (n,) to the ``masks`` (n, 1, M, M) of those classes.

    Where scores of the first stage are part of those of the second, ``proposals`` gives
    ``proposal_scores`` (P,), too, and ``boxes`` reads them as ``region_scores`` (n,).
    """

    proposals: bytes
    boxes: bytes
    masks: bytes

    NAMES: ClassVar = ('proposals', 'boxes', 'masks')

    def by_name(self) -> dict[str, bytes]:
        """Return the bytes of each part by its name."""
        return {name: getattr(self, name) for name in self.NAMES}


# What nodes, attributes and constants that do not belong together make the translation raise.
_NONSENSE = (
    ValueError,
    LookupError,
    ArithmeticError,
    StopIteration,
    AttributeError,
    TypeError,
    RecursionError,
)

# What is done to the graph of a part, by its name, before it becomes a file.
Change = Callable[[str, OnnxGraph], None]


def convert(
    weights: Path, text_graph: Path, for_processor: bool = True, change: Change | None = None
) -> OnnxParts:
    """Convert a model.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        for_processor: whether it is to be fast on the processor; else all operations are ones
            that GPUs' providers have.
        change: what is done to each graph at the end, such as another precision.

    Raises:
        ModelError: a file is missing or broken, or the graph has something that is unknown here.

    """
    graph = split(read_text_graph(text_graph), text_graph)
    payload = read_weights(weights)
    parts = {
        'proposals': parse_text_graph(graph.proposals),
        'boxes': parse_text_graph(graph.regions + graph.boxes),
        'masks': parse_text_graph(graph.masks),
    }
    names = {name for nodes in parts.values() for node in nodes for name in node.inputs}
    try:
        constants = read_constants(payload, names)
        scored = _reads_scores(graph, parts['boxes'], constants)
        boxes, metadata, region_size = _box_part(
            graph, parts['boxes'], constants, scored, for_processor
        )
        graphs = {
            'proposals': _proposal_part(graph, parts['proposals'], constants, scored),
            'boxes': boxes,
            'masks': _mask_part(graph, parts['masks'], constants, region_size),
        }
    except TranslationError as error:
        reason = one_line(error)
        raise ModelError(
            f'text graph {text_graph}: cannot be converted to ONNX: {reason}'
        ) from None
    except _NONSENSE as error:
        reason = one_line(error) or type(error).__name__
        raise ModelError(
            f'weights {weights} and text graph {text_graph}: cannot be converted to ONNX '
            f'({reason}). Are they of the same model, and in this order?'
        ) from None
    if change is not None:
        for name, part in graphs.items():
            change(name, part)
    return OnnxParts(
        **{
            name: part.file_bytes(_metadata() | (metadata if name == 'boxes' else {}))
            for name, part in graphs.items()
        }
    )


def _reads_scores(
    split_graph: SplitGraph, nodes: list[GraphNode], constants: dict[str, NDArray[Any]]
) -> bool:
    """Whether the second stage slices more of the proposals' rows than their boxes."""
    t = Translation(nodes, constants, OnnxGraph('boxes'))
    return any(
        node.op == 'Slice' and t.constant(node, 1).ravel()[-1] < BOX_COLUMN
        for node in t.users(split_graph.proposal_output)
    )


def _proposal_part(
    split_graph: SplitGraph,
    nodes: list[GraphNode],
    constants: dict[str, NDArray[Any]],
    scored: bool,
) -> OnnxGraph:
    graph = OnnxGraph('proposals')
    t = Translation(nodes, constants, graph)
    image = next(node for node in nodes if node.op == 'Placeholder')
    name = graph.input('image', 'float32', [1, 3, 'height', 'width'])
    t.values[image.name] = Value(name, image=True)
    output = t.node(split_graph.proposal_output)
    t.translate([split_graph.features, *output.inputs], _OPERATIONS)
    features = t.values[split_graph.features]
    graph.output('features', features.name, 'float32', [1, 'channels', 'rows', 'columns'])
    regions, scores = proposals(t, output, scored)
    graph.output('proposals', regions, 'float32', ['proposals', 4])
    if scored:
        graph.output('proposal_scores', scores, 'float32', ['proposals'])
    return graph


def _box_part(
    split_graph: SplitGraph,
    nodes: list[GraphNode],
    constants: dict[str, NDArray[Any]],
    scored: bool,
    for_processor: bool,
) -> tuple[OnnxGraph, dict[str, str], tuple[int, int] | None]:
    """Return the part, what its file says of it, and the size of its region features."""
    graph = OnnxGraph('boxes')
    nodes = _without_placeholders(nodes)
    t = Translation(nodes, constants, graph)
    t.for_processor = for_processor
    features = graph.input('features', 'float32', [1, 'channels', 'rows', 'columns'])
    t.values[split_graph.features] = Value(features, image=True)
    t.regions = graph.input('regions', 'float32', ['regions', 4])
    region_scores = graph.input('region_scores', 'float32', ['regions']) if scored else ''
    rows = as_rows(graph, t.regions, region_scores)
    t.values[split_graph.proposal_output] = Value(rows)
    output = t.node(split_graph.detections)
    t.translate([split_graph.mask_features, *output.inputs], _OPERATIONS)
    boxes, scores = boxes_and_scores(t, output)
    attributes = t.attributes(output)
    graph.output('scores', scores, 'float32', ['regions', split_graph.num_classes])
    graph.output('boxes', boxes, 'float32', ['regions', 'classes', 4])
    region_features = t.values[split_graph.mask_features]
    sides = ['regions', 'region_channels', 'region_rows', 'region_columns']
    graph.output('region_features', region_features.name, 'float32', sides)
    metadata = {
        'nms_threshold': repr(attributes.number('nms_threshold', 0.3)),
        'max_detections': repr(attributes.integer('keep_top_k', 100)),
    }
    return graph, metadata, region_features.size


def _mask_part(
    split_graph: SplitGraph,
    nodes: list[GraphNode],
    constants: dict[str, NDArray[Any]],
    region_size: tuple[int, int] | None,
) -> OnnxGraph:
    graph = OnnxGraph('masks')
    seam = next(node for node in nodes if node.op == 'Placeholder').name
    t = Translation(nodes, constants, graph)
    sides = ['regions', 'region_channels', 'region_rows', 'region_columns']
    name = graph.input('region_features', 'float32', sides)
    t.values[seam] = Value(name, image=True, size=region_size)
    masks = masks_of_classes(t, split_graph.mask_output)
    classes = 1
    if masks is None:
        t.translate([split_graph.mask_output], _OPERATIONS)
        masks, classes = t.values[split_graph.mask_output].name, split_graph.num_classes
    graph.output('masks', masks, 'float32', ['regions', classes, 'side', 'side'])
    return graph


def _without_placeholders(nodes: list[GraphNode]) -> list[GraphNode]:
    return [node for node in nodes if node.op != 'Placeholder']


def _metadata() -> dict[str, str]:
    return {'converter': f'instance_seg_ros {VERSION}'}


__all__ = ['REGION_INPUTS', 'VERSION', 'Change', 'OnnxParts', 'convert']
