# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Measured figures as lines, Markdown tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot  # noqa: E402

Record = dict[str, Any]

_BEGIN, _END = '<!-- measured: begin -->', '<!-- measured: end -->'
_GRAY, _COLOURS = '#888888', ('#0072b2', '#d55e00', '#009e73', '#cc79a7')


def library_line(record: Record) -> str:
    """Return one record of the library as a line for a terminal."""
    time, ratio = record['milliseconds'], record['times_as_fast']
    return (
        f'{record["width"]:5}x{record["height"]:<5} {record["threads"]} threads  '
        f'{record["contender"]:28} {record["instances"]:3} instances '
        f'{time["median"]:9.1f} ms  {ratio["median"]:6.2f} x as fast '
        f'({ratio["low"]:.2f}-{ratio["high"]:.2f})'
    )


def engine_line(record: Record) -> str:
    """Return one record of the engines as a line for a terminal."""
    time, ratio = record['milliseconds'], record['times_as_fast']
    return (
        f'{record["width"]:5}x{record["height"]:<5} {record["threads"]} threads  '
        f'{record["model"]:18} {record["engine"]:40} {record["instances"]:3} instances '
        f'{time["median"]:9.1f} ms  {ratio["median"]:6.2f} x as fast '
        f'({ratio["low"]:.2f}-{ratio["high"]:.2f})'
    )


def engine_start_line(record: Record) -> str:
    """Return how an engine starts as a line for a terminal."""
    return (
        f'{record["model"]:18} {record["engine"]:12} loads in {record["first_s"]:.2f} s at first, '
        f'{record["later_s"]:.2f} s then; {record["memory_mb"]:.0f} MB, peak '
        f'{record["peak_mb"]:.0f} MB'
    )


def startup_line(record: Record) -> str:
    """Return how long a new process takes until it segments as a line for a terminal."""
    steps = ', '.join(f'{step} {_seconds(spread)}' for step, spread in record['seconds'].items())
    return f'{record["model"]:18} {steps}'


def node_line(record: Record) -> str:
    """Return one record of the node as a line for a terminal."""
    return (
        f'{record["width"]:5}x{record["height"]:<5} {record["model"]:18} '
        f'{record["mean_frame_rate_hz"]:6.2f} Hz, {record["missed_frames"]} of '
        f'{record["sent_frames"]} missed, added '
        f'{record["added_ms"]["median"]:.1f} ms, peak {record["memory_peak_mb"]:.0f} MB'
    )


def stages_line(record: Record) -> str:
    """Return one record of the stages as a line for a terminal."""
    network, around = (sum(record[part].values()) for part in ('network', 'around'))
    return (
        f'{record["width"]:5}x{record["height"]:<5} network {network:.0f} ms, all around it '
        f'{around:.1f} ms: {around / (network + around):.2%} of the frame'
    )


def growth_line(record: Record) -> str:
    """Return how the node's memory grew as a line."""
    return (
        f'{record["frames"]} frames of changing size, {record["lost_frames"]} lost: '
        f'{record["before_mb"]:.1f} MB, then {record["after_mb"]:.1f} MB, '
        f'{record["growth"]:+.2%}'
    )


def write(results: Record, folder: Path) -> None:
    """Write report.md and its plots."""
    (folder / 'report.md').write_text(_report(results, folder, ''))


def write_into(document: Path, results: Record) -> None:
    """Replace what stands between the two marks of a document; plots go to images/ beside it.

    Raises:
        ValueError: the document lacks the marks.
    """
    before, begin, rest = document.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f'{document}: expected the lines {_BEGIN} and {_END}')
    report = _report(results, document.parent / 'images', 'images/')
    document.write_text(f'{before}{begin}\n\n{report}\n{end}{after}')


def _report(results: Record, images: Path, link: str) -> str:
    parts = ['## Machine', _table(('', ''), results['machine'].items())]
    if results.get('startup'):
        parts += [
            '## Start-up',
            'A new process, 640x480, with the learned refiner.',
            _startup_table(results['startup']),
        ]
    if results.get('library'):
        parts += _library_part(results, images, link)
    if results.get('engines'):
        parts += _engines_part(results)
    if results.get('stages'):
        parts += _stages_part(results['stages'])
    if results.get('node'):
        parts += ['## Node', _node_table(results['node'])]
    if results.get('growth'):
        parts += ['## Memory of the node over many frames', growth_line(results['growth'])]
    return '\n\n'.join(parts) + '\n'


def _library_part(results: Record, images: Path, link: str) -> list[str]:
    records = results['library']
    same = 'are the same bits' if results['same_detections'] else 'DIFFER'
    parts = [
        '## Library',
        f'Medians of {results["repeats"]} interleaved repeats (quartiles in brackets). Boxes, '
        f'scores and mask probabilities of the naive script and of the exact preset {same}.',
    ]
    for threads in sorted({record['threads'] for record in records}):
        chosen = [record for record in records if record['threads'] == threads]
        name = f'library_{threads}_threads.png'
        _plot(chosen, images / name)
        heading = f'### {threads} thread{"s" * (threads > 1)}'
        parts += [heading, f'![]({link}{name})', _tables(chosen)]
    return parts


def _engines_part(results: Record) -> list[str]:
    starts = [
        [
            record['model'],
            record['engine'],
            f'{record["first_s"]:.2f} s',
            f'{record["later_s"]:.2f} s',
            f'{record["memory_mb"]:.0f} MB',
            f'{record["peak_mb"]:.0f} MB',
        ]
        for record in results['engine_starts']
    ]
    records = results['engines']
    sizes = _sizes(records)
    rows: dict[tuple[Any, ...], list[str]] = {}
    for record in records:
        time, ratio = record['milliseconds']['median'], record['times_as_fast']
        key = record['model'], record['threads'], record['engine']
        rows.setdefault(key, []).append(
            f'{time:.0f} ms, {ratio["median"]:.2f}x ({ratio["low"]:.2f}-{ratio["high"]:.2f})'
        )
    return [
        '## Engines',
        'From end to end, 10 instances, no refiner; the engines take turns in one process.',
        _table(
            ['model', 'threads', 'engine', *(f'{width}x{height}' for width, height in sizes)],
            [[*map(str, key), *cells] for key, cells in rows.items()],
        ),
        'A new process, one thread, 800x600: the time to load at first, when onnxruntime has its '
        'parts converted, and then; the memory of model and engine after four images.',
        _table(['model', 'engine', 'first load', 'later', 'memory', 'peak'], starts),
    ]


def _tables(records: Sequence[Record]) -> str:
    sizes = _sizes(records)
    names = list(dict.fromkeys(record['contender'] for record in records))
    cells = {(record['contender'], record['width'], record['height']): record for record in records}
    rows = []
    for name in names:
        row = [name]
        for size in sizes:
            record = cells[(name, *size)]
            ratio = record['times_as_fast']
            row.append(
                f'{record["milliseconds"]["median"]:.0f} ms, {ratio["median"]:.2f}x '
                f'({ratio["low"]:.2f}-{ratio["high"]:.2f})'
            )
        rows.append(row)
    return _table(['', *(f'{width}x{height}' for width, height in sizes)], rows)


def _startup_table(records: Sequence[Record]) -> str:
    rows = [
        [step, *(_seconds(record['seconds'][step]) for record in records)]
        for step in records[0]['seconds']
    ]
    return _table(['', *(record['model'] for record in records)], rows)


def _seconds(spread: Record) -> str:
    return f'{spread["median"]:.2f} s ({spread["low"]:.2f}-{spread["high"]:.2f})'


def _stages_part(records: Sequence[Record]) -> list[str]:
    parts = ['## Where the time of a frame goes', 'With one thread, and everything subscribed to.']
    for record in records:
        total = sum(sum(record[part].values()) for part in ('network', 'around'))
        rows = [
            [name, f'{milliseconds:.2f}', f'{milliseconds / total:.2%}']
            for name, milliseconds in [*record['network'].items(), *record['around'].items()]
        ]
        around = sum(record['around'].values())
        rows.append(['**all that is not the network**', f'{around:.2f}', f'{around / total:.2%}'])
        slowest = ', '.join(
            f'`{name}` {milliseconds:.0f} ms'
            for name, milliseconds in record['slowest_layers'].items()
        )
        parts += [
            f'{record["width"]}x{record["height"]}, {record["instances"]} instances:',
            _table(('stage', 'ms', 'of the frame'), rows),
            f'Slowest layers: {slowest}.',
        ]
    return parts


# In the words of ros2_benchmark.
_NODE_ROWS = {
    'mean frame rate, Hz': ('mean_frame_rate_hz', 2),
    'frames sent': ('sent_frames', 0),
    'missed frames': ('missed_frames', 0),
    'first sent to received latency, ms': ('first_sent_to_received_ms', 1),
    'last sent to received latency, ms': ('last_sent_to_received_ms', 1),
    'mean sent to received latency, ms': ('mean_sent_to_received_ms', 1),
    'max jitter, ms': ('max_jitter_ms', 1),
    'mean jitter, ms': ('mean_jitter_ms', 1),
    'standard deviation of jitter, ms': ('std_jitter_ms', 1),
    'processor, % of a core': ('cpu_percent_of_a_core', 0),
    'memory after the first frame, MB': ('memory_start_mb', 0),
    'memory at the end, MB': ('memory_end_mb', 0),
    'peak memory, MB': ('memory_peak_mb', 0),
}


_OPTION_ROWS = {
    name: _NODE_ROWS[name]
    for name in (
        'mean frame rate, Hz',
        'mean sent to received latency, ms',
        'memory at the end, MB',
        'peak memory, MB',
    )
}


def _node_table(records: Sequence[Record]) -> str:
    rows = [
        [name, *(f'{record[key]:.{digits}f}' for record in records)]
        for name, (key, digits) in _NODE_ROWS.items()
    ]
    rows += [
        [
            f'bytes per message, {topic}',
            *(str(record['bytes_per_message'][topic]) for record in records),
        ]
        for topic in records[0]['bytes_per_message']
    ]
    rows += [
        [
            f'with `{option}`: {name}',
            *(f'{record["options"][option][key]:.{digits}f}' for record in records),
        ]
        for option in records[0]['options']
        for name, (key, digits) in _OPTION_ROWS.items()
    ]
    names = {
        'through_node_ms': 'one at a time: through the node, ms',
        'boxes_through_node_ms': 'of that until the detections are there, ms',
        'segmenter_ms': 'of that in its Segmenter, ms',
        'added_ms': 'added by node and DDS, ms',
        'convert_and_publish_ms': 'of what is added, reading and writing messages, ms',
    }
    rows += [[name, *(_spread(record[key]) for record in records)] for key, name in names.items()]
    return _table(
        [
            '',
            *(
                f'{record["model"]}, {record["width"]}x{record["height"]}, '
                f'{record["input_rate_hz"]:.0f} Hz'
                for record in records
            ),
        ],
        rows,
    )


def _spread(value: Record) -> str:
    return f'{value["median"]:.1f} ({value["low"]:.1f}-{value["high"]:.1f})'


def _plot(records: Sequence[Record], path: Path) -> None:
    """Draw times as fast as the naive script: a group of bars for each size of image."""
    sizes = _sizes(records)
    figure, all_axes = pyplot.subplots(
        1, len(sizes), figsize=(3.4 * len(sizes), 4.6), sharey=True, layout='constrained'
    )
    for axes, size in zip(all_axes if len(sizes) > 1 else [all_axes], sizes, strict=True):
        shown = [record for record in records if (record['width'], record['height']) == size][::-1]
        ratio = [record['times_as_fast'] for record in shown]
        medians = [value['median'] for value in ratio]
        spread = [
            [value['median'] - value['low'] for value in ratio],
            [value['high'] - value['median'] for value in ratio],
        ]
        axes.barh(
            [record['contender'] for record in shown],
            medians,
            xerr=spread,
            color=[_colour(record['contender']) for record in shown],
            ecolor='#333333',
        )
        axes.set_xscale('log')
        axes.set_xticks([1, 2, 4, 8, 16, 32], ['1', '2', '4', '8', '16', '32'])
        axes.minorticks_off()
        axes.grid(axis='x', alpha=0.3)
        axes.set_title(f'{size[0]}x{size[1]}')
        axes.set_xlabel('times as fast as the naive script')
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _colour(contender: str) -> str:
    kinds = ('plain', 'refiner', 'boxes', 'person')
    known = next((i for i, kind in enumerate(kinds) if contender.startswith(kind)), None)
    return _GRAY if known is None else _COLOURS[known]


def _sizes(records: Sequence[Record]) -> list[tuple[int, int]]:
    return list(dict.fromkeys((record['width'], record['height']) for record in records))


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)
