# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line in this process: to start another takes longer than most of its work."""

import contextlib
import io
import os
import signal
import subprocess
from pathlib import Path

import cv2

from instance_seg_ros.cli import main


def run_main(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess:
    """Run ``instance-seg`` with the arguments, in a folder; what it logs is not in the result."""
    stdout, stderr = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    before, handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
    threads = cv2.getNumThreads()  # --num-threads is for the whole process
    os.chdir(folder or before)
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = main(words)
    except SystemExit as end:  # of argparse
        code = end.code
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
        cv2.setNumThreads(threads)
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())
