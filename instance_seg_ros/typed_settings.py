# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The settings as arguments and properties of the Segmenter, for type checkers and editors.

Written by ``make generate`` from settings.py: change that file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from instance_seg_ros.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LiveArguments(TypedDict, total=False):
    """The fields of Settings."""

    confidence_threshold: float
    nms_threshold: float
    mask_threshold: float
    min_part: float
    classes: Sequence[str]
    class_thresholds: Sequence[str]
    min_area: int
    max_instances: int
    refiner: str
    refine_passes: int
    refine_budget_ms: float
    input_max_side: int
    tiles: str


class SegmenterArguments(LiveArguments, total=False):
    """The fields of ModelSettings and Settings."""

    model: str | Path
    model_path: str | Path
    text_graph_path: str | Path
    labels_path: str | Path
    engine: str
    providers: Sequence[str]
    precision: str
    trust_model: bool
    refine_providers: Sequence[str]
    speed_preset: str
    num_threads: int
    parallel_nets: int
    low_memory: bool


class SettingProperties(ABC):
    """A property for each field of Settings."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The settings in use."""

    @abstractmethod
    def update(self, **settings: Unpack[LiveArguments]) -> None:
        """Change some settings."""

    @property
    def confidence_threshold(self) -> float:
        """The setting ``confidence_threshold``, which applies from the next frame.

        Instances with a lower score are dropped.
        """
        return self.settings.confidence_threshold

    @confidence_threshold.setter
    def confidence_threshold(self, value: float) -> None:
        self.update(confidence_threshold=value)

    @property
    def nms_threshold(self) -> float:
        """The setting ``nms_threshold``, which applies from the next frame.

        Of two boxes of a class that overlap more than this (intersection over union), the one with
        the lower score is dropped.
        """
        return self.settings.nms_threshold

    @nms_threshold.setter
    def nms_threshold(self, value: float) -> None:
        self.update(nms_threshold=value)

    @property
    def mask_threshold(self) -> float:
        """The setting ``mask_threshold``, which applies from the next frame.

        Pixels with at least this probability belong to the instance.
        """
        return self.settings.mask_threshold

    @mask_threshold.setter
    def mask_threshold(self, value: float) -> None:
        self.update(mask_threshold=value)

    @property
    def min_part(self) -> float:
        """The setting ``min_part``, which applies from the next frame.

        Parts of a mask with less than this share of its largest part's pixels are dropped, and
        holes with less are filled; 0: masks stay as they are.
        """
        return self.settings.min_part

    @min_part.setter
    def min_part(self, value: float) -> None:
        self.update(min_part=value)

    @property
    def classes(self) -> tuple[str, ...]:
        """The setting ``classes``, which applies from the next frame.

        Names of the classes to keep; empty: all.
        """
        return self.settings.classes

    @classes.setter
    def classes(self, value: Sequence[str]) -> None:
        self.update(classes=value)

    @property
    def class_thresholds(self) -> tuple[str, ...]:
        """The setting ``class_thresholds``, which applies from the next frame.

        Thresholds of single classes in place of confidence_threshold, such as person:0.6.
        """
        return self.settings.class_thresholds

    @class_thresholds.setter
    def class_thresholds(self, value: Sequence[str]) -> None:
        self.update(class_thresholds=value)

    @property
    def min_area(self) -> int:
        """The setting ``min_area``, which applies from the next frame.

        Instances with a smaller box are dropped; in square pixels.
        """
        return self.settings.min_area

    @min_area.setter
    def min_area(self, value: int) -> None:
        self.update(min_area=value)

    @property
    def max_instances(self) -> int:
        """The setting ``max_instances``, which applies from the next frame.

        Most instances of an image; those with the best scores are kept.
        """
        return self.settings.max_instances

    @max_instances.setter
    def max_instances(self, value: int) -> None:
        self.update(max_instances=value)

    @property
    def refiner(self) -> str:
        """The setting ``refiner``, which applies from the next frame.

        What sharpens the masks: gan (a network), the path of such a network (.onnx), smooth
        (follows the edges of the image), none (the plain resized mask), or auto: gan where
        it is installed, else smooth.
        """
        return self.settings.refiner

    @refiner.setter
    def refiner(self, value: str) -> None:
        self.update(refiner=value)

    @property
    def refine_passes(self) -> int:
        """The setting ``refine_passes``, which applies from the next frame.

        Most passes of a refiner network, each finer than the one before; only large instances get
        more than one.
        """
        return self.settings.refine_passes

    @refine_passes.setter
    def refine_passes(self, value: int) -> None:
        self.update(refine_passes=value)

    @property
    def refine_budget_ms(self) -> float:
        """The setting ``refine_budget_ms``, which applies from the next frame.

        Time limit of a refiner network for all instances of an image, best scores first; instances
        that it does not reach get fewer passes or are smoothed; in milliseconds; 0: no
        limit.
        """
        return self.settings.refine_budget_ms

    @refine_budget_ms.setter
    def refine_budget_ms(self, value: float) -> None:
        self.update(refine_budget_ms=value)

    @property
    def input_max_side(self) -> int:
        """The setting ``input_max_side``, which applies from the next frame.

        Larger images are scaled down to this longer side for the network; in pixels; 0: the model's
        own.
        """
        return self.settings.input_max_side

    @input_max_side.setter
    def input_max_side(self, value: int) -> None:
        self.update(input_max_side=value)

    @property
    def tiles(self) -> str:
        """The setting ``tiles``, which applies from the next frame.

        For small objects: also segment the image in overlapping tiles, columns x rows such as 2x2;
        each tile takes as long as an image.
        """
        return self.settings.tiles

    @tiles.setter
    def tiles(self, value: str) -> None:
        self.update(tiles=value)
