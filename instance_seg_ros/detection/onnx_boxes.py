# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Anchors, decoding of boxes and the choice of proposals in ONNX.

In text graphs these are operations of OpenCV's own, PriorBox and DetectionOutput; what they compute
here is the same, step by step in float32. Boxes are x1, y1, x2, y2 as fractions of the image.
"""

from __future__ import annotations

from instance_seg_ros.detection.node_attributes import NodeAttributes
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_translation import Translation, Value
from instance_seg_ros.detection.text_graph import GraphNode

_ALL_CANDIDATES = 2**31 - 1
_VARIANCES = [0.1, 0.1, 0.2, 0.2]


def anchors(t: Translation, node: GraphNode, attributes: NodeAttributes) -> Value:
    """Translate PriorBox of constant sizes: (1, 2, 4 * h * w * anchors), boxes and variances."""
    widths, heights = attributes.tensor('width'), attributes.tensor('height')
    if widths is None or heights is None or len(widths) != len(heights):
        t.fail(node, 'has no lists width and height of the same length')
    if attributes.flag('flip'):
        t.fail(node, 'has the attribute flip')
    graph, offset = t.graph, attributes.number('offset', 0.5)
    rows, columns = _height_and_width(graph, t.value(node, 0))
    height, width = (_as_float(graph, side) for side in _height_and_width(graph, t.value(node, 1)))
    half = graph.constant(0.5)
    ends = {}
    for axis, count, side, sizes in (('x', columns, width, widths), ('y', rows, height, heights)):
        if attributes.number('step', 0):
            step = graph.constant(attributes.number('step', 0))
        else:
            step = graph.add('Div', side, _as_float(graph, count))
        cells = graph.add('Range', graph.constant(0, 'int64'), count, graph.constant(1, 'int64'))
        places = graph.add('Add', _as_float(graph, cells), graph.constant(offset))
        centres = graph.add('Mul', places, step)
        shape = [1, -1, 1, 1] if axis == 'x' else [-1, 1, 1, 1]
        centres = graph.add('Reshape', centres, graph.integers(*shape))
        halves = graph.add('Mul', graph.constant(sizes.reshape(-1, 1)), half)
        for end, op in ((1, 'Sub'), (2, 'Add')):
            ends[f'{axis}{end}'] = graph.add('Div', graph.add(op, centres, halves), side)
    shape_of_all = graph.add(
        'Concat',
        _as_list(graph, rows),
        _as_list(graph, columns),
        graph.integers(len(widths), 1),
        axis=0,
    )
    boxes = graph.add(
        'Concat',
        *(graph.add('Expand', ends[name], shape_of_all) for name in ('x1', 'y1', 'x2', 'y2')),
        axis=3,
    )
    if attributes.flag('clip'):
        boxes = clipped(graph, boxes)
    flat = graph.add('Reshape', boxes, graph.integers(1, 1, -1))
    variances = attributes.tensor('variance')
    repeated = graph.add(
        'Expand',
        graph.constant(_VARIANCES if variances is None else variances),
        graph.add('Shape', graph.add('Reshape', boxes, graph.integers(-1, 4))),
    )
    repeated = graph.add('Reshape', repeated, graph.integers(1, 1, -1))
    return Value(graph.add('Concat', flat, repeated, axis=1))


def proposals(t: Translation, node: GraphNode, scored: bool) -> tuple[str, str]:
    """Return the regions (proposals, 4) of the first stage's DetectionOutput, by falling score.

    With them their scores (proposals,) if ``scored``, else an empty name. As OpenCV does it fills
    up with boxes of no area where there are too few.
    """
    attributes = t.attributes(node)
    _check_output(t, node, attributes)
    classes, background = (
        attributes.integer('num_classes', 0),
        attributes.integer('background_label_id', 0),
    )
    if (classes, background) != (2, 0) or not attributes.flag('share_location', True):
        t.fail(node, 'is expected to tell regions (class 1) from background (class 0)')
    graph = t.graph
    limit = attributes.integer('keep_top_k', -1)
    boxes, best = _candidates(t, node, attributes)
    survivors = graph.add(
        'NonMaxSuppression',
        graph.add('Unsqueeze', boxes, graph.integers(0)),
        graph.add('Unsqueeze', best, graph.integers(0, 1)),
        graph.constant([limit if limit > 0 else _ALL_CANDIDATES], 'int64'),
        graph.constant([attributes.number('nms_threshold', 0.3)]),
    )
    rows = graph.add('Gather', survivors, graph.constant(2, 'int64'), axis=1)
    regions = graph.add('Gather', boxes, rows)
    scores = graph.add('Gather', best, rows) if scored else ''
    if limit <= 0:
        return regions, scores
    missing = graph.add('Sub', graph.integers(limit), graph.add('Shape', rows))
    before, behind = graph.integers(0, 0), graph.integers(0)
    regions = graph.add('Pad', regions, graph.add('Concat', before, missing, behind, axis=0))
    if scored:
        scores = graph.add('Pad', scores, graph.add('Concat', behind, missing, axis=0))
    return regions, scores


def _candidates(t: Translation, node: GraphNode, attributes: NodeAttributes) -> tuple[str, str]:
    """Return the boxes (top_k, 4) of the best scores, and those scores, by falling score."""
    graph = t.graph
    scores = graph.add('Reshape', t.plain(t.value(node, 1)), graph.integers(-1, 2))
    scores = graph.add('Gather', scores, graph.constant(1, 'int64'), axis=1)
    count = graph.add('Shape', scores)
    most = attributes.integer('top_k', -1)
    if most > 0:
        count = graph.add('Min', count, graph.integers(most))
    best, chosen = graph.add_many('TopK', 2, scores, count)
    encodings = graph.add('Reshape', t.plain(t.value(node, 0)), graph.integers(-1, 4))
    priors = graph.add('Reshape', t.plain(t.value(node, 2)), graph.integers(2, -1, 4))
    references, variances = (
        graph.add('Gather', graph.add('Gather', priors, graph.constant(i, 'int64'), axis=0), chosen)
        for i in (0, 1)
    )
    deltas = graph.add('Mul', graph.add('Gather', encodings, chosen), variances)
    boxes = decoded(graph, references, deltas)
    return clipped(graph, boxes) if attributes.flag('clip') else boxes, best


def boxes_and_scores(t: Translation, node: GraphNode) -> tuple[str, str]:
    """Return boxes (n, classes or 1, 4) and scores (n, classes) of the last DetectionOutput."""
    attributes = t.attributes(node)
    _check_output(t, node, attributes)
    classes = attributes.integer('num_classes', 0)
    if 0 <= attributes.integer('background_label_id', 0) < classes:
        t.fail(node, 'is expected to have scores of foreground classes only')
    if not attributes.flag('variance_encoded_in_target'):
        t.fail(node, 'is expected to have variance_encoded_in_target')
    graph = t.graph
    per_region = 1 if attributes.flag('share_location', True) else classes
    deltas = graph.add('Reshape', t.plain(t.value(node, 0)), graph.integers(-1, per_region, 4))
    scores = graph.add('Reshape', t.plain(t.value(node, 1)), graph.integers(-1, classes))
    priors = graph.add('Reshape', t.plain(t.value(node, 2)), graph.integers(-1, 1, 4))
    boxes = decoded(graph, priors, deltas)
    return clipped(graph, boxes) if attributes.flag('clip') else boxes, scores


def _check_output(t: Translation, node: GraphNode, attributes: NodeAttributes) -> None:
    code = attributes.text('code_type', 'CORNER')
    if code != 'CENTER_SIZE':
        t.fail(node, f'has the code_type {code}, expected CENTER_SIZE')


def decoded(graph: OnnxGraph, references: str, deltas: str) -> str:
    """Return boxes (..., 4) from reference boxes and tx, ty, tw, th, variances applied."""
    x1, y1, x2, y2 = _columns(graph, references)
    tx, ty, tw, th = _columns(graph, deltas)
    half = graph.constant(0.5)
    lows, highs = [], []
    for low, high, shift, growth in ((x1, x2, tx, tw), (y1, y2, ty, th)):
        side = graph.add('Sub', high, low)
        centre = graph.add('Mul', graph.add('Add', low, high), half)
        centre = graph.add('Add', graph.add('Mul', shift, side), centre)
        reach = graph.add('Mul', graph.add('Mul', graph.add('Exp', growth), side), half)
        lows.append(graph.add('Sub', centre, reach))
        highs.append(graph.add('Add', centre, reach))
    return graph.add('Concat', *lows, *highs, axis=-1)


def clipped(graph: OnnxGraph, boxes: str) -> str:
    """Return boxes cut to the image."""
    return graph.add('Clip', boxes, graph.constant(0.0), graph.constant(1.0))


def as_rows(graph: OnnxGraph, regions: str, scores: str = '') -> str:
    """Return regions (n, 4), and their scores (n,) if given, as OpenCV's rows (1, 1, n, 7).

    All else is zeros.
    """
    rows = graph.add('Pad', regions, graph.integers(0, 3, 0, 0))
    if scores:
        column = graph.add('Unsqueeze', scores, graph.integers(1))
        column = graph.add('Pad', column, graph.integers(0, 2, 0, 4))
        rows = graph.add('Add', rows, column)
    return graph.add('Unsqueeze', rows, graph.integers(0, 1))


def _columns(graph: OnnxGraph, array: str) -> list[str]:
    return graph.add_many('Split', 4, array, axis=-1, num_outputs=4)


def _height_and_width(graph: OnnxGraph, value: Value) -> tuple[str, str]:
    first = 2 if value.image else 1
    shape = graph.add('Shape', value.name)
    height, width = (graph.add('Gather', shape, graph.constant(first + i, 'int64')) for i in (0, 1))
    return height, width


def _as_list(graph: OnnxGraph, number: str) -> str:
    """Return a number as a list of one."""
    return graph.add('Unsqueeze', number, graph.integers(0))


def _as_float(graph: OnnxGraph, value: str) -> str:
    return graph.add('Cast', value, to=1)


__all__ = ['anchors', 'as_rows', 'boxes_and_scores', 'proposals']
