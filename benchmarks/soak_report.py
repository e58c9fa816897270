# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What soak.py has seen: figures with their bounds, and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_GROWTH = 0.01  # of memory, after the warm-up
MOST_AGE = 2.0  # inference times
MOST_SERVICE_MS = 50.0
SHARE = 99.0  # per cent of samples and answers that must keep to a bound
SMOOTH = 5  # samples that plotted rates are taken over
PART = 0.2  # of the samples after the warm-up, at their beginning and end, that are compared


@dataclass(frozen=True)
class Sample:
    """A second of the run; rates and means are the node's, over ten seconds.

    Attributes:
        time: seconds since the start.
        memory_mb: resident memory of the node.
        cpu_seconds: of the node so far.
        age_ms: of the frames when they were published, mean; of the camera where it is largest.
        worst_age_ms: the largest of the last ten seconds.
        inference_ms: detect, masks and refine together, mean.
        received, processed, dropped, failed, incomplete: frames so far, of all cameras; those that
            are incomplete are processed, too.
        sent: images that the cameras have sent so far.
    """

    time: float
    memory_mb: float
    cpu_seconds: float
    age_ms: float
    worst_age_ms: float
    inference_ms: float
    received: int
    processed: int
    dropped: int
    failed: int
    incomplete: int
    sent: int

    @classmethod
    def of(
        cls,
        now: float,
        memory: float,
        cpu: float,
        cameras: Sequence[Mapping[str, str]],
        sent: Mapping[str, int],
    ) -> Sample:
        """Take the diagnostics of all cameras."""

        def total(*keys: str) -> int:
            return sum(int(each[f'frames_{key}']) for each in cameras for key in keys)

        def largest(key: str) -> float:
            return max((float(each[key] or 'nan') for each in cameras), default=float('nan'))

        inference = [
            sum(float(each[f'{stage}_ms'] or 0) for stage in ('detect', 'masks', 'refine'))
            for each in cameras
        ]
        return cls(
            now,
            memory,
            cpu,
            largest('age_mean_ms'),
            largest('age_max_ms'),
            max(inference, default=float('nan')),
            total('received'),
            total('processed'),
            total('dropped'),
            total('malformed', 'failed'),
            total('incomplete'),
            sum(sent.values()),
        )


@dataclass(frozen=True)
class Row:
    """A line of the table; bound None where there is none."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the bound is kept; a figure that is missing keeps none."""
        return self.bound is None or bool(self.value <= self.bound)

    def __str__(self) -> str:
        """Return the line."""
        bound = '' if self.bound is None else f'at most {self.bound:g} {self.unit}'
        verdict = '' if self.bound is None else ('kept' if self.kept else 'EXCEEDED')
        return f'{self.name:52}{self.value:12.2f} {self.unit:12}{bound:22}{verdict}'


def report(watch: Any, options: Mapping[str, Any], folder: Path) -> int:
    """Print the table and write table, samples and plots; return the exit code."""
    rows = table(watch, float(options['warm_up']))
    text = '\n'.join(str(row) for row in rows)
    print(text, flush=True)
    (folder / 'soak.txt').write_text(text + '\n', 'utf-8')
    content = {
        'options': {key: str(value) for key, value in options.items()},
        'rows': [asdict(row) for row in rows],
        'samples': [asdict(sample) for sample in watch.samples],
        'services': watch.service_ms,
    }
    (folder / 'soak.json').write_text(json.dumps(content), 'utf-8')
    plot(watch, float(options['warm_up']), folder / 'soak.png')
    print(f'{folder / "soak.png"}')
    return 0 if all(row.kept for row in rows) else 1


def table(watch: Any, warm_up: float) -> list[Row]:
    """Return the figures after the warm-up."""
    samples = [sample for sample in watch.samples if sample.time > warm_up]
    if len(samples) < 5:
        raise SystemExit('the run was too short: expected five seconds after the warm-up')
    first, last = samples[0], samples[-1]
    seconds = last.time - first.time
    ages = np.array([sample.age_ms / sample.inference_ms for sample in samples])
    worst = max(sample.worst_age_ms / sample.inference_ms for sample in samples)
    answers = [(ms, done) for time, _, ms, done in watch.service_ms if time > warm_up]
    times = np.array([ms for ms, _ in answers] or [float('nan')])
    lost = sum(not done for _, done in answers)
    # Those before the first subscriber are received, and nothing more.
    in_hand = _pending(last) - _pending(first)
    return [
        Row('time after the warm-up', seconds, 's'),
        Row('images sent', (last.sent - first.sent) / seconds, 'Hz'),
        Row('images received by the node', (last.received - first.received) / seconds, 'Hz'),
        Row('images segmented', (last.processed - first.processed) / seconds, 'Hz'),
        Row('images replaced by newer ones', (last.dropped - first.dropped) / seconds, 'Hz'),
        Row('frames that failed', last.failed - first.failed, 'frames', 0),
        # Depth images may be lost: cameras send them best effort.
        Row('frames without depth', last.incomplete - first.incomplete, 'frames'),
        Row('images that wait, more than after the warm-up', in_hand, 'images', 6),
        Row('results whose stamp is not newer than the last', watch.out_of_order, 'frames', 0),
        Row('inference', float(np.median([s.inference_ms for s in samples])), 'ms'),
        Row('age of published frames, mean of 10 s, median', float(np.median(ages)), 'inferences'),
        Row(f'the same, {SHARE:g} % of all', _share(ages), 'inferences', MOST_AGE),
        Row('age of the oldest frame that was published', worst, 'inferences'),
        Row('services: median', float(np.median(times)), 'ms'),
        Row(f'services: {SHARE:g} % of {len(answers)} calls', _share(times), 'ms', MOST_SERVICE_MS),
        Row('services: the slowest', float(times.max()), 'ms'),
        Row('services: calls without an answer', lost, 'calls', 0),
        Row('memory of the node', float(np.median([s.memory_mb for s in samples])), 'MB'),
        Row('growth of memory', 100 * growth(samples), '%', 100 * MOST_GROWTH),
        Row(
            'processor time of the node', (last.cpu_seconds - first.cpu_seconds) / seconds, 'cores'
        ),
    ]


def _pending(sample: Sample) -> int:
    return sample.received - sample.processed - sample.dropped - sample.failed


def _share(values: NDArray[Any]) -> float:
    return float(np.percentile(values, SHARE))


def growth(samples: Sequence[Sample]) -> float:
    """Return by how much the memory at the end is above that at the beginning."""
    memory = np.array([sample.memory_mb for sample in samples])
    part = max(1, round(PART * len(memory)))
    before = np.median(memory[:part])
    return float((np.median(memory[-part:]) - before) / before)


def plot(watch: Any, warm_up: float, path: Path) -> None:
    """Draw memory, ages, services and rates over the time."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    samples = watch.samples
    minutes = np.array([sample.time for sample in samples]) / 60
    figure, axes = pyplot.subplots(4, 1, figsize=(9, 11), sharex=True, layout='constrained')
    memory, age, services, rates = axes
    memory.plot(minutes, [sample.memory_mb for sample in samples])
    memory.set_ylabel('resident memory, MB')
    age.plot(minutes, [s.age_ms for s in samples], label='age when published, mean of 10 s')
    age.plot(minutes, [s.worst_age_ms for s in samples], lw=0.7, label='the oldest of 10 s')
    bound = [MOST_AGE * s.inference_ms for s in samples]
    age.plot(minutes, bound, 'k--', lw=0.8, label='two inference times')
    age.set_ylabel('ms')
    age.set_ylim(bottom=0)
    age.legend(loc='lower right', fontsize='small')
    for name in sorted({service for _, service, _, _ in watch.service_ms}):
        found = [(t / 60, ms) for t, service, ms, _ in watch.service_ms if service == name]
        services.plot(*zip(*found, strict=True), '.', ms=2, label=name)
    services.axhline(MOST_SERVICE_MS, color='k', ls='--', lw=0.8)
    services.set_yscale('log')
    services.set_ylabel('answers of services, ms')
    services.legend(loc='upper right', fontsize='small', ncols=5)
    for name in ('sent', 'received', 'processed'):
        counts = np.array([getattr(sample, name) for sample in samples], float)
        times = np.array([sample.time for sample in samples])
        # Over some seconds: the cameras report once a second, too.
        taken = counts[SMOOTH:] - counts[:-SMOOTH]
        rates.plot(minutes[SMOOTH:], taken / (times[SMOOTH:] - times[:-SMOOTH]), lw=0.8, label=name)
    rates.set_ylabel('images a second')
    rates.set_ylim(bottom=0)
    rates.legend(loc='upper right', fontsize='small')
    rates.set_xlabel('minutes')
    for axis in axes:
        axis.axvspan(0, warm_up / 60, color='0.93')
        axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=110)


__all__ = ['Sample', 'growth', 'report']
