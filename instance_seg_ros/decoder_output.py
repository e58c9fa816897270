# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Keeps what image decoders write to stderr out of logs.

libpng and libjpeg, as OpenCV uses them, write a line for every damaged image, and a webcam may send
thirty a second. Nothing but the file descriptor itself can be changed about that.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

_LINES = re.compile(
    rb'(libpng |Corrupt JPEG|Premature end of JPEG|Invalid SOS|Invalid JPEG|Invalid component|'
    rb'Inconsistent progression|Warning: unknown JFIF|Adobe color transform|Unsupported JPEG|'
    rb'Application transferred|Caution: quantization|\[ ?(WARN|ERROR|INFO|FATAL):\d|'
    rb'Unknown Adobe|TIFF|OpenCV\(\d)'
)
# How a line of a ROS logger begins. Another thread may write one between two pieces of libpng's.
_LOG_LINE = re.compile(rb'(?<!^)(?=\[(?:DEBUG|INFO|WARN|ERROR|FATAL)\] \[\d)', re.M)
_LONGEST = 0.5  # seconds that lines of others are held back while threads decode without a pause


class _Stderr:
    """Redirects the process's stderr into a file while at least one thread decodes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._decoding = 0
        self._since = 0.0
        self._file: BinaryIO | None = None
        self._stderr = -1

    def begin(self) -> None:
        with self._changed:
            while self._decoding and time.monotonic() - self._since > _LONGEST:
                self._changed.wait()
            if not self._decoding:
                self._since = time.monotonic()
                self._redirect()
            self._decoding += 1

    def end(self) -> None:
        with self._changed:
            self._decoding -= 1
            if not self._decoding:
                self._restore()
                self._changed.notify_all()

    def _redirect(self) -> None:
        try:
            file = tempfile.TemporaryFile()
        except OSError:  # no place for a file: then the lines are written
            return
        try:
            self._stderr = os.dup(2)
            os.dup2(file.fileno(), 2)
        except OSError:  # no stderr
            file.close()
            return
        self._file = file

    def _restore(self) -> None:
        if self._file is None:
            return
        os.dup2(self._stderr, 2)
        # Read without moving the file's position: another thread's write that began before dup2
        # would land there, within the text.
        if size := os.fstat(self._file.fileno()).st_size:
            _write_others(os.pread(self._file.fileno(), size, 0), self._stderr)
        os.close(self._stderr)
        self._file.close()
        self._file = None


_stderr = _Stderr()


@contextlib.contextmanager
def decoder_output_dropped() -> Iterator[None]:
    """Drop what decoders write to stderr during the block; text of others follows right after it.

    A line that another thread writes just between the two pieces of one of libpng's is kept if it
    is one of a ROS logger; any other is dropped with that of libpng.
    """
    _stderr.begin()
    try:
        yield
    finally:
        _stderr.end()


def _write_others(text: bytes, stderr: int) -> None:
    others, dropped = [], False
    for line in _LOG_LINE.sub(b'\n', text).splitlines(True):
        # OpenCV's messages go on in lines that begin so.
        dropped = bool(_LINES.match(line)) or (dropped and line[:1] in b'> \n') or not line.strip()
        if not dropped:
            others.append(line)
    rest = b''.join(others)
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(stderr, rest) :]
