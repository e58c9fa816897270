# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What may differ between two networks of the published structure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

STEM_CHANNELS = (64, 64, 192)
MIN_CHANNELS = 16
MOST_PROPOSALS = 10_000  # that a manifest may have


@dataclass(frozen=True)
class NetworkConfig:
    """What may differ between two networks of this structure.

    Attributes:
        width: depth multiplier of Inception V2 and of the heads; 1.0 is the published model.
        num_classes: foreground classes.
        anchor_sizes: square root of the anchor's area, pixels of the network's input.
        anchor_ratios: width over height.
        proposals: regions that the first stage hands on: always exactly this number.
        rpn_candidates: anchors that enter the first stage's NMS, best first.
        rpn_nms_threshold, nms_threshold: IoU of the two NMS.
        score_threshold: detections below are dropped inside the graph.
        max_detections: rows of ``detection_out_final``.
    """

    width: float = 1.0
    num_classes: int = 90
    anchor_sizes: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals: int = 100
    rpn_candidates: int = 6000
    rpn_nms_threshold: float = 0.7
    nms_threshold: float = 0.6
    score_threshold: float = 0.3
    max_detections: int = 100

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        if not 0.05 <= self.width <= 2.0:
            raise ValueError(f'width is {self.width}: expected 0.05 to 2.0')
        for name in ('num_classes', 'proposals', 'rpn_candidates', 'max_detections'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}: expected at least 1')
        if self.proposals > MOST_PROPOSALS:
            raise ValueError(f'proposals is {self.proposals}: expected at most {MOST_PROPOSALS}')
        for name in ('anchor_sizes', 'anchor_ratios'):
            values = getattr(self, name)
            if not values or not all(0 < value < math.inf for value in values):
                raise ValueError(f'{name} is {values}: expected one or more positive numbers')

    @property
    def anchors(self) -> list[tuple[float, float]]:
        """(width, height) of every anchor in pixels, in the network's order: ratio by ratio."""
        return [
            (size * math.sqrt(ratio), size / math.sqrt(ratio))
            for ratio in self.anchor_ratios
            for size in self.anchor_sizes
        ]

    def channels(self, depth: int) -> int:
        """Channels of a layer that has ``depth`` at width 1.0 (slim's rule)."""
        return depth if self.width == 1.0 else max(int(depth * self.width), MIN_CHANNELS)

    @property
    def stem_multiplier(self) -> int:
        """Depthwise multiplier of the separable 7x7 stem (slim's rule)."""
        return min(self.channels(STEM_CHANNELS[0]) // 3, 8)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Read what dataclasses.asdict gives, also from JSON; an unknown key raises TypeError."""
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**arguments)
