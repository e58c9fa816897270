# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A window that shows results."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

_LARGEST_WINDOW = 1280, 720


class Window:
    """A window that shows images one after the other."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._sized = False

    def show(self, image: NDArray[np.uint8], *, wait: bool = False) -> bool:
        """Show an image.

        Args:
            image: uint8 (H, W, 3), BGR.
            wait: stay until a key is pressed.

        Returns:
            False once the user wants to end: by q, Escape, or closing the window.

        """
        if not self._sized:
            self._make(image.shape[1], image.shape[0])
        cv2.imshow(self._title, image)
        while True:
            key = cv2.waitKey(50 if wait else 1) & 0xFF
            closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
            if closed or key in (ord('q'), 27):
                return False
            if not wait or key != 0xFF:
                return True

    def _make(self, width: int, height: int) -> None:
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        scale = min(1.0, _LARGEST_WINDOW[0] / width, _LARGEST_WINDOW[1] / height)
        cv2.resizeWindow(self._title, max(1, round(width * scale)), max(1, round(height * scale)))
        self._sized = True


def has_display() -> bool:
    """Return whether OpenCV can open a window.

    Tried in another process: OpenCV ends its process when no server answers at DISPLAY.
    """
    if sys.platform == 'linux' and not (
        os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    ):
        return False
    attempt = 'import cv2; cv2.namedWindow("test"); cv2.destroyAllWindows()'
    try:
        return (
            subprocess.run(
                [sys.executable, '-c', attempt], capture_output=True, timeout=20, check=False
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
