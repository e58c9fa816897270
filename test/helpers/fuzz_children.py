# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Reads damaged files, each in a child of its own, with limits: a fork of a process that is warm.

As a program it answers lines of JSON: {"kind": ..., "number": ...} in, what became of it out.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_files import KINDS, outcome_of, write_case

LONGEST = 150.0  # seconds until a child counts as hanging; a trial may take 90
MOST_CPU = 20  # seconds of a child, the trial's own process left out
MOST_MEMORY = 3 << 30  # bytes beyond those of the warm process
TRIED = ('model', 'graph of a model', 'refiner')  # they start a process, and take a second


@dataclass
class Report:
    """What became of many files.

    Attributes:
        counts: by kind and outcome.
        findings: a line each.
        slowest: processor seconds of a child, and which it was.
        largest: bytes of a child's memory, and which it was.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, '')
    largest: tuple[int, str] = (0, '')

    def add(self, kind: str, number: int, answer: dict[str, object]) -> None:
        """Count a case, and keep it if it is a finding."""
        name = f'{kind} {number}'
        outcome, text = str(answer['outcome']), str(answer['text'])
        self.counts[kind, outcome] += 1
        if outcome not in ('read', 'refused') or text:
            self.findings.append(f'{name}: {outcome}: {text}')
        self.slowest = max(self.slowest, (float(str(answer['cpu'])), name))
        self.largest = max(self.largest, (int(str(answer['memory'])), name))

    def merge(self, other: Report) -> None:
        """Add what became of other files."""
        self.counts += other.counts
        self.findings += other.findings
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)

    def table(self) -> str:
        """Return the counts, a line for each kind."""
        outcomes = sorted({outcome for _, outcome in self.counts})
        lines = ['kind              ' + ''.join(f'{outcome:>12}' for outcome in outcomes)]
        for kind in KINDS:
            cells = ''.join(f'{self.counts[kind, outcome]:12}' for outcome in outcomes)
            lines.append(f'{kind:18}{cells}')
        lines.append(f'most processor time {self.slowest[0]:.1f} s: {self.slowest[1]}')
        lines.append(f'most memory {self.largest[0] / 1e6:.0f} MB: {self.largest[1]}')
        return '\n'.join(lines)


def read_files(
    count: int, seed: int = 0, seconds: float = float('inf'), kinds: tuple[str, ...] = tuple(KINDS)
) -> Report:
    """Read files of all kinds, each in a child, until there were enough or the time is up."""
    deadline = time.monotonic() + seconds
    report = Report()
    with _server() as server:
        for kind, number in _cases(count, seed, kinds):
            if time.monotonic() > deadline:
                break
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(json.dumps({'kind': kind, 'number': number}) + '\n')
            server.stdin.flush()
            report.add(kind, number, json.loads(server.stdout.readline()))
        server.stdin.close()
    return report


def _cases(count: int, seed: int, kinds: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    choose = random.Random(seed)
    shares = [KINDS[kind].share for kind in kinds]
    for _ in range(count):
        yield choose.choices(kinds, shares)[0], choose.randrange(1 << 31)


def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'},
    )


# ---- the warm process
def serve() -> None:
    """Answer lines until there are no more."""
    import cv2

    cv2.setNumThreads(1)  # a fork has no threads of OpenCV
    _import_readers()
    folder = Path(tempfile.mkdtemp())
    # What passes a trial is remembered there, and not among the user's files.
    os.environ['XDG_CACHE_HOME'] = str(folder / 'cache')
    answers = os.fdopen(os.dup(1), 'w')
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(_child(case['kind'], case['number'], folder)), file=answers, flush=True)
    shutil.rmtree(folder)


def _import_readers() -> None:
    """Import what every child needs."""
    import instance_seg_ros.detection.onnx_convert
    import instance_seg_ros.refinement.loader
    import instance_seg_ros.segmenter  # noqa: F401

    try:
        import instance_seg_ros.bags.reader  # noqa: F401
    except ImportError:
        pass


def _child(kind: str, number: int, folder: Path) -> dict[str, object]:
    place = Path(tempfile.mkdtemp(dir=folder, prefix='case'))
    path = write_case(kind, number, place)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        _limit()
        try:
            os.write(write, json.dumps(outcome_of(kind, path)).encode())
        finally:
            os._exit(0)
    os.close(write)
    ended = bool(select.select([read], [], [], LONGEST)[0])
    answer = os.read(read, 65536) if ended else b''
    os.close(read)
    if not ended:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    shutil.rmtree(place, ignore_errors=True)
    cost = {'cpu': usage.ru_utime + usage.ru_stime, 'memory': usage.ru_maxrss * 1024}
    if not ended:
        return {'outcome': 'hangs', 'text': f'more than {LONGEST:g} s', **cost}
    if not answer:
        how = os.waitstatus_to_exitcode(status)
        name = signal.Signals(-how).name if how < 0 else f'exit code {how}'
        return {'outcome': 'ended', 'text': f'the process was ended by {name}', **cost}
    return {**json.loads(answer), **cost}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU, MOST_CPU))
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == '__main__':
    serve()
