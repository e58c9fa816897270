# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The report: one HTML file with tables, curves and pictures of the worst mistakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from instance_seg_ros import __version__
from instance_seg_ros.evaluation import charts
from instance_seg_ros.evaluation.measure import Evaluation
from instance_seg_ros.evaluation.metrics import RunFigures
from instance_seg_ros.evaluation.mistakes import Mistake, mistakes_of
from instance_seg_ros.evaluation.pictures import picture_of
from instance_seg_ros.evaluation.tables import COLUMNS, cell, class_rows, run_lines
from instance_seg_ros.evaluation.truth import BOX, KINDS, MASK

_TEMPLATE = 'report.html'
_CHARTS = 24  # of classes, at most


def render_report(evaluation: Evaluation, pictures: int = 16) -> str:
    """Return the report as HTML; ImportError where jinja2 is missing.

    Args:
        evaluation: what was measured.
        pictures: of each kind of mistake, at most; each takes about 15 kB.

    Raises:
        ImageError: a photo is no longer there.

    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    results, names = evaluation.results, evaluation.names
    shown = _best(results)
    class_kind = MASK if MASK in shown.kinds else BOX
    heads, rows = class_rows(results, names)
    return environment.get_template(_TEMPLATE).render(
        evaluation=evaluation,
        annotations=evaluation.dataset.path.name,
        classes=shown.kinds[BOX].classes,
        version=__version__,
        columns=COLUMNS,
        lines=run_lines(results),
        best=_best_figures(results),
        cell=cell,
        width=charts.WIDTH,
        height=charts.HEIGHT,
        overview=charts.overview_charts(results),
        class_heads=heads[2:],
        class_rows=rows,
        class_kind={BOX: 'boxes', MASK: 'masks'}[class_kind],
        by_class=charts.class_charts(results, names, class_kind, _CHARTS),
        shown=shown.run,
        sections=_sections(evaluation, shown, pictures),
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
        best[kind] = {name: _largest(each[name] for each in totals) for name in COLUMNS}
    return best


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _sections(evaluation: Evaluation, shown: RunFigures, most: int) -> list[dict[str, Any]]:
    mistakes = mistakes_of(
        evaluation.photos, shown.run, evaluation.names, evaluation.operating_score
    )
    kinds = {
        'Found, but not there: the highest scores': mistakes.false,
        'Missed: the largest': mistakes.missed,
        'Masks that fit worst': mistakes.masks,
    }
    pictures = _pictures(evaluation, [m for each in kinds.values() for m in each[:most]])
    return [
        {
            'title': f'{title} ({min(len(each), most)} of {len(each)})',
            'cards': [
                {
                    'title': mistake.title,
                    'reason': mistake.reason,
                    'file': evaluation.photos[mistake.photo].photo.name,
                    'picture': pictures[id(mistake)],
                }
                for mistake in each[:most]
            ],
        }
        for title, each in kinds.items()
    ]


def _pictures(evaluation: Evaluation, mistakes: list[Mistake]) -> dict[int, str]:
    """Return the pictures by the id of their mistake; each photo is read once."""
    by_photo: dict[int, list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        by_photo[mistake.photo].append(mistake)
    pictures: dict[int, str] = {}
    for index, own in by_photo.items():
        image = evaluation.photos[index].photo.read()
        pictures |= {id(mistake): picture_of(image, mistake) for mistake in own}
    return pictures
