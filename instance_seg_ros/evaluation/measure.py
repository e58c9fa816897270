# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From an annotation file and a model to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from instance_seg_ros.evaluation.classes import ClassMatch, match_classes
from instance_seg_ros.evaluation.metrics import RunFigures, figures_of
from instance_seg_ros.evaluation.notes import DatasetError, Notes
from instance_seg_ros.evaluation.reader import CocoDataset
from instance_seg_ros.evaluation.run import Run, run_over
from instance_seg_ros.evaluation.truth import BOX, KINDS, TruePhoto, truth_of, with_option
from instance_seg_ros.segmenter import Segmenter

# A Segmenter with a preset.
Load = Callable[[str], Segmenter]
# The photos, with a bar of progress for a preset.
Bar = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Choice:
    """What is measured, and how.

    Attributes:
        presets, refiners: each preset runs with each refiner.
        rename, classes: as :func:`match_classes` takes them.
        kinds: of figures; boundaries of large photos take time.
        operating_score: of precision, recall and the mistakes that are shown.
    """

    presets: Sequence[str] = ('exact',)
    refiners: Sequence[str] = ('auto',)
    rename: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    kinds: Sequence[str] = KINDS
    operating_score: float = 0.5


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        model: its name.
        dataset: what was read.
        match: which category is which class.
        photos: with the objects that are counted.
        results: figures of each run.
        operating_score: as chosen.
    """

    model: str
    dataset: CocoDataset
    match: ClassMatch
    photos: list[TruePhoto]
    results: list[RunFigures]
    operating_score: float

    @property
    def names(self) -> dict[int, str]:
        """Class id to name, of the classes that are counted."""
        return self.match.names

    @property
    def photos_measured(self) -> int:
        """How many photos could be read."""
        return len(self.results[0].run.found)

    def remarks(self) -> list[str]:
        """Return lines about what was left out, changed or should be looked at."""
        lines = [*self.dataset.notes.lines(), *self.match.hints()]
        crowds = with_option(self.dataset.crowd_hint())
        return [*lines, crowds] if crowds else lines


def measure(
    dataset: CocoDataset, load: Load, choice: Choice, bar: Bar = lambda items, _: items
) -> Evaluation:
    """Segment the photos of a data set and compare what is found with their annotations.

    Args:
        dataset: the annotated photos; what cannot be used is added to its notes.
        load: called once for each preset, so that one network is in memory at a time.
        choice: what is measured.
        bar: shows the progress.

    Raises:
        DatasetError: no category is a class of the model, or no object is left to count in the
            photos that can be read.
        ValueError, ModelError: a setting is unknown, or the model cannot be loaded.

    """
    segmenter = load(choice.presets[0])
    match = match_classes(dataset.categories, segmenter.class_names, choice.rename, choice.classes)
    photos = truth_of(dataset, match)
    runs: list[Run] = []
    for preset in choice.presets:
        if runs:
            segmenter = load(preset)
        notes = Notes() if runs else dataset.notes  # they are the same for each preset
        runs += run_over(segmenter, preset, choice.refiners, bar(photos, preset), notes)
    results = figures_of(photos, runs, choice.operating_score, choice.kinds)
    if BOX not in results[0].kinds:
        raise DatasetError(
            'no object to count is in a photo that can be used: ' + '; '.join(dataset.notes.lines())
        )
    return Evaluation(segmenter.model_name, dataset, match, photos, results, choice.operating_score)
