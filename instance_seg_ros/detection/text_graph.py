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
  attr {{ key: "data_format" value {{ s: "NHWC" }} }}
}}
"""


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
    outputs = [node for node in nodes if node.op == 'DetectionOutput']
    crop = next((i for i, node in enumerate(nodes) if node.op == 'CropAndResize'
                 and outputs and node.inputs[1] == outputs[-1].name), None)
    classes = outputs[-1].number('num_classes') if outputs else None
    if len(outputs) != 2 or crop is None or classes is None:
        raise ModelError(
            f'text graph {path}: is not that of a Mask R-CNN (it has {len(outputs)} '
            'DetectionOutput nodes; expected 2, and a crop of the second). Detectors without masks '
            'cannot be used')
    first, last = outputs
    edited = {last.name: last.with_number('confidence_threshold', SCORE_FLOOR)}
    if proposals is not None and proposals < (first.number('keep_top_k') or math.inf):
        edited[first.name] = first.with_number('keep_top_k', proposals)
    features, detections = nodes[crop].inputs[:2]
    seam = [_PLACEHOLDER.format(name=name) for name in (features, detections)]
    return SplitGraph(
        boxes=''.join(edited.get(node.name, node).text for node in nodes[:crop]),
        masks=''.join(seam + [node.text for node in nodes[crop:]]),
        features=features, detections=detections, mask_output=nodes[-1].name,
        num_classes=int(classes))


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
