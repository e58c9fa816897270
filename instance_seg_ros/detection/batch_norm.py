# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batch norms folded into the convolutions before them.

y = scale * conv(x, w) + shift becomes y = conv(x, scale * w) + shift.

cv2.dnn does the same, but again whenever an input changes its shape, in one thread and into another
copy of the weights. The number of regions changes twice in every frame, for boxes and for masks.
Done once, a full-size model takes 33 to 44 MB less memory, of 550, and hardly less time
(docs/performance.md). The arithmetic is that of cv2.dnn, float32 step by step, so the results are
the same bits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.frozen_graph import Constant, float_constants
from instance_seg_ros.detection.text_graph import GraphNode

_BIAS_ADD = """node {{
  name: "{name}"
  op: "BiasAdd"
  input: "{convolution}"
  input: "{shift}"
  attr {{ key: "data_format" value {{ s: "NHWC" }} }}
}}
"""


def fold_batch_norms(
    nodes: list[GraphNode], weights: NDArray[np.uint8]
) -> tuple[list[GraphNode], NDArray[np.uint8]]:
    """Make a bias of every batch norm that is stored as usual; cv2.dnn folds the others.

    Args:
        nodes: the text graph.
        weights: uint8, the bytes of its frozen graph.

    Returns:
        The text graph and the bytes, changed; the arguments stay as they are.

    Raises:
        ValueError: ``weights`` are no GraphDef.
    """
    constants, weights, biases = float_constants(weights), weights.copy(), {}
    for kernel, norms in _kernels_and_norms(nodes):
        names = (kernel, *norms[0].inputs[1:])
        epsilon = norms[0].number('epsilon')
        if epsilon is not None and all(name in constants for name in names):
            found = [constants[name] for name in names]
            if _fold(found, epsilon, weights):
                biases.update({norm.name: _bias(norm) for norm in norms})
    return [biases.get(node.name, node) for node in nodes], weights


def _kernels_and_norms(nodes: list[GraphNode]) -> Iterator[tuple[str, list[GraphNode]]]:
    """Yield each kernel whose convolutions all have the same batch norm, and that norm's nodes.

    Both stages of a Mask R-CNN use some kernels, so a norm can have several nodes.
    """
    users: defaultdict[str, list[GraphNode]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            users[name].append(node)
    for kernel, convolutions in list(users.items()):
        norms = [user for convolution in convolutions for user in users[convolution.name]]
        if (
            all(
                c.op == 'Conv2D' and c.inputs[1:] == (kernel,) and len(users[c.name]) == 1
                for c in convolutions
            )
            and all(n.op.startswith('FusedBatchNorm') and len(n.inputs) == 5 for n in norms)
            and len({(n.inputs[1:], n.number('epsilon')) for n in norms}) == 1
            and all(len(users[name]) == len(norms) for name in norms[0].inputs[1:])
        ):
            yield kernel, norms


def _fold(constants: list[Constant], epsilon: float, weights: NDArray[np.uint8]) -> bool:
    kernel, gamma, beta, mean, variance = constants
    if {c.shape for c in constants[1:]} != {kernel.shape[-1:]}:
        return False
    with np.errstate(all='ignore'):  # broken weights are noticed at the first forward
        scale = gamma.read(weights) / np.sqrt(variance.read(weights) + np.float32(epsilon))
        shift = beta.read(weights) - scale * mean.read(weights)
        kernel.write(weights, kernel.read(weights) * scale)  # (height, width, in, out)
    beta.write(weights, shift)
    return True


def _bias(norm: GraphNode) -> GraphNode:
    convolution, _, beta = norm.inputs[:3]
    text = _BIAS_ADD.format(name=norm.name, convolution=convolution, shift=beta)
    return GraphNode(norm.name, 'BiasAdd', (convolution, beta), text)
