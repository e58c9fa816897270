# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Imports onnxruntime: without its telemetry, and whole or not at all.

From 1.32 on its builds send trace events and an identifier of the machine to Microsoft, unless a
variable of the environment is set before. A KeyboardInterrupt inside its start becomes an
ImportError, is lost, or aborts the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


def import_onnxruntime() -> Any:
    """Return the module; only those who use it need it.

    A value of ORT_DISABLE_TELEMETRY that the user has set is kept.

    Raises:
        ImportError: it is not installed, or broken.
        KeyboardInterrupt: the user interrupted meanwhile; it comes after the import.

    """
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    with _interrupts_wait():
        import onnxruntime
    return onnxruntime


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let the signals that raise KeyboardInterrupt wait for the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # they are raised only there
        yield
        return
    waiting: list[int] = []
    signals = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.default_int_handler
    ]
    for number in signals:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.default_int_handler)
        if waiting:
            raise KeyboardInterrupt
