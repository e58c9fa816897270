# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The scheduler ``local``: processes of this machine, each with a model of its own.

Not a ProcessPoolExecutor: when one of its processes is killed, it breaks as a whole, and the shards
of all others are lost. Here only that of the process is, and it is tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from instance_seg_ros.batch.errors import BatchError
from instance_seg_ros.batch.shards import Shard
from instance_seg_ros.batch.worker import Job, Report, ShardWorker, given_up

_MOST_ENDS = 15  # of processes over one shard; attempts.py gives up before, once they have begun


def run_local(shards: Iterable[Shard], job: Job, workers: int) -> Iterator[Report]:
    """Segment shards in some processes; yield the reports as they come.

    Args:
        shards: of the run; taken one at a time.
        job: what all have in common.
        workers: number of processes.

    Raises:
        BatchError: no worker can go on: the model cannot be loaded, the disk is full.

    """
    pool = _Pool(iter(shards), job)
    threads = [
        threading.Thread(target=pool.serve, name=f'worker {i}', daemon=True) for i in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            result = pool.results.get()
            if isinstance(result, Report):
                yield result
            elif result is None:
                running -= 1
            else:
                raise BatchError(str(result))
    finally:
        pool.stop()
        for thread in threads:
            thread.join(5.0)


class _Pool:
    """What the threads share, one for each process."""

    def __init__(self, shards: Iterator[Shard], job: Job) -> None:
        self._shards, self._job = shards, job
        # Spawned: a fork would inherit locks of OpenCV's and onnxruntime's threads.
        self._context = multiprocessing.get_context('spawn')
        self._lock = threading.Lock()
        self._processes: set[Any] = set()
        self._stopped = False
        # Reports; None where a thread has ended; or the error that ends the run.
        self.results: queue.Queue[Report | BatchError | None] = queue.Queue()

    def serve(self) -> None:
        """Let a process do one shard after the other; start another where it is lost."""
        worker: _Process | None = None
        try:
            while (shard := self._next()) is not None:
                for _ in range(_MOST_ENDS):
                    worker = worker or self._start()
                    report = worker.run(shard)
                    if report is not None or self._stopped:
                        break
                    self._forget(worker)
                    worker = None
                else:
                    report = given_up(shard)
                if report is not None:
                    self.results.put(report)
        except Exception as error:
            self.results.put(BatchError(str(error)))
        finally:
            if worker is not None:
                worker.end()
                self._forget(worker)
            self.results.put(None)

    def stop(self) -> None:
        """End all processes."""
        with self._lock:
            self._stopped = True
            processes = list(self._processes)
        for process in processes:
            process.kill()

    def _next(self) -> Shard | None:
        with self._lock:
            return None if self._stopped else next(self._shards, None)

    def _start(self) -> _Process:
        with self._lock:
            if self._stopped:
                raise BatchError('the run has been stopped')
            worker = _Process(self._context, self._job)
            self._processes.add(worker)
            return worker

    def _forget(self, worker: _Process) -> None:
        worker.kill()
        with self._lock:
            self._processes.discard(worker)


class _Process:
    """A process and the connection to it."""

    def __init__(self, context: Any, job: Job) -> None:
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process ends the connection

    def run(self, shard: Shard) -> Report | None:
        """Return the report, or None where the process has been lost.

        Raises:
            BatchError: it cannot go on.

        """
        try:
            self._connection.send(shard)
            answer = self._connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(answer, Report):
            return answer
        raise BatchError(answer)

    def end(self) -> None:
        """Let it end by itself."""
        try:
            self._connection.send(None)
        except OSError:
            return
        self._process.join(5.0)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _work(connection: Connection, job: Job) -> None:
    """Do what is sent, in the process."""
    # Ctrl-C reaches all processes of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = ShardWorker(job)
    while (shard := connection.recv()) is not None:
        try:
            answer: Report | str = worker.run(shard)
        except Exception as error:
            answer = f'{type(error).__name__}: {error}' if not str(error) else str(error)
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
