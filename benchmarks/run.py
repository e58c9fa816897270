# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Measure the library and the node; `make bench` calls it. See docs/performance.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import report
import this_machine
from engines import measure_engine_starts, measure_engines
from library import measure_library, same_detections
from startup import measure_startup

PARTS = ['startup', 'library', 'engines', 'stages', 'node', 'growth']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('benchmark_output'),
        metavar='FOLDER',
        help='where results.json, the report and its plots go (%(default)s)',
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=_size,
        metavar='WxH',
        default=[(640, 480), (800, 600), (1280, 720), (1920, 1080)],
    )
    parser.add_argument(
        '--counts',
        nargs='+',
        type=int,
        default=[1, 5, 10, 20],
        help='instances that survive (%(default)s)',
    )
    parser.add_argument('--threads', nargs='+', type=int, default=[1, 2, 4], help='(%(default)s)')
    parser.add_argument(
        '--node-sizes', nargs='+', type=_size, metavar='WxH', default=[(640, 480), (1280, 720)]
    )
    parser.add_argument(
        '--rate',
        type=float,
        default=30.0,
        metavar='HZ',
        help='of the images sent to the node (%(default)s)',
    )
    parser.add_argument(
        '--seconds', type=float, default=30.0, help='that images are sent to the node (%(default)s)'
    )
    parser.add_argument(
        '--growth-frames',
        type=int,
        default=10_000,
        metavar='FRAMES',
        help='sent to see whether the memory of the node grows (%(default)s)',
    )
    parser.add_argument('--repeats', type=int, default=5, help='of everything (%(default)s)')
    parser.add_argument(
        '--document',
        type=Path,
        metavar='FILE',
        help='also put the report where this document has its marks',
    )
    arguments = parser.parse_args()
    results: dict[str, Any] = {'machine': this_machine.describe(), 'repeats': arguments.repeats}
    try:
        _measure(arguments, results)
    finally:  # what was measured before an error or Ctrl-C took its time, too
        _write(arguments, results)


def _measure(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    if 'startup' in arguments.parts:
        results['startup'] = measure_startup(arguments.repeats)
        for record in results['startup']:
            print(report.startup_line(record), flush=True)
    if 'library' in arguments.parts:
        results.update({'same_detections': same_detections(), 'library': []})
        for record in measure_library(
            arguments.sizes, arguments.counts, arguments.threads, arguments.repeats
        ):
            results['library'].append(record)
            print(report.library_line(record), flush=True)
    if 'engines' in arguments.parts:
        results.update({'engine_starts': measure_engine_starts(arguments.repeats), 'engines': []})
        for record in results['engine_starts']:
            print(report.engine_start_line(record), flush=True)
        for record in measure_engines(arguments.sizes, arguments.threads, arguments.repeats):
            results['engines'].append(record)
            print(report.engine_line(record), flush=True)
    if 'stages' in arguments.parts:
        from stages import measure_stages  # needs ROS's messages

        cv2.setNumThreads(1)
        results['stages'] = [
            measure_stages(width, height, 10, arguments.repeats)
            for width, height in arguments.node_sizes
        ]
        for record in results['stages']:
            print(report.stages_line(record), flush=True)
    if 'node' in arguments.parts:
        from node import measure_node  # needs ROS

        cv2.setNumThreads(-1)  # as the node's process has it
        results['node'] = []
        for record in measure_node(
            arguments.node_sizes, arguments.rate, arguments.seconds, arguments.repeats
        ):
            results['node'].append(record)
            print(report.node_line(record), flush=True)
    if 'growth' in arguments.parts:
        from node import measure_growth  # needs ROS

        results['growth'] = measure_growth(arguments.growth_frames)
        print(report.growth_line(results['growth']), flush=True)


def _write(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    report.write(results, arguments.output)
    if arguments.document is not None:
        report.write_into(arguments.document, results)
    print(f'written to {arguments.output}')


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    return int(width), int(height)


if __name__ == '__main__':
    main()
