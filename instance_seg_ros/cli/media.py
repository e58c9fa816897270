# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Videos, cameras and windows, as the command line needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError

_USUAL_FPS = 30.0  # for a source that does not say
_CODEC = 'mp4v'  # in every build of OpenCV
_LARGEST_WINDOW = 1280, 720


class VideoSource:
    """The frames of a video file or a camera.

    Args:
        source: a path or URL, or the number of a camera.
        name: for messages.

    Raises:
        ImageError: it cannot be opened.
    """

    def __init__(self, source: str | int, name: str) -> None:
        # Silences FFmpeg about broken files; our own message is below.
        os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
        self._capture = cv2.VideoCapture(source)
        self._name = name
        if not self._capture.isOpened():
            raise self._no_frame()
        # Of a camera, only the newest frame is of use. Files ignore this.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    @property
    def fps(self) -> float:
        """Frames per second, a usual number where the source does not say."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if 1 <= fps <= 240 else _USUAL_FPS

    @property
    def frame_count(self) -> int | None:
        """Number of frames as far as it is known."""
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 (H, W, 3), BGR, until the end; raises ImageError where there is no frame."""
        ok, frame = self._capture.read()
        if not ok:
            raise self._no_frame()
        while ok:
            yield frame
            ok, frame = self._capture.read()

    def _no_frame(self) -> ImageError:
        return ImageError(
            f'{self._name}: OpenCV can read no frame from it; it is not a video or '
            'camera, or damaged'
        )

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()


class VideoSink:
    """Writes frames into an mp4 file; use it in a ``with`` statement, which finishes the file.

    Args:
        path: of the file; it is made with the first frame.
        fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._written = 0

    def __enter__(self) -> VideoSink:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file: without this it cannot be played."""
        if self._writer is not None:
            self._writer.release()

    def write(self, frame: NDArray[np.uint8], until: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: uint8 (H, W, 3), BGR, all of one size.
            until: seconds from the video's start up to which the frame is shown: it is repeated, or
                left out. None appends it once.

        Raises:
            OSError: the file cannot be written.
        """
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        due = 1 if until is None else round(until * self._fps) - self._written
        for _ in range(due):
            self._writer.write(frame)
            self._written += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*_CODEC)
        writer = cv2.VideoWriter(str(self._path), code, self._fps, (width, height))
        if not writer.isOpened():
            raise OSError(None, 'OpenCV cannot write a video there', str(self._path))
        return writer


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

    Tried in another process: with a DISPLAY that nobody answers, OpenCV ends its process.
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
