# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Losses over the time of a run."""

from __future__ import annotations

import csv
from pathlib import Path


class Curve:
    """Losses over time as CSV, averaged over 50 steps a line."""

    def __init__(self, path: Path, every: int = 50) -> None:
        self.path, self.every = path, every
        self.rows: list[dict[str, float]] = []
        self.pending: list[dict[str, float]] = []

    def add(
        self, step: int, elapsed: float, learning_rate: float, losses: dict[str, float]
    ) -> None:
        self.pending.append(losses)
        if step % self.every == 0:
            means = {k: sum(x[k] for x in self.pending) / len(self.pending) for k in losses}
            self.rows.append(
                {'step': step, 'minutes': elapsed / 60, 'learning_rate': learning_rate} | means
            )
            self.pending.clear()

    def flush(self) -> None:
        if not self.rows:
            return
        new = not self.path.exists()
        with self.path.open('a', newline='') as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            if new:
                writer.writeheader()
            writer.writerows({k: f'{v:.6g}' for k, v in row.items()} for row in self.rows)
        self.rows.clear()
