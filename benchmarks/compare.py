# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Compare two results.json by ratios; exit code 1 where something became slower.

Within a run every time is divided by that of the naive script beside it, so that runs on machines
of different speed can be compared. A figure counts as slower where the ranges between its quartiles
lie apart, too.

    python benchmarks/compare.py before/results.json after/results.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

_KEY = ('contender', 'width', 'height', 'threads')


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('before', type=Path)
    parser.add_argument('after', type=Path)
    parser.add_argument(
        '--tolerance',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='a slow-down that is accepted (%(default)s)',
    )
    arguments = parser.parse_args()
    try:
        before, after = _read(arguments.before), _read(arguments.after)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    common = [key for key in before if key in after]
    if not common:
        print('error: the two files have no measurement in common', file=sys.stderr)
        return 2
    slower = 0
    for key in common:
        ratio = after[key]['median'] / before[key]['median']
        worse = ratio < 1 - arguments.tolerance and after[key]['high'] < before[key]['low']
        slower += worse
        name, width, height, threads = key
        print(
            f'{width:5}x{height:<5} {threads} threads  {name:28} {ratio:5.2f} x as fast as before'
            f'{"  SLOWER" if worse else ""}'
        )
    print(f'{slower} of {len(common)} became slower')
    return 1 if slower else 0


def _read(path: Path) -> dict[tuple[Any, ...], dict[str, float]]:
    try:
        records = json.loads(path.read_text())['library']
    except (ValueError, KeyError, TypeError):
        raise ValueError(f'{path}: is not a results.json of benchmarks/run.py') from None
    return {tuple(record[name] for name in _KEY): record['times_as_fast'] for record in records}


if __name__ == '__main__':
    sys.exit(main())
