# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The described network in PyTorch: same operations, same numbers as cv2.dnn gives for the
exported files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.graph.config import NetworkConfig
from training.graph.inception import BATCH_NORM_EPSILON
from training.graph.network import FEATURE_STRIDE, FEATURES, MASK_SIZE, describe
from training.graph.nodes import Node
from training.graph.seams import CROP_SIZE
from training.graph.tensorflow_files import weights_of

_BOX_STAGE_END = 'SecondStageFeatureExtractor/InceptionV2/Mixed_5c/concat'
_MASK_STAGE_START = 'SecondStageFeatureExtractor_1/InceptionV2/Mixed_5c/concat'
_RPN_BOXES = 'FirstStageBoxPredictor/BoxEncodingPredictor/BiasAdd'
_RPN_SCORES = 'FirstStageBoxPredictor/ClassPredictor/BiasAdd'
_BOXES = 'SecondStageBoxPredictor/BoxEncodingPredictor/BiasAdd'
_SCORES = 'SecondStageBoxPredictor/ClassPredictor/BiasAdd'
_MASK_LOGITS = 'SecondStageBoxPredictor_1/Conv_1/BiasAdd'


class MaskRcnnModule(nn.Module):
    """Runs the nodes of :func:`training.graph.network.describe`; parameters carry their TensorFlow
    names.

    Args:
        config: the network.
        arrays: initial values by name, in TensorFlow's layout (``random_arrays`` or those of a
            trained model).

    Attributes:
        feature_channels, region_channels: of the backbone's and of Mixed_5c's features.

    """

    def __init__(self, config: NetworkConfig, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.config = config
        self.batch_norm_momentum = 0.03
        nodes = describe(config)
        channels = {n.name: n.channels for n in nodes}
        self.feature_channels = channels[FEATURES]
        self.region_channels = channels[_BOX_STAGE_END]
        self._weights = weights_of(nodes)
        for weight in self._weights.values():
            tensor = _from_tensorflow(torch.from_numpy(np.array(arrays[weight.name])), weight.role)
            if weight.role in ('mean', 'variance'):
                self.register_buffer(_attribute(weight.name), tensor)
            else:
                self.register_parameter(_attribute(weight.name), nn.Parameter(tensor))
        self._stages = {
            'backbone': _between(nodes, 'Preprocessor/sub', FEATURES),
            'rpn': [
                n
                for n in nodes
                if n.name.startswith('Conv/')
                or n.name.startswith('FirstStageBoxPredictor/')
                and n.op in ('Conv2D', 'BiasAdd')
            ],
            'boxes': _between(nodes, 'CropAndResize', _BOXES) + _named(nodes, _SCORES),
            'masks': _between(nodes, _MASK_STAGE_START, _MASK_LOGITS),
        }

    # ---- the four stages
    def backbone(self, rgb: Tensor) -> Tensor:
        """Features (B, C, H/16, W/16) of images (B, 3, H, W), RGB 0 to 255."""
        return self._run('backbone', {'Preprocessor/sub': rgb * (2.0 / 255.0) - 1.0})[FEATURES]

    def rpn(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Box encodings (B, A, 4) and background/foreground logits (B, A, 2) of every anchor."""
        values = self._run('rpn', {FEATURES: features})
        batch = features.shape[0]
        boxes, logits = (values[name].permute(0, 2, 3, 1) for name in (_RPN_BOXES, _RPN_SCORES))
        return boxes.reshape(batch, -1, 4).float(), logits.reshape(batch, -1, 2).float()

    def box_stage(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixed_5c features, box encodings (R, classes, 4) and logits (R, 1 + classes) of crops
        (R, C, 14, 14).
        """
        values = self._run('boxes', {'CropAndResize': crops})
        boxes = values[_BOXES].float().reshape(len(crops), self.config.num_classes, 4)
        return values[_BOX_STAGE_END], boxes, values[_SCORES].float()

    def mask_stage(self, mixed_5c: Tensor) -> Tensor:
        """Mask logits (R, classes, 15, 15) of the regions' Mixed_5c features."""
        return self._run('masks', {_MASK_STAGE_START: mixed_5c})[_MASK_LOGITS].float()

    # ---- TensorFlow's arrays
    def arrays(self) -> dict[str, np.ndarray]:
        """Return every trained array by name in TensorFlow's layout, for ``write_model``."""
        return {
            name: np.ascontiguousarray(
                _to_tensorflow(
                    self._array(name).detach().float(), weight.role, weight.shape
                ).numpy()
            )
            for name, weight in self._weights.items()
        }

    # ---- execution
    def _array(self, name: str) -> Tensor:
        return getattr(self, _attribute(name))

    def _run(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        for node in self._stages[stage]:
            x = values[node.inputs[0]]
            if node.op == 'ConcatV2':
                values[node.name] = torch.cat([values[i] for i in node.inputs], 1)
            elif node.op in _PLAIN:
                values[node.name] = _PLAIN[node.op](x)
            else:
                values[node.name] = getattr(self, f'_{node.op.lower()}')(node, x)
        return values

    def _conv2d(self, node: Node, x: Tensor) -> Tensor:
        kernel = self._array(node.weights[0].name)
        stride = node.attributes['strides'][1]
        x, padding = (
            _same_padding(x, kernel.shape[-1], stride)
            if node.attributes['padding'] == 'SAME'
            else (x, 0)
        )
        return functional.conv2d(x, kernel, None, stride, padding)

    def _depthwiseconv2dnative(self, node: Node, x: Tensor) -> Tensor:
        kernel = self._array(node.weights[0].name)
        stride = node.attributes['strides'][1]
        x, padding = _same_padding(x, kernel.shape[-1], stride)
        return functional.conv2d(x, kernel, None, stride, padding, groups=x.shape[1])

    def _fusedbatchnorm(self, node: Node, x: Tensor) -> Tensor:
        gamma, beta, mean, variance = (self._array(weight.name) for weight in node.weights)
        return functional.batch_norm(
            x,
            mean,
            variance,
            gamma,
            beta,
            self.training,
            self.batch_norm_momentum,
            BATCH_NORM_EPSILON,
        )

    def _biasadd(self, node: Node, x: Tensor) -> Tensor:
        bias = self._array(node.weights[0].name)
        return x + (bias[:, None, None] if x.dim() == 4 else bias)

    def _matmul(self, node: Node, x: Tensor) -> Tensor:
        return x @ self._array(node.weights[0].name)

    def _maxpool(self, node: Node, x: Tensor) -> Tensor:
        kernel, stride = node.attributes['ksize'][1], node.attributes['strides'][1]
        padding = 0
        if node.attributes['padding'] == 'SAME':
            x, padding = _same_padding(x, kernel, stride, -math.inf)
        return functional.max_pool2d(x, kernel, stride, padding)


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    'Relu': functional.relu,
    'Relu6': functional.relu6,
    'AvgPool': lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    'Mean': lambda x: x.mean((2, 3), keepdim=True),
    'Flatten': lambda x: x.flatten(1),
    'ResizeBilinear': lambda x: functional.interpolate(
        x, (MASK_SIZE, MASK_SIZE), mode='bilinear', align_corners=True
    ),
}


def _attribute(name: str) -> str:
    return name.replace('/', '__').replace('.', '_')


def _named(nodes: list[Node], name: str) -> list[Node]:
    """The node and the one that feeds it: a head of two operations."""
    last = next(n for n in nodes if n.name == name)
    return [next(n for n in nodes if n.name == last.inputs[0]), last]


def _between(nodes: list[Node], start: str, end: str) -> list[Node]:
    """Every node that lies on a path from ``start`` (exclusive) to ``end`` (inclusive), in running
    order.
    """
    by_name = {n.name: n for n in nodes}
    wanted, queue = set(), [end]
    while queue:
        name = queue.pop()
        if name != start and name not in wanted:
            wanted.add(name)
            queue.extend(by_name[name].inputs)
    return [n for n in nodes if n.name in wanted]


def _from_tensorflow(tensor: Tensor, role: str) -> Tensor:
    if role == 'depthwise':  # (h, w, in, multiplier): output channel is in * multiplier + m
        return tensor.permute(2, 3, 0, 1).reshape(-1, 1, *tensor.shape[:2]).contiguous()
    return tensor.permute(3, 2, 0, 1).contiguous() if role == 'kernel' else tensor


def _to_tensorflow(tensor: Tensor, role: str, shape: tuple[int, ...]) -> Tensor:
    if role == 'depthwise':
        return tensor.reshape(shape[2], shape[3], shape[0], shape[1]).permute(2, 3, 0, 1)
    return tensor.permute(2, 3, 1, 0) if role == 'kernel' else tensor


def _same_padding(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> tuple[Tensor, int]:
    """Pad as TensorFlow's SAME does (an odd rest goes to the right and the bottom)."""
    padding = []
    for size in (x.shape[3], x.shape[2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        padding += [total // 2, total - total // 2]
    if len(set(padding)) == 1:
        return x, padding[0]
    return functional.pad(x, padding, value=value), 0


def anchors(config: NetworkConfig, rows: int, columns: int, height: int, width: int) -> Tensor:
    """Anchors (rows * columns * anchors, 4), x1 y1 x2 y2 as fractions of the image, clipped to it
    as PriorBox does.
    """
    sizes = torch.tensor(config.anchors) / 2
    y, x = torch.meshgrid(
        torch.arange(rows) * float(FEATURE_STRIDE),
        torch.arange(columns) * float(FEATURE_STRIDE),
        indexing='ij',
    )
    x, y = x.reshape(-1, 1), y.reshape(-1, 1)
    w, h = sizes.T
    boxes = torch.stack([(x - w) / width, (y - h) / height, (x + w) / width, (y + h) / height], -1)
    return boxes.reshape(-1, 4).clamp(0, 1)


def crop_and_resize(features: Tensor, boxes: Tensor) -> Tensor:
    """Sample 14x14 crops corner to corner, as TensorFlow's CropAndResize does.

    Args:
        features: (1, C, H, W) of one image.
        boxes: (R, 4), fractions of the image.

    Returns:
        (R, C, 14, 14). Two matrix products instead of a gather: on a CPU their gradient is several
        times faster.

    """
    rows, columns = features.shape[2:]
    steps = torch.linspace(0, 1, CROP_SIZE, device=boxes.device)
    x = _tent((boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])) * (columns - 1), columns)
    y = _tent((boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])) * (rows - 1), rows)
    count, channels = len(boxes), features.shape[1]
    flat = features[0].permute(1, 2, 0).reshape(rows, columns * channels)
    crops = (y.to(flat.dtype).reshape(count * CROP_SIZE, rows) @ flat).reshape(
        count, CROP_SIZE, columns, channels
    )
    return torch.matmul(x.to(flat.dtype)[:, None], crops).permute(0, 3, 1, 2)


def _tent(positions: Tensor, size: int) -> Tensor:
    """Bilinear weights (R, S, size) of sample positions (R, S) in pixels."""
    grid = torch.arange(size, device=positions.device)
    return (1 - (positions.clamp(0, size - 1)[..., None] - grid).abs()).clamp(min=0)


def parameter_groups(module: MaskRcnnModule, weight_decay: float) -> Iterable[dict]:
    """Kernels and matrices decay; biases and batch norms do not."""
    named = list(module.named_parameters())
    return [
        {'params': [p for n, p in named if n.endswith('weights')], 'weight_decay': weight_decay},
        {'params': [p for n, p in named if not n.endswith('weights')], 'weight_decay': 0.0},
    ]
