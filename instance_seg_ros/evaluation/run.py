# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Segments the photos: one pass of the network for each preset, then the refiners on its masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.evaluation.notes import DatasetError, Notes
from instance_seg_ros.evaluation.shapes import Rle
from instance_seg_ros.evaluation.truth import TruePhoto
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmenter import Segmenter


@dataclass(frozen=True)
class Found:
    """What was found in one photo, best score first.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels.
        scores: float32 (N,).
        class_ids: int32 (N,), of the model.
        rles: N masks as COCO's compressed run lengths.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    rles: list[Rle]


@dataclass
class Run:
    """One preset with one refiner, over all photos.

    Attributes:
        preset, refiner: their names.
        engine: what ran the network.
        found: of each photo that was read, by its position: the classes that are counted there.
        times: milliseconds of each stage, by photo.
    """

    preset: str
    refiner: str
    engine: str
    found: dict[int, Found] = field(default_factory=dict)
    times: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return such as "exact, gan"."""
        return f'{self.preset}, {self.refiner}'

    def milliseconds(self) -> dict[str, float]:
        """Return the median time of each stage and of a whole photo."""
        if not self.times:
            return {}
        stages = {stage: median(t[stage] for t in self.times) for stage in self.times[0]}
        return stages | {'photo': median(sum(t.values()) for t in self.times)}


def run_over(
    segmenter: Segmenter,
    preset: str,
    refiners: Sequence[str],
    photos: Iterable[TruePhoto],
    notes: Notes,
) -> list[Run]:
    """Segment all photos with one preset.

    Args:
        segmenter: loaded with that preset.
        preset: its name.
        refiners: names of the setting ``refiner``.
        photos: to segment; those that cannot be read are noted.
        notes: of the data set.

    Returns:
        A run for each refiner.

    Raises:
        DatasetError: no photo can be read.

    """
    configurations = [segmenter.prepare(refiner=name) for name in refiners]
    runs = [Run(preset, each.refiner.name, segmenter.engine) for each in configurations]
    for index, photo in enumerate(photos):
        try:
            pending = segmenter.detect(photo.photo.read(notes))
        except (ImageError, DatasetError) as error:
            reason = str(error).removeprefix(f'{photo.photo.path}: ')
            notes.left_out('images that cannot be used', f'{photo.photo.name} {reason}')
            continue
        results = segmenter.finish_each(pending, configurations)
        for run, instances in zip(runs, results, strict=True):
            run.times.append(dict(instances.timings))
            run.found[index] = _found(instances, photo.by_box)
    if not runs[0].found:
        raise DatasetError(f'no photo can be used: {"; ".join(notes.lines())}')
    return runs


def _found(instances: Instances, counted: frozenset[int]) -> Found:
    kept = instances[np.isin(instances.class_ids, list(counted))]
    rles = [row['segmentation'] for row in kept.to_coco()]
    return Found(kept.boxes, kept.scores, kept.class_ids, rles)
