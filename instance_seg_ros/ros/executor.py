# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Runs the callbacks of a node in threads, on every release of rclpy from Humble on."""

import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.node import Node

NOTHING_READY = (TimeoutException, ShutdownException, ExternalShutdownException)
RETRY_PERIOD = 0.1  # seconds between tries after rclpy failed to wait
MOST_FAILURES = 50  # failures to wait in a row: then the loop gives up


class CallbackRunner:
    """Runs the callbacks of a node in a pool of threads, like rclpy's MultiThreadedExecutor.

    It differs in three ways:

    - A callback that raises does not end the node. Each cause is logged once.
    - A callback group is free again where rclpy failed to take a message or request of it.
    - A callback is begun before the next one is looked for. Releases of rclpy until Kilted 9.1.3
      and Jazzy 7.1.8 return a callback again and again until a thread has begun with it, and use
      the processor's time that this thread needs.

    It uses only the part of rclpy's executor that is meant for executors of other packages:
    wait_for_ready_callbacks(). No callback may be a coroutine that waits.

    Args:
        node: whose callbacks they are; failures go to its log.
        threads: number of callbacks that can run at a time.
    """

    def __init__(self, node: Node, threads: int) -> None:
        self._logger = node.get_logger()
        self._source = SingleThreadedExecutor()
        self._source.add_node(node)
        self._pool = ThreadPoolExecutor(threads, 'callback')
        self._lock = threading.Lock()
        self._running: Counter[Any] = Counter()  # tasks by callback group
        self._failed: dict[Any, Any] = {}  # entity by its callback group, which it may still hold
        self._causes: set[tuple[str, ...]] = set()
        self._failures = 0
        self._stopping = False

    def run_once(self, timeout: float) -> None:
        """Wait for a callback that is ready, and begin it in a thread; for one thread at a time.

        Args:
            timeout: seconds to wait at most.

        Raises:
            Exception: what rclpy raised, when waiting fails repeatedly.
        """
        try:
            task, entity, _ = self._source.wait_for_ready_callbacks(timeout_sec=timeout)
        except NOTHING_READY:
            return
        except Exception as error:
            self._failures += 1
            if self._failures == MOST_FAILURES:
                raise
            self._report('waiting for callbacks', error)
            time.sleep(RETRY_PERIOD)
            return
        self._failures = 0
        with self._lock:
            self._running[getattr(entity, 'callback_group', None)] += 1
        begun = threading.Event()
        self._pool.submit(self._run, task, entity, begun)
        begun.wait(timeout)

    def shutdown(self) -> None:
        """Wait for the callbacks that run, and let go of the node."""
        self._stopping = True
        self._pool.shutdown()
        self._source.shutdown()

    def _run(self, task: Any, entity: Any, begun: threading.Event) -> None:
        begun.set()
        task()
        error = task.exception() if task.done() else None
        self._leave(entity, failed=error is not None)
        if error is not None:
            self._report(_name(entity), error)

    def _leave(self, entity: Any, failed: bool) -> None:
        group = getattr(entity, 'callback_group', None)
        with self._lock:
            self._running[group] -= 1
            if failed:
                self._failed[group] = entity
            # rclpy leaves a group blocked where taking a message raised, not where the callback
            # did. While other callbacks of the group run, it cannot be known which is the case.
            if group is None or self._running[group] or group not in self._failed:
                return
            holder = self._failed.pop(group)
            if not group.can_execute(holder):
                group.ending_execution(holder)
        self._source.wake()

    def _report(self, where: str, error: Exception) -> None:
        # InvalidHandle: a subscription or the like went while its message was being taken.
        if self._stopping or isinstance(error, InvalidHandle):
            return
        place = traceback.extract_tb(error.__traceback__)[-1]
        cause = (where, type(error).__name__, place.filename, str(place.lineno))
        with self._lock:
            if cause in self._causes:
                return
            self._causes.add(cause)
        self._logger.error(
            f'{where} failed: {type(error).__name__}: {error} ({Path(place.filename).name}, line '
            f'{place.lineno}). The node goes on; this cause is not logged again'
        )


def _name(entity: Any) -> str:
    """Return what a person calls the entity: its topic or service, else its kind."""
    for attribute in ('srv_name', 'topic_name'):
        name = getattr(entity, attribute, None)
        if isinstance(name, str):
            return f'the callback of {name}'
    return f'a callback of a {type(entity).__name__}'
