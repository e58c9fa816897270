# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""OpenCV text graphs of Mask R-CNN: reading, editing and splitting them as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import DOCS
from instance_seg_ros.text_files import read_text, shown

# Rows below this score are not reported by the network. The published graphs say 0.3; lower, so
# that a user's threshold below that means something. Rows above are the same bits either way,
# because both non-maximum suppressions go by falling score.
SCORE_FLOOR = 0.01

_NODE = re.compile(r'^node\s*\{', re.M)
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|^node\s*\{|[{}]', re.M)
_NAME = re.compile(r'^[ \t]*name:[ \t]*"([^"]*)"', re.M)
_OP = re.compile(r'^[ \t]*op:[ \t]*"([^"]*)"', re.M)
_INPUT = re.compile(r'^[ \t]*input:[ \t]*"([^"]*)"', re.M)
# Numbers that cv2.dnn takes for sizes, and those that it calculates with.
_WHOLE = re.compile(r'\b(?:i|b|size|int_val|int64_val):\s*([^\s,;}]+)')
_REAL = re.compile(r'\b(?:f|float_val):\s*([^\s,;}]+)')
_LARGEST_WHOLE, _LARGEST_REAL = 1 << 20, 1e30
_LARGEST = 16_000_000  # bytes of a text graph
_MOST_CLASSES = 10_000
_EXPECTED = (
    'cv2.dnn needs the OpenCV text graph (.pbtxt) of the model beside its frozen graph (.pb); see '
    f'{DOCS}/models.md'
)
_PLACEHOLDER = """node {{
  name: "{name}"
  op: "Placeholder"
  attr {{ key: "dtype" value {{ type: DT_FLOAT }} }}
  attr {{ key: "data_format" value {{ s: "{layout}" }} }}
}}
"""
# How TensorFlow names what is used a second time: "Scope_1/..." beside "Scope/...".
_SECOND_USE = re.compile(r'^([^/]+)_1(?=/|$)')


@dataclass(frozen=True)
class GraphNode:
    """One node of a text graph, with the text that it came from."""

    name: str
    op: str
    inputs: tuple[str, ...]
    text: str

    def number(self, key: str) -> float | None:
        """Return the value of a scalar attribute, None where the node has none of that name."""
        match = re.search(_attribute_pattern(key), self.text)
        try:
            return float(match.group(2)) if match else None
        except ValueError:  # true or false
            return None

    def with_number(self, key: str, value: float) -> GraphNode:
        """Return the node with a scalar attribute changed, or added where it is missing."""
        kind = 'i' if isinstance(value, int) else 'f'
        text, count = re.subn(
            _attribute_pattern(key), lambda m: f'{m.group(1)}{kind}: {value}', self.text
        )
        if not count:
            attribute = f'  attr {{ key: "{key}" value {{ {kind}: {value} }} }}\n'
            text = self.text[: self.text.rindex('}')] + attribute + '}\n'
        return GraphNode(self.name, self.op, self.inputs, text)


@dataclass(frozen=True)
class SplitGraph:
    """A Mask R-CNN as four graphs that read the same weights, each weight in one of them.

    Attributes:
        proposals: text graph from the image to its features and the proposals.
        regions: text graph from features and regions to the features of boxes and masks.
        boxes: text graph from the proposals and their box features to the detections.
        masks: text graph from the mask features of detections to the masks.
        features, proposal_output, box_features, mask_features, detections, mask_output: names of
            the nodes at the seams and at the ends.
        num_classes: foreground classes.
    """

    proposals: str
    regions: str
    boxes: str
    masks: str
    features: str
    proposal_output: str
    box_features: str
    mask_features: str
    detections: str
    mask_output: str
    num_classes: int


def read_text_graph(path: Path) -> list[GraphNode]:
    """Read the nodes of a text graph.

    Raises:
        ModelError: the file is missing or is no text graph.
    """
    if not path.exists():
        raise ModelError(f'text graph {path}: no such file. {_EXPECTED}')
    text = read_text(path, 'text graph', _EXPECTED, _LARGEST, 'cannot be read as text')
    blocks = _blocks(text)
    if blocks and len(blocks) < len(_NODE.findall(text)):
        raise ModelError(
            f'text graph {path}: is truncated: its last node is not closed. Download it again'
        )
    nodes = [_parse_node(block) for block in blocks]
    if not nodes or any(node is None for node in nodes):
        raise ModelError(
            f'text graph {path}: is not an OpenCV text graph (it begins with '
            f'{text[:40]!r}). Expected "node {{ name: ... op: ... }}" entries; download it again'
        )
    whole = [node for node in nodes if node is not None]
    _check_numbers(whole, path)
    return whole


def _check_numbers(nodes: list[GraphNode], path: Path) -> None:
    """Raise ModelError for numbers that no network has; cv2.dnn would believe them."""
    for node in nodes:
        for pattern, largest in ((_WHOLE, _LARGEST_WHOLE), (_REAL, _LARGEST_REAL)):
            for text in pattern.findall(node.text):
                if not _fits(text, largest):
                    raise ModelError(
                        f'text graph {path}: node {shown(node.name)} has the number {shown(text)}, '
                        f'expected none beyond {largest:g}'
                    )


def _fits(text: str, largest: float) -> bool:
    try:
        return abs(float(text)) <= largest  # False for nan
    except ValueError:
        return text in ('true', 'false')


def parse_text_graph(text: str) -> list[GraphNode]:
    """Return the nodes of a text graph that is known to be one."""
    return [node for block in _blocks(text) if (node := _parse_node(block)) is not None]


def split(nodes: list[GraphNode], path: Path, proposals: int | None = None) -> SplitGraph:
    """Split a Mask R-CNN before and behind the features of regions, which both stages compute.

    The mask stage is 60 % of the plain network's time, because it runs for all 100 rows of the
    detection output, padding included. Apart, it runs for the rows that are wanted. It computes the
    features of its regions with the weights of the box stage: both share a part that does.

    Args:
        nodes: the text graph.
        path: its file, for messages.
        proposals: regions that the first stage hands on, if the graph's own number is larger.

    Raises:
        ModelError: the graph is not that of a Mask R-CNN.
    """
    stages = _stages(nodes, path, proposals)
    features, proposal_output = stages.boxes[0].inputs[:2]
    twins = _twins(stages.masks, stages.boxes)
    mask_head = [node for node in stages.masks if node.name not in twins]
    seams = sorted({name for node in mask_head for name in node.inputs if name in twins})
    end = next((i + 1 for i, node in enumerate(stages.boxes) if node.op == 'Flatten'), 0)
    shared, box_head = stages.boxes[:end], stages.boxes[end:]
    if len(seams) != 1 or twins[seams[0]] not in (node.name for node in shared):
        raise ModelError(
            f'text graph {path}: its mask stage does not begin as the box stage does. Expected '
            'what tf_text_graph_mask_rcnn.py of OpenCV writes'
        )
    box_features = shared[-1].name
    # What slices proposals reads rows as they are, where features are taken to be NHWC.
    regions = _placeholder(proposal_output, 'NCHW')
    return SplitGraph(
        proposals=_text(stages.proposals),
        regions=_placeholder(features) + regions + _text(shared),
        boxes=_placeholder(box_features) + regions + _text(box_head),
        masks=_placeholder(seams[0]) + _text(mask_head),
        features=features,
        proposal_output=proposal_output,
        box_features=box_features,
        mask_features=twins[seams[0]],
        detections=stages.masks[0].inputs[1],
        mask_output=nodes[-1].name,
        num_classes=stages.num_classes,
    )


@dataclass(frozen=True)
class _Stages:
    """Nodes up to the proposals, from their crop to the detections, and from the crop of those."""

    proposals: list[GraphNode]
    boxes: list[GraphNode]
    masks: list[GraphNode]
    num_classes: int


def _stages(nodes: list[GraphNode], path: Path, proposals: int | None) -> _Stages:
    outputs = [node for node in nodes if node.op == 'DetectionOutput']
    crops = [_position_of_crop(nodes, output.name) for output in outputs]
    classes = outputs[-1].number('num_classes') if outputs else None
    if len(outputs) != 2 or None in crops or classes is None:
        raise ModelError(
            f'text graph {path}: is not that of a Mask R-CNN (it has {len(outputs)} '
            'DetectionOutput nodes; expected 2, and a crop of each). Detectors without masks '
            'cannot be used'
        )
    first, last = outputs
    edited = {last.name: last.with_number('confidence_threshold', SCORE_FLOOR)}
    if proposals is not None and proposals < (first.number('keep_top_k') or math.inf):
        edited[first.name] = first.with_number('keep_top_k', proposals)
    nodes = [edited.get(node.name, node) for node in nodes]
    start, end = (crop for crop in crops if crop is not None)
    if not start < end:
        raise ModelError(
            f'text graph {path}: crops the detections before the proposals. Expected what '
            'tf_text_graph_mask_rcnn.py of OpenCV writes'
        )
    num_classes = int(classes)
    if not 1 <= num_classes <= _MOST_CLASSES:
        raise ModelError(
            f'text graph {path}: has num_classes {num_classes}, expected 1 to {_MOST_CLASSES}'
        )
    return _Stages(nodes[:start], nodes[start:end], nodes[end:], num_classes)


def _position_of_crop(nodes: list[GraphNode], regions: str) -> int | None:
    return next(
        (
            i
            for i, node in enumerate(nodes)
            if node.op == 'CropAndResize' and node.inputs[1:2] == (regions,)
        ),
        None,
    )


def _twins(masks: list[GraphNode], boxes: list[GraphNode]) -> dict[str, str]:
    """Map nodes of the mask stage to the nodes of the box stage that do the same to the other crop.

    Both are given by name.
    """
    operations = {node.name: node.op for node in boxes}
    twins = {masks[0].name: boxes[0].name}
    for node in masks[1:]:
        name = _SECOND_USE.sub(r'\1', node.name)
        follows = node.op == 'Const' or any(i in twins for i in node.inputs)
        if follows and operations.get(name) == node.op:
            twins[node.name] = name
    return twins


def _placeholder(name: str, layout: str = 'NHWC') -> str:
    return _PLACEHOLDER.format(name=name, layout=layout)


def _text(nodes: list[GraphNode]) -> str:
    return ''.join(node.text for node in nodes)


def _attribute_pattern(key: str) -> str:
    """Match an attribute up to (1), and with (2), its scalar value."""
    return rf'(key:\s*"{re.escape(key)}"\s*value\s*\{{\s*)(?:i|f|b):\s*([-+.\w]+)'


def _blocks(text: str) -> list[str]:
    """Return the text of each top-level ``node { ... }``."""
    blocks: list[str] = []
    depth, start = 0, -1
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word == '}':
            depth = max(0, depth - 1)
            if depth == 0 and start >= 0:
                blocks.append(text[start : match.end()] + '\n')
                start = -1
        elif not word.startswith('"'):
            if depth == 0:  # of a node, or of something else
                start = match.start() if word != '{' else -1
            depth += 1
    return blocks


def _parse_node(block: str) -> GraphNode | None:
    name, op = _NAME.search(block), _OP.search(block)
    if name is None or op is None:
        return None
    inputs = tuple(i for i in _INPUT.findall(block) if not i.startswith('^'))
    return GraphNode(name.group(1), op.group(1), inputs, block)
