# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Losses over the time of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.graph.tensorflow_files import write_atomically

Losses = Mapping[str, Tensor]


class Curve:
    """Losses over time as CSV, averaged over 50 steps a line.

    Losses stay on their device until a line is full, so that a GPU need not wait at every step.
    """

    def __init__(self, path: Path, every: int = 50) -> None:
        self.path, self.every = path, every
        self._rows: list[dict[str, float]] = []
        self._pending: list[Losses] = []

    def add(self, step: int, elapsed: float, learning_rate: float, losses: Losses) -> None:
        """Take in the losses of a step."""
        self._pending.append(losses)
        if step % self.every == 0:
            values = self.pending()
            means = {k: sum(x[k] for x in values) / len(values) for k in values[0]}
            self._rows.append(
                {'step': step, 'minutes': elapsed / 60, 'learning_rate': learning_rate} | means
            )
            self._pending.clear()

    def pending(self) -> list[dict[str, float]]:
        """Return the losses of the steps that are not in a line yet."""
        return [
            dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
            for losses in self._pending
        ]

    def flush(self) -> None:
        """Write the lines that are not in the file yet.

        Raises:
            OSError: the file cannot be written; the message names it.
        """
        if not self._rows:
            return
        new = not self.path.exists()
        try:
            with self.path.open('a', newline='') as file:
                self._write(file, self._rows, header=new)
        except OSError as error:
            raise OSError(
                error.errno,
                f'cannot write {self.path}: {error.strerror}. Free some space; then the same '
                'command goes on from the last checkpoint',
            ) from error
        self._rows.clear()

    def resume(self, step: int, pending: list[dict[str, float]]) -> None:
        """Go on after a step: lines of later ones are dropped, they will be computed again."""
        self._pending = [{k: torch.tensor(v) for k, v in losses.items()} for losses in pending]
        if not self.path.exists():
            return
        with self.path.open(newline='') as file:
            rows = [
                row
                for row in csv.DictReader(file)
                if None not in row.values() and int(row['step']) <= step
            ]
        text = io.StringIO()
        if rows:
            self._write(text, rows, header=True)
            write_atomically(self.path, text.getvalue().encode())
        else:
            self.path.unlink()

    @staticmethod
    def _write(file: Any, rows: Sequence[Mapping[str, Any]], *, header: bool) -> None:
        writer = csv.DictWriter(file, list(rows[0]))
        if header:
            writer.writeheader()
        writer.writerows(
            {k: v if isinstance(v, str) else f'{v:.6g}' for k, v in row.items()} for row in rows
        )
