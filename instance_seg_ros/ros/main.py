# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's process: starts it, and ends it within two seconds of a signal."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from instance_seg_ros.output_names import NODE_NAME
from instance_seg_ros.ros.executor import CallbackRunner
from instance_seg_ros.ros.given_parameters import check_given_parameters
from instance_seg_ros.ros.node import InstanceSegNode

# Parameters and transitions, images, ~/segment, which waits for its result, and the two quick
# services: see the node's callback groups.
CALLBACK_THREADS = 4
STOP_PERIOD = 0.1  # seconds between looks at whether to stop
FRAME_GRACE = 0.5  # seconds that the frame in hand has to end
CALLBACK_GRACE = 0.3  # seconds that running callbacks have to end
TOTAL_GRACE = 1.4  # seconds that everything has to end
LAST_GRACE = 1.6  # seconds from the signal, in any state: DDS may be starting
USAGE = f"""\
usage: {NODE_NAME}_node [--ros-args [-p NAME:=VALUE] [-r FROM:=TO] [--params-file FILE] ...]

The node that segments camera images. Its parameters and topics: docs/ros-interface.md,
or, while it runs, ros2 param describe and ros2 node info."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM or SIGHUP.

    Args:
        args: command line, the program's name first; the process's own if None.

    Returns:
        Exit code: 0 after a signal or for help, 1 where the node could not start or broke down, 2
        for words that no part of the node reads.
    """
    signals = _Signals()
    signals.listen()
    # What is imported stays: to look through it again takes the garbage collector 16 ms each time.
    gc.freeze()
    try:
        # Launch files hand on arguments that are empty.
        if words := [word for word in remove_ros_args(args)[1:] if word]:
            return _answer(words)
        # rclpy's own handlers take the context away at any moment: while the node is being made or
        # is publishing, that raises anywhere, and now and then it deadlocks.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = InstanceSegNode()
        check_given_parameters(node, args)
    except (RuntimeError, ValueError, ParameterException, NameValidationException) as error:
        rclpy.logging.get_logger(NODE_NAME).fatal(f'{_text(error)}{_hint(error)}')
        rclpy.try_shutdown()
        return 1
    return _run(node, signals)


def _answer(words: list[str]) -> int:
    """Say how the node is started, where there are words that are not for ROS."""
    if {'-h', '--help'} & set(words):
        print(USAGE)
        return 0
    print(f'{NODE_NAME}_node: {" ".join(words)}: expected after --ros-args', file=sys.stderr)
    return 2


def _text(error: Exception) -> str:
    # Two more lines show the whole name and point at a place in it.
    is_name = isinstance(error, NameValidationException)
    return str(error).partition(':\n')[0] if is_name else str(error)


def _hint(error: Exception) -> str:
    """Return what to do about errors that do not say it."""
    if isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != 'utf-8':
        return '. Expected a UTF-8 locale, such as LC_ALL=C.UTF-8'
    if isinstance(error, NameValidationException):
        return " for the node's namespace and name. Give others: -r __ns:=/NAME, -r __node:=NAME"
    if 'initialize logging' in str(error):
        return '. Set ROS_LOG_DIR to a folder that can be written to'
    return ''


class _Signals:
    """Ends the process in time after a signal.

    Attributes:
        code: exit code of the process.
    """

    def __init__(self) -> None:
        self.code = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._arrived = threading.Event()

    def listen(self) -> None:
        """Take over the signals."""
        # The kernel hands a signal to any thread, often one of DDS. Python's handler runs in the
        # main thread only, which need not wake up for it; this file is written to at once.
        signal.set_wakeup_fd(self._write)
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # by nohup
                signal.signal(number, lambda *_: None)
        threading.Thread(target=self._watch, name='signals', daemon=True).start()

    def wait(self) -> None:
        """Wait for the first signal, or for fail(); signals after it change nothing."""
        self._arrived.wait()
        # Python goes back to the default handlers while it ends, but leaves ignored ones ignored.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def fail(self) -> None:
        """Do what a signal does, with an exit code that says that something broke down."""
        self.code = 1
        os.write(self._write, b'.')

    def exit_now(self) -> None:
        """End the process without waiting for any thread."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # it is None where it was closed at the start
                stream.flush()
        os._exit(self.code)

    def _watch(self) -> None:
        os.read(self._read, 1)
        self._arrived.set()
        time.sleep(LAST_GRACE)
        self.exit_now()


def _run(node: InstanceSegNode, signals: _Signals) -> int:
    runner = CallbackRunner(node, CALLBACK_THREADS)
    stop, ended = threading.Event(), threading.Event()

    def spin() -> None:
        try:
            while not stop.is_set():
                runner.run_once(STOP_PERIOD)
        except Exception as error:
            rclpy.logging.get_logger(NODE_NAME).fatal(f'{type(error).__name__}: {error}')
            signals.fail()

    spinner = threading.Thread(target=spin, name='executor', daemon=True)
    spinner.start()
    signals.wait()
    stop.set()
    ending = threading.Thread(target=_end, args=(runner, spinner, node, ended), daemon=True)
    ending.start()
    ending.join(TOTAL_GRACE)
    if not ended.is_set():
        # A thread is inside of OpenCV, with a model or a large frame, and cannot be interrupted.
        # The usual way out would wait for it, or pull the library away under it.
        signals.exit_now()
    return signals.code


def _end(
    runner: CallbackRunner, spinner: threading.Thread, node: InstanceSegNode, ended: threading.Event
) -> None:
    spinner.join()
    idle = node.stop(FRAME_GRACE)
    # It waits for the callbacks that run: usually for none, but a model may be loading.
    closing = threading.Thread(target=runner.shutdown, daemon=True)
    closing.start()
    closing.join(CALLBACK_GRACE)
    # Others see at once that the node is gone.
    node.destroy_node()
    rclpy.try_shutdown()
    if idle:
        closing.join()
        # A configure that had just begun may have started to load a model: the usual way out would
        # take the library's threads away under it, which aborts the process.
        if not node.is_loading:
            ended.set()
