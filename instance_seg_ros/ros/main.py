# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's process: starts it, and ends it within two seconds of a signal."""

import os
import signal
import sys
import threading

import rclpy
from rclpy.signals import SignalHandlerOptions

from instance_seg_ros.ros.compatibility import Executor
from instance_seg_ros.ros.given_parameters import check_given_parameters
from instance_seg_ros.ros.node import NODE_NAME, InstanceSegNode

# Parameters and transitions, images, and two services: see the node's callback groups.
EXECUTOR_THREADS = 4
STOP_PERIOD = 0.1  # seconds between looks at whether to stop
FRAME_GRACE = 0.5  # seconds that the frame in hand has to end
CALLBACK_GRACE = 0.3  # seconds that running callbacks have to end
TOTAL_GRACE = 1.5  # seconds that everything has to end


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line; the process's own if None.

    Returns:
        Exit code: 0 after a signal, 1 where the node could not start or broke down.
    """
    signals = _Signals()
    signals.listen()
    try:
        # rclpy's own handlers take the context away at any moment: while the node is being made or
        # is publishing, that raises anywhere, and now and then it deadlocks.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = InstanceSegNode()
        check_given_parameters(node, args)
    except (RuntimeError, ValueError, rclpy.exceptions.ParameterException) as error:
        rclpy.logging.get_logger(NODE_NAME).fatal(str(error))
        rclpy.try_shutdown()
        return 1
    return _run(node, signals)


class _Signals:
    """A pipe that SIGINT and SIGTERM write to."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def wait(self) -> None:
        """Wait for a signal, or for wake()."""
        os.read(self._read, 1)

    def wake(self) -> None:
        """Do what a signal does."""
        os.write(self._write, b'.')

    def listen(self) -> None:
        """Take over the signals."""
        # The kernel hands a signal to any thread, often one of DDS. Python's handler runs in the
        # main thread only, which need not wake up for it; this file is written to at once.
        signal.set_wakeup_fd(self._write)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)


def _run(node: InstanceSegNode, signals: _Signals) -> int:
    executor = Executor(EXECUTOR_THREADS)
    executor.add_node(node)
    stop, ended = threading.Event(), threading.Event()
    failures: list[Exception] = []

    def spin() -> None:
        try:
            while not stop.is_set():
                executor.spin_once(timeout_sec=STOP_PERIOD)
        except Exception as error:
            rclpy.logging.get_logger(NODE_NAME).fatal(f'{type(error).__name__}: {error}')
            failures.append(error)
            signals.wake()

    spinner = threading.Thread(target=spin, name='executor', daemon=True)
    spinner.start()
    signals.wait()
    stop.set()
    ending = threading.Thread(target=_end, args=(executor, spinner, node, ended), daemon=True)
    ending.start()
    ending.join(TOTAL_GRACE)
    code = 1 if failures else 0
    if not ended.is_set():
        # A thread is inside of OpenCV, with a model or a large frame, and cannot be interrupted.
        # The usual way out would wait for it, or pull the library away under it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _end(
    executor: Executor, spinner: threading.Thread, node: InstanceSegNode, ended: threading.Event
) -> None:
    spinner.join()
    idle = node.stop(FRAME_GRACE)
    # It waits for the callbacks that run: usually for none, but a model may be loading.
    closing = threading.Thread(target=executor.shutdown, daemon=True)
    closing.start()
    closing.join(CALLBACK_GRACE)
    # Others see at once that the node is gone.
    node.destroy_node()
    rclpy.try_shutdown()
    if idle:
        closing.join()
        ended.set()
