# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The figures as tables for a terminal and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instance_seg_ros.evaluation.measure import Evaluation
from instance_seg_ros.evaluation.metrics import RunFigures
from instance_seg_ros.evaluation.truth import BOX

COLUMNS = {
    'AP': 'AP',
    'AP50': 'AP50',
    'AP75': 'AP75',
    'AP_small': 'small',
    'AP_medium': 'medium',
    'AP_large': 'large',
    'AR': 'AR',
}


def cell(value: float | None) -> str:
    """Return a figure with three digits, "-" where there is none."""
    return '-' if value is None else f'{value:.3f}'


@dataclass(frozen=True)
class RunLine:
    """A line of the table of runs.

    Attributes:
        result: of the run.
        kind: of its figures; the boxes of a preset, which all its runs share, have one line.
        totals: of that kind.
        milliseconds: of a photo, without the refiner for boxes.
    """

    result: RunFigures
    kind: str
    totals: dict[str, float | None]
    milliseconds: float


def run_lines(results: Sequence[RunFigures]) -> list[RunLine]:
    """Return the lines of the table of runs."""
    lines = []
    presets = set()
    for result in results:
        times = result.run.milliseconds()
        for kind, figures in result.kinds.items():
            if kind != BOX or result.run.preset not in presets:
                time = times['detect'] if kind == BOX else times['photo']
                lines.append(RunLine(result, kind, figures.totals, time))
        presets.add(result.run.preset)
    return lines


def run_table(results: Sequence[RunFigures], operating_score: float) -> str:
    """Return a row for each run and kind.

    Args:
        results: of all runs.
        operating_score: of precision and recall.

    """
    heads = ['preset', 'refiner', 'kind', *COLUMNS.values()]
    heads += [f'precision@{operating_score:g}', f'recall@{operating_score:g}', 'ms/photo']
    rows = []
    for line in run_lines(results):
        refiner = '' if line.kind == BOX else line.result.run.refiner
        row = [line.result.run.preset, refiner, line.kind]
        row += [cell(line.totals[name]) for name in COLUMNS]
        row += (
            [cell(line.result.precision), cell(line.result.recall)]
            if line.kind == BOX
            else ['', '']
        )
        rows.append([*row, f'{line.milliseconds:.0f}'])
    return _aligned(heads, rows, text_columns=3)


def class_table(results: Sequence[RunFigures], names: dict[int, str]) -> str:
    """Return a row for each class, with the AP of each kind and run, most objects first."""
    return _aligned(*class_rows(results, names), text_columns=1)


def class_rows(
    results: Sequence[RunFigures], names: dict[int, str]
) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of class_table."""
    shown: dict[str, tuple[RunFigures, str]] = {}
    for result in results:
        for kind in result.kinds:
            # The boxes of a preset are the same whatever the refiner.
            refiner = '' if kind == BOX else f' {result.run.refiner}'
            shown.setdefault(f'{kind} {result.run.preset}{refiner}', (result, kind))
    boxes = results[0].kinds[BOX].classes
    rows = []
    for class_id in sorted(boxes, key=lambda class_id: -boxes[class_id].objects):
        row = [names[class_id], str(boxes[class_id].objects)]
        for result, kind in shown.values():
            figures = result.kinds[kind].classes.get(class_id)
            row.append(cell(None if figures is None else figures.ap))
        rows.append(row)
    return ['class', 'objects', *shown], rows


def _aligned(heads: list[str], rows: list[list[str]], text_columns: int) -> str:
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    return '\n'.join(
        '  '.join(
            f'{text:{width}}' if i < text_columns else f'{text:>{width}}'
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return all figures, for json.dumps."""
    return {
        'model': evaluation.model,
        'annotations': str(evaluation.dataset.path),
        'operating_score': evaluation.operating_score,
        'remarks': evaluation.remarks(),
        'runs': _runs(evaluation.results, evaluation.names),
    }


def _runs(results: Sequence[RunFigures], names: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            'preset': result.run.preset,
            'refiner': result.run.refiner,
            'engine': result.run.engine,
            'photos': len(result.run.found),
            'milliseconds': result.run.milliseconds(),
            'precision': result.precision,
            'recall': result.recall,
            **{
                kind: figures.totals
                | {
                    'classes': {
                        names[class_id]: {'objects': own.objects, 'AP': own.ap, 'AP50': own.ap50}
                        for class_id, own in figures.classes.items()
                    }
                }
                for kind, figures in result.kinds.items()
            },
        }
        for result in results
    ]
