# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a user sees of a run: a bar in a terminal, else lines of the log; and the log as a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from training.run.lock import locked_folder

LOG = logging.getLogger('training.run')

LOG_FILE = 'run.log'
_FIRST_STEPS = 1, 10, 30
_LINE_SECONDS, _BAR_SECONDS = 15, 2
_PARTS = 1000


class Report:
    """Shows how far a run is, how fast and with what losses.

    Args:
        samples: what a batch has.
        batch_size: samples of a step.
        shown: whether a bar may be shown.
        progress: share of the run that is done.
    """

    def __init__(self, samples: str, batch_size: int, shown: bool, progress: float) -> None:
        self._samples, self._batch_size = samples, batch_size
        self._bar = tqdm(
            total=_PARTS,
            initial=int(_PARTS * progress),
            disable=None if shown else True,  # None: where there is no terminal
            mininterval=_BAR_SECONDS,
            bar_format='{l_bar}{bar}| {elapsed}<{remaining} {postfix}',
        )
        self._steps = 0
        self._since, self._due = time.monotonic(), 0.0

    def step(self, step: int, progress: float, losses: Mapping[str, Tensor]) -> bool:
        """Show a step, if it is time to; return whether it was shown."""
        self._steps += 1
        now = time.monotonic()
        if now < self._due and (step not in _FIRST_STEPS or not self._bar.disable):
            return False
        speed = self._steps * self._batch_size / max(now - self._since, 1e-6)
        values = {name: float(value) for name, value in losses.items()}
        if self._bar.disable:
            words = ' '.join(f'{name} {value:.3f}' for name, value in values.items())
            LOG.info(
                'step %d, %.3f done, %.3g %s/s, %s', step, progress, speed, self._samples, words
            )
            self._steps, self._since = 0, now
            self._due = now + _LINE_SECONDS
        else:
            self._bar.n = int(_PARTS * min(progress, 1.0))
            self._bar.set_postfix_str(
                f'{speed:.1f} {self._samples}/s, loss {sum(values.values()):.2f}'
            )
            self._due = now + _BAR_SECONDS
        return True

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


class _LogFile(logging.FileHandler):
    """A log that a full disk does not stop: the training goes on, its errors stay to be seen."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say once in one line that the file cannot be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            print(
                f'WARNING cannot write {self.baseFilename}: {error.strerror}. The training goes on '
                'with an incomplete log; free some space',
                file=sys.stderr,
            )

    def close(self) -> None:
        """Close the file, whether or not what is left can be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Write what the trainer logs to a file in a folder, too, after what is there.

    No other training can use the folder meanwhile.

    Raises:
        TrainingError: another one uses it.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        handler = _LogFile(folder / LOG_FILE)
        handler.setFormatter(logging.Formatter('%(asctime)s %(message)s'))
        logger = logging.getLogger('training')
        level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()
