# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The worker always takes the newest item."""
import threading

from instance_seg_ros.ros.worker import LatestWorker

TIMEOUT = 10.0


def test_only_the_newest_of_a_burst_is_processed() -> None:
    started, go_on, last = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def process(item: int) -> None:
        seen.append(item)
        started.set()
        assert go_on.wait(TIMEOUT)
        if item == 9:
            last.set()

    worker = LatestWorker(process)
    worker.submit(0)
    assert started.wait(TIMEOUT)
    for item in range(1, 10):
        worker.submit(item)
    go_on.set()
    assert last.wait(TIMEOUT)
    worker.stop()
    assert seen == [0, 9]
    assert worker.dropped == 8


def test_stop_finishes_the_item_in_hand_only() -> None:
    started, go_on = threading.Event(), threading.Event()
    finished = []

    def process(item: str) -> None:
        started.set()
        assert go_on.wait(TIMEOUT)
        finished.append(item)

    worker = LatestWorker(process)
    worker.submit('in hand')
    assert started.wait(TIMEOUT)
    worker.submit('waiting')
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    stopper.join(0.2)
    assert stopper.is_alive()  # it waits for the item in hand
    go_on.set()
    stopper.join(TIMEOUT)
    assert not stopper.is_alive()
    assert finished == ['in hand']
