# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The report: one HTML file with tables, curves and pictures of the worst mistakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instance_seg_ros import __version__
from instance_seg_ros.evaluation import charts
from instance_seg_ros.evaluation.metrics import RunFigures
from instance_seg_ros.evaluation.mistakes import Mistake, Mistakes, mistakes_of
from instance_seg_ros.evaluation.pictures import picture_of
from instance_seg_ros.evaluation.tables import COLUMNS, cell, class_rows
from instance_seg_ros.evaluation.truth import BOX, KINDS, MASK, TruePhoto

_TEMPLATE = 'report.html'
_CHARTS = 24  # of classes, at most


@dataclass(frozen=True)
class ReportContent:
    """What a report is about.

    Attributes:
        model, annotations: their names.
        photos: with their objects.
        names: class id to name, of the classes that are counted.
        results: of all runs.
        notes, hints: lines about what was left out.
        operating_score: of precision, recall and the mistakes.
        pictures: of each kind of mistake, at most.
    """

    model: str
    annotations: str
    photos: Sequence[TruePhoto]
    names: dict[int, str]
    results: Sequence[RunFigures]
    notes: list[str]
    hints: list[str]
    operating_score: float
    pictures: int


def render_report(content: ReportContent) -> str:
    """Return the report as HTML; ImportError where jinja2 is missing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = _best(content.results)
    class_kind = MASK if MASK in shown.kinds else BOX
    heads, rows = class_rows(content.results, content.names)
    found = shown.run.found
    return environment.get_template(_TEMPLATE).render(
        width=charts.WIDTH,
        height=charts.HEIGHT,
        model=content.model,
        annotations=content.annotations,
        photos=len(found),
        objects=sum(own.objects for own in shown.kinds[BOX].classes.values()),
        names=shown.kinds[BOX].classes,
        engine=shown.run.engine,
        version=__version__,
        columns=COLUMNS,
        results=content.results,
        best=_best_figures(content.results),
        cell=cell,
        notes=content.notes,
        hints=content.hints,
        operating_score=content.operating_score,
        overview=charts.overview_charts(content.results),
        class_heads=heads[2:],
        class_rows=rows,
        class_kind=f'{class_kind}es' if class_kind == BOX else f'{class_kind}s',
        by_class=charts.class_charts(content.results, content.names, class_kind, _CHARTS),
        shown_run=shown.run.name,
        sections=_sections(content, shown),
    )


def _best(results: Sequence[RunFigures]) -> RunFigures:
    """Return the result with the best masks, or boxes where there are no masks."""

    def quality(result: RunFigures) -> float:
        figures = result.kinds.get(MASK) or result.kinds[BOX]
        return figures.totals['AP'] or 0.0

    return max(results, key=quality)


def _best_figures(results: Sequence[RunFigures]) -> dict[str, dict[str, float | None]]:
    best: dict[str, dict[str, float | None]] = {}
    for kind in KINDS:
        totals = [result.kinds[kind].totals for result in results if kind in result.kinds]
        best[kind] = {
            name: max((t[name] for t in totals if t[name] is not None), default=None)  # type: ignore[type-var]
            for name in COLUMNS
        }
    return best


def _sections(content: ReportContent, shown: RunFigures) -> list[dict[str, Any]]:
    mistakes = mistakes_of(content.photos, shown.run, content.names, content.operating_score)
    kinds = {
        'false': ('Found, but not there: the highest scores', mistakes.false),
        'missed': ('Missed: the largest', mistakes.missed),
        'masks': ('Masks that fit worst', mistakes.masks),
    }
    pictures = _pictures(content, mistakes)
    return [
        {
            'title': f'{title} ({min(len(each), content.pictures)} of {len(each)})',
            'cards': [
                {
                    'title': mistake.title,
                    'reason': mistake.reason,
                    'file': content.photos[mistake.photo].photo.name,
                    'picture': pictures[id(mistake)],
                }
                for mistake in each[: content.pictures]
            ],
        }
        for title, each in kinds.values()
    ]


def _pictures(content: ReportContent, mistakes: Mistakes) -> dict[int, str]:
    """Return the pictures by the id of their mistake; each photo is read once."""
    by_photo: dict[int, list[Mistake]] = defaultdict(list)
    for each in (mistakes.false, mistakes.missed, mistakes.masks):
        for mistake in each[: content.pictures]:
            by_photo[mistake.photo].append(mistake)
    pictures = {}
    for index, own in by_photo.items():
        image = content.photos[index].photo.read()
        for mistake in own:
            pictures[id(mistake)] = picture_of(image, mistake)
    return pictures
