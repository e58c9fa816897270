# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Fuzzes the package: messages, parameters and requests by hypothesis, files in children.

    make fuzz                       100,000 messages and 20,000 files, an hour or more
    make fuzz COUNT=2000 MINUTES=5  whichever comes first

Each round is a process with a seed of its own, so that a crash ends one round only and memory is
that of a round. Whatever fails is printed with the command that shows it again; exit code 1. What
becomes of a file that was named is shown by

    tools/run python test/helpers/fuzz_files.py KIND NUMBER --keep FILE
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from fuzz_children import Report, read_files

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = ('test/library/test_fuzz.py', 'test/ros/test_fuzz.py')
A_ROUND = 1000  # of FUZZ_EXAMPLES; messages get ten times as many: see tried() in the tests
MESSAGES_OF_AN_EXAMPLE = 10
LONGEST_ROUND = 1800.0  # seconds
MOST_MEMORY = 2.0e9  # bytes of a round
FILES_AT_ONCE = 500


def fuzz_messages(count: int, seed: int, deadline: float) -> tuple[int, list[str]]:
    """Run rounds of hypothesis; return how many messages were tried, and what failed."""
    done, failures = 0, []
    while done < count and time.monotonic() < deadline:
        examples = min(A_ROUND, -(-(count - done) // MESSAGES_OF_AN_EXAMPLE))
        problem = _round(examples, seed)
        if problem:
            failures.append(problem)
            print(problem, flush=True)
        done += examples * MESSAGES_OF_AN_EXAMPLE
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f'{done} messages, seed {seed}; largest process {peak / 1e6:.0f} MB', flush=True)
        if peak > MOST_MEMORY:
            failures.append(f'a round took {peak / 1e6:.0f} MB')
        seed += 1
    return done, failures


def _round(examples: int, seed: int) -> str:
    """Return what went wrong, '' if nothing did."""
    command = ['pytest', '-q', '-x', '-p', 'no:cacheprovider', f'--hypothesis-seed={seed}', *TESTS]
    variables = {'FUZZ_EXAMPLES': str(examples), 'FUZZ_SEED': str(seed)}
    again = ' '.join(f'{key}={value}' for key, value in variables.items())
    again = f'{again} tools/run {" ".join(command)}'
    try:
        done = subprocess.run(
            command,  # python -m would put the sources before the built package
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=LONGEST_ROUND,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f'hangs: {again}'
    if done.returncode == 0:
        return ''
    return f'exit code {done.returncode}: {again}\n{done.stdout[-4000:]}{done.stderr[-1000:]}'


def fuzz_files(count: int, seed: int, deadline: float) -> tuple[int, list[str]]:
    """Read damaged files in children; return how many were read, and what was found."""
    total = Report()
    while sum(total.counts.values()) < count and time.monotonic() < deadline:
        left = count - sum(total.counts.values())
        seconds = deadline - time.monotonic()
        report = read_files(min(FILES_AT_ONCE, left), seed, seconds)
        for finding in report.findings:
            print(finding, flush=True)
        total.merge(report)
        seed += 1
    print(total.table(), flush=True)
    return sum(total.counts.values()), total.findings


def main() -> int:
    """Run both until there were enough, or the time is up."""
    parser = argparse.ArgumentParser(description='fuzz messages and files')
    parser.add_argument('--messages', type=int, default=100_000)
    parser.add_argument('--files', type=int, default=20_000)
    parser.add_argument('--minutes', type=float, default=float('inf'), help='of each of both')
    parser.add_argument('--seed', type=int, default=round(time.time()), help='of the first round')
    arguments = parser.parse_args()
    print(f'seed {arguments.seed}', flush=True)
    seconds = 60 * arguments.minutes
    files, found = fuzz_files(arguments.files, arguments.seed, time.monotonic() + seconds)
    messages, failed = fuzz_messages(arguments.messages, arguments.seed, time.monotonic() + seconds)
    print(f'{files} files: {len(found)} findings; {messages} messages: {len(failed)} findings')
    return 1 if found or failed else 0


if __name__ == '__main__':
    sys.exit(main())
