# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The training run, with a task of one weight: what is kept when it ends early."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.run.checkpoint import TrainingError, read_checkpoint
from training.run.curve import Curve
from training.run.loop import Run
from training.run.report import log_file
from training.run.settings import RunOptions, RunSettings
from training.run.task import Task

STEPS = 120


class OneWeight(Task):
    """Learns the number 3 from noisy copies of it; can end early or diverge at a step."""

    name = 'one weight'

    def __init__(self, options: RunOptions, end: tuple[int, int] = (0, 0), nan: int = -1) -> None:
        settings = RunSettings(
            minutes=0,
            steps=STEPS,
            batch_size=1,
            learning_rate=0.1,
            weight_decay=0,
            warmup_steps=5,
            gradient_norm=1,
        )
        super().__init__(settings, options)
        self.weight = torch.nn.Linear(1, 1, bias=False)
        self.networks = {'weight': self.weight}
        self.optimizers = [torch.optim.AdamW(self.weight.parameters())]
        self.end, self.nan = end, nan

    def batches(self, run: Run) -> Iterator[tuple[int, torch.Tensor]]:
        for step in range(run.step, STEPS):
            noise = torch.randn((), generator=torch.Generator().manual_seed(step))
            yield step, torch.full((1, 1), float('nan') if step == self.nan else 3 + 0.1 * noise)

    def losses(self, run: Run, step: int, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {'error': (self.weight(torch.ones(1, 1)) - batch).square().mean()}

    def after_step(self, run: Run) -> None:
        if run.step == self.end[0]:
            os.kill(os.getpid(), self.end[1])

    def finish(self, run: Run) -> None:
        (run.options.folder / 'result').write_text(str(run.average.state['weight'].item()))


def curve(folder: Path) -> list[tuple[str, ...]]:
    """The lines of a curve without the time."""
    with (folder / 'curve.csv').open() as file:
        return [tuple(v for k, v in row.items() if k != 'minutes') for row in csv.DictReader(file)]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_a_signal_ended_goes_on_as_if_nothing_had_been(
    tmp_path: Path, number: int
) -> None:
    whole, parts = RunOptions(tmp_path / 'whole'), RunOptions(tmp_path / 'parts')
    Run(OneWeight(whole), whole).run()
    assert 2 < float((whole.folder / 'result').read_text()) < 4
    with pytest.raises(KeyboardInterrupt):
        Run(OneWeight(parts, end=(70, number)), parts).run()
    assert not (parts.folder / 'result').exists()
    Run(OneWeight(parts), parts).run()
    assert (parts.folder / 'result').read_text() == (whole.folder / 'result').read_text()
    assert curve(parts.folder) == curve(whole.folder) and len(curve(whole.folder)) == 2


class Interrupted(torch.optim.AdamW):
    """Is interrupted twice when its weights have changed, and their average has not yet."""

    def step(self, *arguments: object) -> None:
        super().step(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_half_a_step_is_not_saved(tmp_path: Path) -> None:
    whole, parts = RunOptions(tmp_path / 'whole'), RunOptions(tmp_path / 'parts')
    Run(OneWeight(whole), whole).run()
    with pytest.raises(KeyboardInterrupt):
        Run(OneWeight(parts, end=(30, signal.SIGINT)), parts).run()
    task = OneWeight(parts)
    task.optimizers = [Interrupted(task.weight.parameters())]
    with pytest.raises(KeyboardInterrupt):
        Run(task, parts).run()
    assert read_checkpoint(parts.folder, 'weight', 'one weight')['step'] == 30
    Run(OneWeight(parts), parts).run()
    assert (parts.folder / 'result').read_text() == (whole.folder / 'result').read_text()


class WithoutWorkers(OneWeight):
    """Loses its workers by a signal to all processes."""

    def batches(self, run: Run) -> Iterator[tuple[int, torch.Tensor]]:
        for step, batch in super().batches(run):
            if step == 70:
                os.kill(os.getpid(), signal.SIGTERM)
                raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Terminated.')
            yield step, batch


def test_a_signal_that_ends_the_workers_too_is_an_interrupt(tmp_path: Path) -> None:
    whole, parts = RunOptions(tmp_path / 'whole'), RunOptions(tmp_path / 'parts')
    Run(OneWeight(whole), whole).run()
    with pytest.raises(KeyboardInterrupt):
        Run(WithoutWorkers(parts), parts).run()
    assert read_checkpoint(parts.folder, 'weight', 'one weight')['step'] == 70
    Run(OneWeight(parts), parts).run()
    assert (parts.folder / 'result').read_text() == (whole.folder / 'result').read_text()


def test_lines_of_the_curve_behind_the_checkpoint_are_not_there_twice(tmp_path: Path) -> None:
    """Killed between the curve and the checkpoint, a run computes these steps again."""
    options = RunOptions(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Run(OneWeight(options, end=(70, signal.SIGINT)), options).run()
    with (tmp_path / 'curve.csv').open('a') as file:
        file.write('100,1,0.1,2\r\n150,1')  # the last one torn
    Run(OneWeight(options), options).run()
    assert [row[0] for row in curve(tmp_path)] == ['50', '100']
    assert float(curve(tmp_path)[1][-1]) < 1


def test_weights_of_a_run_that_diverged_are_not_saved(tmp_path: Path) -> None:
    options = RunOptions(tmp_path, checkpoint_minutes=0)
    with pytest.raises(TrainingError, match=r'not finite at step 30: lower --learning-rate \(now'):
        Run(OneWeight(options, nan=30), options).run()
    stored = read_checkpoint(tmp_path, 'weight', 'one weight')
    assert stored['step'] == 30 and torch.isfinite(stored['weight']['weight']).all()
    with pytest.raises(TrainingError, match='is no checkpoint of a detector'):
        read_checkpoint(tmp_path, 'module', 'a detector')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a device that is always full')
def test_a_curve_on_a_full_disk_is_named(tmp_path: Path) -> None:
    curve = Curve(tmp_path / 'curve.csv')
    curve.path.symlink_to('/dev/full')
    curve.add(50, 1.0, 0.1, {'loss': torch.tensor(1.0)})
    with pytest.raises(OSError, match='cannot write .*curve.csv: No space left'):
        curve.flush()


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a device that is always full')
def test_a_log_on_a_full_disk_hides_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(tmp_path)
    (tmp_path / 'run.log').symlink_to('/dev/full')
    with (
        pytest.raises(TrainingError, match='the loss is not finite at step 30'),
        log_file(tmp_path),
    ):
        with pytest.raises(KeyboardInterrupt):
            Run(OneWeight(options, end=(20, signal.SIGINT)), options).run()
        Run(OneWeight(options, nan=30), options).run()
    written = capsys.readouterr().err.splitlines()
    (warning,) = [line for line in written if 'run.log' in line]
    assert warning.startswith(
        f'WARNING cannot write {tmp_path / "run.log"}: No space left on device'
    )
    assert not [line for line in written if 'Traceback' in line or 'Logging error' in line]


WITH_A_WORKER = """
import sys
from pathlib import Path
from training.run.loading import loaded
from training.run.report import log_file

if __name__ == '__main__':
    with log_file(Path(sys.argv[1])):
        for number in loaded(range(10), lambda: iter(range(10)), workers=1, ahead=1):
            print(number, flush=True)
            input()
"""


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    """Its workers notice only seconds later that a process was killed; the folder is free then."""
    folder, script = tmp_path / 'run', tmp_path / 'script.py'
    script.write_text(WITH_A_WORKER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == '0\n'
            before = (folder / 'run.log').read_bytes()
            refused = pytest.raises(TrainingError, match=f'another training is running in {folder}')
            with refused, log_file(folder):
                pass
            assert (folder / 'run.log').read_bytes() == before
        finally:
            process.kill()
    with log_file(folder), pytest.raises(TrainingError), log_file(folder):
        pass
    with log_file(folder):  # neither that ended nor the one that was refused is in it
        options = RunOptions(folder)
        Run(OneWeight(options), options).run()
    assert (folder / 'result').exists()
