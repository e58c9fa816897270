# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Videos and cameras: read with the time of each frame, written at a rate that keeps it."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.cli.outputs import OutputError
from instance_seg_ros.errors import ImageError

_USUAL_RATE = 30.0  # for a source without a usable rate
_LARGEST_RATE = 1000.0
_CODEC = 'mp4v'  # in every build of OpenCV with FFmpeg
_ROOM = 8_000_000  # bytes of a disk that is nearly full, left for the end of the video
_FRAMES_BETWEEN_LOOKS = 30
_KEPT = 16_000_000  # bytes of frames in memory, in case that the video cannot be finished


class VideoSource:
    """The frames of a video file or a camera.

    Args:
        source: a file; or the number, device or URL of a camera.
        name: for messages.

    Attributes:
        size: (width, height) of the first frame.
        stamps: seconds from the first frame to each frame that was read and whose stamp was not
            taken out of here; of a camera, when it was read.

    Raises:
        ImageError: there is no frame in it.

    """

    def __init__(self, source: Path | str | int, name: str) -> None:
        # Silences FFmpeg about broken files; our own message is below.
        os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
        self._name, self._live = name, not isinstance(source, Path)
        self.stamps: deque[float] = deque()
        self._capture = _open_file(source) if isinstance(source, Path) else _open_camera(source)
        ok, frame = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or frame is None:
            self.close()
            raise ImageError(
                f'{name}: OpenCV can read no frame from it; it is not a video or camera, or damaged'
            )
        self._first: NDArray[np.uint8] = frame
        self._began = self._now()
        self.size: tuple[int, int] = (frame.shape[1], frame.shape[0])

    @property
    def rate(self) -> float:
        """Frames per second, a usual number where the source does not say."""
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        return rate if 0 < rate <= _LARGEST_RATE else _USUAL_RATE

    @property
    def frame_count(self) -> int | None:
        """Number of frames as far as it is known."""
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(count) if 0 < count < 1e9 else None

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 (H, W, 3), BGR, all of one size, until the end."""
        frame, ok = self._first, True
        self._began, last = self._now(), -math.inf
        while ok:
            stamp = self._now() - self._began
            if not self._live and not last < stamp <= self._latest():
                stamp = max(last, -1 / self.rate) + 1 / self.rate  # it has none, or a broken one
            self.stamps.append(stamp)
            last = stamp
            # A stream may change its size; a video file cannot.
            yield frame if frame.shape[1::-1] == self.size else cv2.resize(frame, self.size)
            ok, frame = self._capture.read()

    def seconds(self) -> float | None:
        """Return the time since the first frame of a camera, None for a file."""
        return self._now() - self._began if self._live else None

    def _now(self) -> float:
        if self._live:
            return time.monotonic()
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _latest(self) -> float:
        """Seconds beyond which a stamp is not believed."""
        return math.inf if self.frame_count is None else 10 + 2 * self.frame_count / self.rate

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()


def _open_file(path: Path) -> cv2.VideoCapture:
    # A playlist that is named as a video must not make us fetch what it names.
    os.environ.setdefault('OPENCV_FFMPEG_CAPTURE_OPTIONS', 'protocol_whitelist;file')
    return _capture(path)


def _capture(path: Path) -> cv2.VideoCapture:
    """Open a file by FFmpeg where this OpenCV has it, else by what there is."""
    with _name_for_opencv(path) as name:
        # Not by the backend for series of images, which reads formats that images.py refuses.
        if cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends():
            return cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        return cv2.VideoCapture(name)


def _open_camera(source: str | int) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(source)
    # Of a camera, only the newest frame is of use.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


class VideoSink:
    """Writes frames into an mp4 file, at a constant rate: each is repeated until the next begins.

    Args:
        path: of the file; it exists.
        rate: frames per second of the source.
        size: (width, height) of all frames.

    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        # MPEG-4 knows no rates far below 1: such frames are written several times.
        self._rate = rate * math.ceil(1 / rate)
        self._duration = 1 / rate
        self._writer = _writer(path, self._rate, size)
        self._waiting: NDArray[np.uint8] | None = None
        self._began = 0.0
        self._written = self._frames = 0
        self._kept: list[tuple[NDArray[np.uint8], int]] | None = []
        self._kept_bytes = 0

    def write(self, frame: NDArray[np.uint8], stamp: float) -> None:
        """Append a frame.

        Args:
            frame: uint8 (H, W, 3), BGR.
            stamp: seconds from the video's start from which it is shown.

        """
        self._frames += 1
        self._write_waiting(stamp)
        self._waiting, self._began = frame, stamp

    def has_room(self) -> bool:
        """Whether the disk takes more; looked at from time to time."""
        if self._frames % _FRAMES_BETWEEN_LOOKS:
            return True
        return shutil.disk_usage(self._path.parent).free > _ROOM

    def finish(self, until: float | None = None) -> tuple[int, int]:
        """Finish the file: without this it cannot be played.

        Args:
            until: seconds from the video's start up to which the last frame is shown; by default
                as long as the source's rate says.

        Returns:
            How many frames are in it, and how many were given.

        """
        self._write_waiting(self._began + self._duration if until is None else until)
        self._writer.release()
        if frames_in(self._path) >= self._written:
            return self._frames, self._frames
        return self._rescue(), self._frames

    def _write_waiting(self, until: float) -> None:
        if self._waiting is None:
            return
        count = round(until * self._rate) - self._written
        for _ in range(count):
            self._writer.write(self._waiting)
        self._written += max(0, count)
        if self._kept is not None:
            jpeg = cv2.imencode('.jpg', self._waiting)[1]
            self._kept.append((jpeg, count))
            self._kept_bytes += jpeg.nbytes
            if self._kept_bytes > _KEPT:
                self._kept = None

    def _rescue(self) -> int:
        """Write as many of the first frames as fit, of a video short enough to be kept."""
        count = len(self._kept or ())
        while count := count // 2:
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
            writer = _writer(self._path, self._rate, self._size)
            written = 0
            for jpeg, repeats in (self._kept or [])[:count]:
                for _ in range(repeats):
                    writer.write(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
                written += max(0, repeats)
            writer.release()
            if written and frames_in(self._path) >= written:
                return count
        return 0


def check_size(target: Path, folder: Path, rate: float, size: tuple[int, int]) -> None:
    """Write a frame on trial.

    Args:
        target: that is to be written, for the message.
        folder: where it may be tried.
        rate, size: of the video.

    Raises:
        OutputError: no video of this size can be written.

    """
    with tempfile.TemporaryDirectory(dir=folder, prefix='.instance-seg-') as name:
        path = Path(name, 'trial.mp4')
        path.touch()
        sink = VideoSink(path, rate, size)
        sink.write(np.zeros((size[1], size[0], 3), np.uint8), 0.0)
        if sink.finish()[0] == 1:
            return
    raise OutputError(
        f'{target}: frames of {size[0]}x{size[1]} pixels cannot be written as an MPEG-4 video: a '
        'side is longer than 8191, the disk is full, or this OpenCV cannot write MPEG-4. Scale the '
        'video down, make room, or install opencv-contrib-python from PyPI'
    )


def frames_in(path: Path) -> int:
    """Return how many frames a video file has, 0 where it cannot be played."""
    capture = _capture(path)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    playable = count > 0 and capture.read()[0]
    capture.release()
    return count if playable else 0


def _writer(path: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    with _name_for_opencv(path) as name:
        return cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*_CODEC), rate, size)


@contextlib.contextmanager
def _name_for_opencv(path: Path) -> Iterator[str]:
    """Lend a name of the file that OpenCV and FFmpeg accept, whatever bytes its own name has."""
    name = str(path.resolve())  # "a:b.mp4" would be a protocol
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, 'video.mp4')
            link.symlink_to(name)
            yield str(link)
    else:
        yield name
