# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Inception V2 as nodes: its channel table, stem and modules, as slim builds them."""

from __future__ import annotations

from typing import Any

from training.graph.config import STEM_CHANNELS, NetworkConfig
from training.graph.nodes import NodeList, Weight

BATCH_NORM_EPSILON = 0.001

# slim's Inception V2 at depth multiplier 1.0: one tuple per branch, one number per convolution.
CHANNELS: dict[str, tuple[tuple[int, ...], ...]] = {
    'Mixed_3b': ((64,), (64, 64), (64, 96, 96), (32,)),
    'Mixed_3c': ((64,), (64, 96), (64, 96, 96), (64,)),
    'Mixed_4a': ((128, 160), (64, 96, 96)),
    'Mixed_4b': ((224,), (64, 96), (96, 128, 128), (128,)),
    'Mixed_4c': ((192,), (96, 128), (96, 128, 128), (128,)),
    'Mixed_4d': ((160,), (128, 160), (128, 160, 160), (96,)),
    'Mixed_4e': ((96,), (128, 192), (160, 192, 192), (96,)),
    'Mixed_5a': ((128, 192), (192, 256, 256)),
    'Mixed_5b': ((352,), (192, 320), (160, 224, 224), (128,)),
    'Mixed_5c': ((352,), (192, 320), (192, 224, 224), (128,)),
}
REDUCTIONS = ('Mixed_4a', 'Mixed_5a')


class InceptionNodes(NodeList):
    """Collects the convolutions and modules of Inception V2 with its batch norms."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    # ---- convolutions
    def conv(
        self,
        name: str,
        x: str,
        weights: str,
        out: int,
        kernel: int,
        stride: int = 1,
        **attributes: Any,
    ) -> str:
        shape = (kernel, kernel, self.channels_of(x), out)
        return self.add(
            name,
            'Conv2D',
            x,
            weights=(Weight(weights, shape, 'kernel'),),
            channels=out,
            attributes=conv_attributes('SAME', stride) | attributes,
        )

    def bias(self, name: str, x: str, weights: str) -> str:
        return self.add(
            name,
            'BiasAdd',
            x,
            weights=(Weight(weights, (self.channels_of(x),), 'bias'),),
            attributes={'data_format': 'NHWC'},
        )

    def norm_relu(self, op_scope: str, weight_scope: str, x: str) -> str:
        depth = (self.channels_of(x),)
        weights = tuple(
            Weight(f'{weight_scope}/BatchNorm/{name}', depth, role)
            for name, role in (
                ('gamma', 'gamma'),
                ('beta', 'beta'),
                ('moving_mean', 'mean'),
                ('moving_variance', 'variance'),
            )
        )
        x = self.add(
            f'{op_scope}/BatchNorm/FusedBatchNorm',
            'FusedBatchNorm',
            x,
            weights=weights,
            attributes={'data_format': 'NHWC', 'epsilon': BATCH_NORM_EPSILON},
        )
        return self.add(f'{op_scope}/Relu', 'Relu', x)

    def conv_norm_relu(
        self, op_scope: str, weight_scope: str, x: str, depth: int, kernel: int, stride: int = 1
    ) -> str:
        x = self.conv(
            f'{op_scope}/Conv2D',
            x,
            f'{weight_scope}/weights',
            self.config.channels(depth),
            kernel,
            stride,
        )
        return self.norm_relu(op_scope, weight_scope, x)

    def pool(
        self, name: str, op: str, x: str, kernel: int, stride: int, padding: str = 'SAME'
    ) -> str:
        return self.add(
            name,
            op,
            x,
            attributes={
                'data_format': 'NHWC',
                'ksize': [1, kernel, kernel, 1],
                'padding': padding,
                'strides': [1, stride, stride, 1],
            },
        )

    def concat(self, name: str, inputs: list[str]) -> str:
        return self.add(
            name,
            'ConcatV2',
            *inputs,
            constants={f'{name}/axis': 3},
            channels=sum(self.channels_of(i) for i in inputs),
        )

    # ---- Inception modules
    def stem(self, op_scope: str, weight_scope: str, x: str) -> str:
        ops, weights = f'{op_scope}/Conv2d_1a_7x7', f'{weight_scope}/Conv2d_1a_7x7'
        multiplier = self.config.stem_multiplier
        channels = self.channels_of(x)
        x = self.add(
            f'{ops}/separable_conv2d/depthwise',
            'DepthwiseConv2dNative',
            x,
            weights=(
                Weight(f'{weights}/depthwise_weights', (7, 7, channels, multiplier), 'depthwise'),
            ),
            channels=channels * multiplier,
            attributes=conv_attributes('SAME', 2),
        )
        out = self.config.channels(STEM_CHANNELS[0])
        x = self.add(
            f'{ops}/separable_conv2d',
            'Conv2D',
            x,
            channels=out,
            weights=(
                Weight(f'{weights}/pointwise_weights', (1, 1, self.channels_of(x), out), 'kernel'),
            ),
            attributes=conv_attributes('VALID', 1),
        )
        x = self.norm_relu(ops, weights, x)
        x = self.pool(f'{op_scope}/MaxPool_2a_3x3/MaxPool', 'MaxPool', x, 3, 2)
        for scope, depth, kernel in (
            ('Conv2d_2b_1x1', STEM_CHANNELS[1], 1),
            ('Conv2d_2c_3x3', STEM_CHANNELS[2], 3),
        ):
            x = self.conv_norm_relu(
                f'{op_scope}/{scope}', f'{weight_scope}/{scope}', x, depth, kernel
            )
        return self.pool(f'{op_scope}/MaxPool_3a_3x3/MaxPool', 'MaxPool', x, 3, 2)

    def inception(self, module: str, op_scope: str, weight_scope: str, x: str) -> str:
        ops, weights = f'{op_scope}/{module}', f'{weight_scope}/{module}'
        reduction = module in REDUCTIONS
        ends = []
        for index, depths in enumerate(CHANNELS[module]):
            branch, y = f'Branch_{index}', x
            if not reduction and index == 3:
                # slim's only irregularity: the last module pools by maximum.
                kind = 'MaxPool' if module == 'Mixed_5c' else 'AvgPool'
                y = self.pool(f'{ops}/{branch}/{kind}_0a_3x3/{kind}', kind, y, 3, 1)
                scopes = [('Conv2d_0b_1x1', 1, 1)]
            else:
                scopes = _branch_scopes(len(depths), reduction)
            for (scope, kernel, stride), depth in zip(scopes, depths, strict=True):
                y = self.conv_norm_relu(
                    f'{ops}/{branch}/{scope}',
                    f'{weights}/{branch}/{scope}',
                    y,
                    depth,
                    kernel,
                    stride,
                )
            ends.append(y)
        if reduction:
            ends.append(self.pool(f'{ops}/Branch_2/MaxPool_1a_3x3/MaxPool', 'MaxPool', x, 3, 2))
        return self.concat(f'{ops}/concat', ends)


def conv_attributes(padding: str, stride: int) -> dict[str, Any]:
    """Return the attributes of a convolution."""
    return {
        'data_format': 'NHWC',
        'dilations': [1, 1, 1, 1],
        'padding': padding,
        'strides': [1, stride, stride, 1],
    }


def _branch_scopes(count: int, reduction: bool) -> list[tuple[str, int, int]]:
    """Scope name, kernel and stride of the convolutions of one branch."""
    scopes = [('Conv2d_0a_1x1', 1, 1), ('Conv2d_0b_3x3', 3, 1), ('Conv2d_0c_3x3', 3, 1)][:count]
    if reduction:
        scopes[-1] = ('Conv2d_1a_3x3', 3, 2)
    return scopes
