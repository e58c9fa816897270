# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The worker takes the newest item of each source, the sources in turn, through two stages."""

import threading
from collections.abc import Iterator

import pytest

from instance_seg_ros.ros.worker import LatestWorker

TIMEOUT = 60.0  # seconds; only ever reached by a failure


class Bench:
    """A worker whose first stage waits until it is let go."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.started = threading.Semaphore(0)
        self._go_on = threading.Semaphore(0)
        self.worker: LatestWorker[str, str] = LatestWorker(self._first, lambda _: None)

    def _first(self, item: str) -> str:
        self.seen.append(item)
        self.started.release()
        assert self._go_on.acquire(timeout=TIMEOUT)
        return item

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


class Stages:
    """A worker whose every stage of every item waits until it is let go."""

    def __init__(self, parallel: int) -> None:
        self.events: list[str] = []
        self._changed = threading.Condition()
        self._free: set[str] = set()
        self.worker: LatestWorker[str, str] = LatestWorker(
            lambda item: self._stage('first', item) and item,
            lambda item: self._stage('second', item) and None,
            parallel=parallel,
        )

    def _stage(self, stage: str, item: str) -> bool:
        with self._changed:
            self.events.append(f'{stage} {item}')
            self._changed.notify_all()
            return self._changed.wait_for(lambda: f'{stage} {item}' in self._free, TIMEOUT)

    def end(self, *events: str) -> None:
        """Let stages go on."""
        with self._changed:
            self._free.update(events)
            self._changed.notify_all()

    def wait_for(self, *events: str) -> None:
        """Wait until these stages have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: set(events) <= set(self.events), TIMEOUT)


def test_an_item_is_in_the_first_stage_while_the_one_before_is_in_the_second() -> None:
    stages = Stages(parallel=1)
    stages.worker.submit('a', '1')
    stages.end('first 1')
    stages.wait_for('second 1')
    stages.worker.submit('a', '2')
    stages.wait_for('first 2')
    stages.end('first 2')
    # The second stage is busy: nothing more is taken, so that the newest is, later.
    assert [stages.worker.submit('a', item) for item in ('3', '4')] == [None, '3']
    assert stages.events == ['first 1', 'second 1', 'first 2']
    stages.end('second 1')
    stages.wait_for('second 2', 'first 4')
    stages.end('second 2', 'first 4', 'second 4')
    assert stages.worker.stop(TIMEOUT)
    assert 'first 3' not in stages.events


def test_items_end_in_the_order_in_which_they_began() -> None:
    stages = Stages(parallel=2)
    stages.worker.submit('a', '1')
    stages.wait_for('first 1')
    stages.worker.submit('a', '2')
    stages.wait_for('first 2')
    stages.end('first 2', 'second 2')
    assert 'second 2' not in stages.events
    stages.end('first 1')
    stages.wait_for('second 1')
    stages.end('second 1')
    stages.wait_for('second 2')
    assert stages.worker.stop(TIMEOUT)
    assert stages.events == ['first 1', 'first 2', 'second 1', 'second 2']


def test_an_item_that_fails_in_the_first_stage_holds_up_nothing() -> None:
    seen: list[str] = []
    done = threading.Event()

    def second(item: str) -> None:
        seen.append(item)
        done.set()

    worker: LatestWorker[str, str] = LatestWorker(
        lambda item: None if item == 'bad' else item, second
    )
    worker.submit('a', 'bad')
    worker.submit('b', 'good')
    assert done.wait(TIMEOUT)
    assert worker.stop(TIMEOUT)
    assert seen == ['good']


def test_a_stage_that_raises_costs_its_item_only() -> None:
    done: list[str] = []
    finished = threading.Semaphore(0)

    def first(item: str) -> str:
        if item == 'first fails':
            raise MemoryError
        return item

    def second(item: str) -> None:
        finished.release()
        if item == 'second fails':
            raise MemoryError
        done.append(item)

    worker: LatestWorker[str, str] = LatestWorker(first, second)
    for item in ('first fails', 'second fails', 'good', 'first fails', 'good'):
        worker.submit(item, item)
        if item != 'first fails':
            assert finished.acquire(timeout=TIMEOUT)
    assert worker.stop(TIMEOUT)
    assert done == ['good', 'good']
