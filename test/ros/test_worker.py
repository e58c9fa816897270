# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The worker takes the newest item of each source, the sources in turn."""
import threading
from collections.abc import Iterator

import pytest

from instance_seg_ros.ros.worker import LatestWorker

TIMEOUT = 10.0


class Bench:
    """A worker whose function waits until it is let go."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.started = threading.Semaphore(0)
        self._go_on = threading.Semaphore(0)
        self.worker: LatestWorker[str] = LatestWorker(self._process)

    def _process(self, item: str) -> None:
        self.seen.append(item)
        self.started.release()
        assert self._go_on.acquire(timeout=TIMEOUT)

    def let_go(self, times: int = 1) -> None:
        for _ in range(times):
            self._go_on.release()

    def wait_for_start(self) -> None:
        assert self.started.acquire(timeout=TIMEOUT)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.let_go(100)
    assert bench.worker.stop(TIMEOUT)


def test_only_the_newest_of_a_burst_is_processed(bench: Bench) -> None:
    assert bench.worker.submit('camera', '0') is None
    bench.wait_for_start()
    replaced = [bench.worker.submit('camera', str(i)) for i in range(1, 10)]
    bench.let_go()
    bench.wait_for_start()
    assert bench.seen == ['0', '9']
    assert replaced == [None, *(str(i) for i in range(1, 9))]


def test_sources_take_turns(bench: Bench) -> None:
    bench.worker.submit('a', 'a0')
    bench.wait_for_start()
    for turn in range(1, 4):
        # The fast source has a new item each time, and has it first.
        bench.worker.submit('a', f'a{turn}')
        for source in 'bc':
            bench.worker.submit(source, f'{source}{turn}')
        for _ in range(3):
            bench.let_go()
            bench.wait_for_start()
            bench.worker.submit('a', f'a{turn}+')
    assert [item[0] for item in bench.seen[1:]] == list('bca') * 3


def test_stop_finishes_the_item_in_hand_only(bench: Bench) -> None:
    bench.worker.submit('a', 'in hand')
    bench.wait_for_start()
    bench.worker.submit('a', 'waiting')
    assert not bench.worker.stop(timeout=0.2)  # it waits for the item in hand
    bench.let_go()
    assert bench.worker.stop(TIMEOUT)
    assert bench.seen == ['in hand']
    assert bench.worker.discard('a') == 'waiting'
    assert bench.worker.submit('a', 'late') == 'late'


def test_discard_empties_the_slot_of_one_source(bench: Bench) -> None:
    bench.worker.submit('a', 'in hand')
    bench.wait_for_start()
    bench.worker.submit('a', 'waiting')
    bench.worker.submit('b', 'too')
    assert bench.worker.discard('a') == 'waiting'
    assert bench.worker.discard('a') is None
    bench.let_go()
    bench.wait_for_start()
    assert bench.seen == ['in hand', 'too']
