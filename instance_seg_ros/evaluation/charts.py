# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Precision-recall curves as lines of an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.metrics import CURVE_RECALLS, KindFigures, RunFigures
from instance_seg_ros.evaluation.truth import BOX, KINDS

WIDTH, HEIGHT = 240, 180  # of the area of the curves
# Those of Okabe and Ito, dark enough on white and light enough on black.
_COLOURS = ('#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#8a6d00', '#888888')


@dataclass(frozen=True)
class Curve:
    """One line of a chart: ``points`` as SVG's polyline takes them."""

    name: str
    colour: str
    points: str


@dataclass(frozen=True)
class Chart:
    """Some curves over recall."""

    title: str
    curves: list[Curve]


def overview_charts(results: Sequence[RunFigures]) -> list[Chart]:
    """Return a chart for each kind: curves of the runs at IoU .50, averaged over the classes."""
    charts = []
    for kind in KINDS:
        curves = [
            _curve(i, result, kind, _average(result.kinds[kind]))
            for i, result in enumerate(_distinct(results, kind))
        ]
        if curves:
            charts.append(Chart(kind, curves))
    return charts


def class_charts(
    results: Sequence[RunFigures], names: dict[int, str], kind: str, most: int
) -> list[Chart]:
    """Return a chart for each class of a kind, most objects first, ``most`` charts at most."""
    shown = _distinct(results, kind)
    if not shown:
        return []
    classes = shown[0].kinds[kind].classes
    order = sorted(classes, key=lambda class_id: -classes[class_id].objects)[:most]
    return [
        Chart(
            f'{names[class_id]} ({classes[class_id].objects})',
            [
                _curve(i, result, kind, result.kinds[kind].classes[class_id].curve)
                for i, result in enumerate(shown)
            ],
        )
        for class_id in order
    ]


def _distinct(results: Sequence[RunFigures], kind: str) -> list[RunFigures]:
    """Return the results that differ in this kind: boxes are the same whatever the refiner."""
    chosen: dict[str, RunFigures] = {}
    for result in results:
        if kind in result.kinds:
            name = result.run.preset if kind == BOX else result.run.name
            chosen.setdefault(name, result)
    return list(chosen.values())


def _average(figures: KindFigures) -> NDArray[np.float64]:
    return np.mean([own.curve for own in figures.classes.values()], axis=0)


def _curve(i: int, result: RunFigures, kind: str, precision: NDArray[np.float64]) -> Curve:
    name = result.run.preset if kind == BOX else result.run.name
    end = int(np.flatnonzero(precision > 0).max(initial=0)) + 1
    points = [
        f'{recall * WIDTH:.1f},{(1 - value) * HEIGHT:.1f}'
        for recall, value in zip(CURVE_RECALLS[:end], precision[:end], strict=True)
    ]
    points.append(f'{CURVE_RECALLS[end - 1] * WIDTH:.1f},{HEIGHT}')
    return Curve(name, _COLOURS[i % len(_COLOURS)], ' '.join(points))
