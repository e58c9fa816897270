# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Writes docs/images/performance.png from the tables of docs/performance.md, for its first lines.

    python tools/performance_picture.py

Needs matplotlib. Run it again after the tables have changed.
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

DOCS = Path(__file__).resolve().parents[1] / 'docs'
SIZE = '640x480'
# Row of the table, what the picture calls it, and its colour: ours, or the script's.
ROWS = (
    ('naive script', 'the usual script, full-size model', '#999999'),
    ('refiner gan, 10', 'full-size model, refined masks', '#0072b2'),
    ('plain masks, 10', 'full-size model', '#0072b2'),
    ('plain masks, balanced', 'full-size model, balanced', '#0072b2'),
    ('plain masks, fast', 'full-size model, fast', '#0072b2'),
    ('person_mask_rcnn, exact', 'shipped person model', '#d55e00'),
)


def main() -> None:
    text = (DOCS / 'performance.md').read_text('utf-8')
    figure, plots = plt.subplots(1, 2, sharey=True, sharex=True, figsize=(10, 3))
    for plot, threads in zip(plots, ('1 thread', '2 threads'), strict=True):
        values = [milliseconds(text, threads, row) for row, _, _ in ROWS]
        bars = plot.barh(
            [name for _, name, _ in ROWS], values, color=[colour for _, _, colour in ROWS]
        )
        plot.bar_label(bars, [f'{value} ms' for value in values], padding=3)
        plot.set_title(f'{SIZE}, {threads}')
        plot.set_xlabel('milliseconds an image')
        plot.spines[['top', 'right']].set_visible(False)
        plot.margins(x=0.15)
    plots[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(DOCS / 'images' / 'performance.png', dpi=110)


def milliseconds(text: str, threads: str, row: str) -> int:
    """Return the median in a row of the library's table for a number of threads."""
    table = text.split(f'### {threads}\n')[1].split('\n#')[0]
    lines = [line.strip('|').split('|') for line in table.splitlines() if line.startswith('|')]
    column = [cell.strip() for cell in lines[0]].index(SIZE)
    (cells,) = (line for line in lines if line[0].strip() == row)
    found = re.match(r'(\d+) ms', cells[column].strip())
    if found is None:
        raise ValueError(f'{row}, {threads}: expected milliseconds, found {cells[column]!r}')
    return int(found[1])


if __name__ == '__main__':
    main()
