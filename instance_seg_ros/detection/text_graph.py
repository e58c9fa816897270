# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""OpenCV text graphs of Mask R-CNN: reading, editing and splitting them as text."""
from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from instance_seg_ros.errors import ModelError

# Rows below this score are not reported by the network. The published graphs say 0.3; lower, so
# that a user's threshold below that means something. Rows above are the same bits either way,
# because both non-maximum suppressions go by falling score.
SCORE_FLOOR = 0.01

_NODE = re.compile(r'^node\s*\{', re.M)
_NAME = re.compile(r'^\s*name:\s*"([^"]*)"', re.M)
_OP = re.compile(r'^\s*op:\s*"([^"]*)"', re.M)
_INPUT = re.compile(r'^\s*input:\s*"([^"]*)"', re.M)
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
        return float(match.group(2)) if match else None

    def with_number(self, key: str, value: float) -> GraphNode:
        """Return the node with a scalar attribute changed, or added where it is missing."""
        kind = 'i' if isinstance(value, int) else 'f'
        text, count = re.subn(
            _attribute_pattern(key), lambda m: f'{m.group(1)}{kind}: {value}', self.text)
        if not count:
            attribute = f'  attr {{ key: "{key}" value {{ {kind}: {value} }} }}\n'
            text = self.text[:self.text.rindex('}')] + attribute + '}\n'
        return GraphNode(self.name, self.op, self.inputs, text)


@dataclass(frozen=True)
class SplitGraph:
    """A Mask R-CNN as two graphs that read the same weights.

    Attributes:
        boxes: text graph from the image to the detections.
        masks: text graph from features and detections to the masks.
        features, detections, mask_output: names of the nodes at the seam and at the end.
        num_classes: foreground classes.
    """

    boxes: str
    masks: str
    features: str
    detections: str
    mask_output: str
    num_classes: int


@dataclass(frozen=True)
class SharedGraph:
    """A Mask R-CNN as three graphs that read the same weights, each weight in one of them.

    Attributes:
        proposals: text graph from the image to the proposals.
        regions: text graph from features and regions to the regions' features and the detections.
        masks: text graph from the regions' features to the masks.
        features, proposal_output, region_features, detections, mask_output: names of the nodes at
            the seams and at the end.
        num_classes: foreground classes.
    """

    proposals: str
    regions: str
    masks: str
    features: str
    proposal_output: str
    region_features: str
    detections: str
    mask_output: str
    num_classes: int


def read_text_graph(path: Path) -> list[GraphNode]:
    """Read the nodes of a text graph.

    Raises:
        ModelError: the file is missing or is no text graph.

    """
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise ModelError(
            f'text graph {path}: no such file. cv2.dnn needs the OpenCV text graph (.pbtxt) of the '
            'model beside its frozen graph (.pb); see docs/models.md') from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f'text graph {path}: cannot be read as text ({error})') from None
    blocks = _blocks(text)
    if blocks and len(blocks) < len(_NODE.findall(text)):
        raise ModelError(
            f'text graph {path}: is truncated: its last node is not closed. Download it again')
    nodes = [_parse_node(block) for block in blocks]
    if not nodes or any(node is None for node in nodes):
        raise ModelError(
            f'text graph {path}: is not an OpenCV text graph (it begins with '
            f'{text[:40]!r}). Expected "node {{ name: ... op: ... }}" entries; download it again')
    return [node for node in nodes if node is not None]


def split(nodes: list[GraphNode], path: Path, proposals: int | None = None) -> SplitGraph:
    """Split a Mask R-CNN before its mask stage.

    The mask stage is 60 % of the plain network's time, because it runs for all 100 rows of the
    detection output, padding included. As a graph of its own it runs for the rows that are wanted.

    Args:
        nodes: the text graph.
        path: its file, for messages.
        proposals: regions that the first stage hands on, if the graph's own number is larger.

    Raises:
        ModelError: the graph is not that of a Mask R-CNN.

    """
    parts = _parts(nodes, path, proposals)
    features, detections = parts.masks[0].inputs[:2]
    return SplitGraph(
        boxes=_text(parts.proposals + parts.regions),
        masks=_placeholder(features) + _placeholder(detections) + _text(parts.masks),
        features=features, detections=detections, mask_output=nodes[-1].name,
        num_classes=parts.num_classes)


def share(nodes: list[GraphNode], path: Path, proposals: int | None = None) -> SharedGraph:
    """Split a Mask R-CNN such that every weight is in one part.

    The mask stage computes features of regions as the box stage does, with the same weights.

    Args:
        nodes, path, proposals: as for :func:`split`.

    Raises:
        ModelError: the graph is not that of a Mask R-CNN, or its two stages have nothing in common.

    """
    parts = _parts(nodes, path, proposals)
    features, proposal_output = parts.regions[0].inputs[:2]
    twins = _twins(parts.masks, parts.regions)
    head = [node for node in parts.masks if node.name not in twins]
    seams = sorted({name for node in head for name in node.inputs if name in twins})
    if len(seams) != 1:
        raise ModelError(
            f'text graph {path}: its mask stage is not the box stage and a head of its own, which '
            'low_memory needs. Leave low_memory at false')
    return SharedGraph(
        proposals=_text(parts.proposals),
        # The slice that follows reads rows as they are, where features are taken to be NHWC.
        regions=(_placeholder(features) + _placeholder(proposal_output, 'NCHW') +
                 _text(parts.regions)),
        masks=_placeholder(seams[0]) + _text(head),
        features=features, proposal_output=proposal_output, region_features=twins[seams[0]],
        detections=parts.masks[0].inputs[1], mask_output=nodes[-1].name,
        num_classes=parts.num_classes)


@dataclass(frozen=True)
class _Parts:
    """Nodes up to the proposals, from their crop to the detections, and from the crop of those."""

    proposals: list[GraphNode]
    regions: list[GraphNode]
    masks: list[GraphNode]
    num_classes: int


def _parts(nodes: list[GraphNode], path: Path, proposals: int | None) -> _Parts:
    outputs = [node for node in nodes if node.op == 'DetectionOutput']
    crops = [_position_of_crop(nodes, output.name) for output in outputs]
    classes = outputs[-1].number('num_classes') if outputs else None
    if len(outputs) != 2 or None in crops or classes is None:
        raise ModelError(
            f'text graph {path}: is not that of a Mask R-CNN (it has {len(outputs)} '
            'DetectionOutput nodes; expected 2, and a crop of each). Detectors without masks '
            'cannot be used')
    first, last = outputs
    edited = {last.name: last.with_number('confidence_threshold', SCORE_FLOOR)}
    if proposals is not None and proposals < (first.number('keep_top_k') or math.inf):
        edited[first.name] = first.with_number('keep_top_k', proposals)
    nodes = [edited.get(node.name, node) for node in nodes]
    start, end = crops
    return _Parts(nodes[:start], nodes[start:end], nodes[end:], int(classes))


def _position_of_crop(nodes: list[GraphNode], regions: str) -> int | None:
    return next((i for i, node in enumerate(nodes)
                 if node.op == 'CropAndResize' and node.inputs[1] == regions), None)


def _twins(masks: list[GraphNode], regions: list[GraphNode]) -> dict[str, str]:
    """Names of nodes of the mask stage that do to its crop what a node of the box stage does to
    the other, and the names of those.
    """
    operations = {node.name: node.op for node in regions}
    twins = {masks[0].name: regions[0].name}
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
    blocks = []
    for match in _NODE.finditer(text):
        depth = 0
        for brace in re.finditer(r'[{}]', text[match.start():]):
            depth += 1 if brace.group() == '{' else -1
            if depth == 0:
                blocks.append(text[match.start():match.start() + brace.end()] + '\n')
                break
    return blocks


def _parse_node(block: str) -> GraphNode | None:
    name, op = _NAME.search(block), _OP.search(block)
    if name is None or op is None:
        return None
    inputs = tuple(i for i in _INPUT.findall(block) if not i.startswith('^'))
    return GraphNode(name.group(1), op.group(1), inputs, block)
