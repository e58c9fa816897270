# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What can be looked at: photos, videos, bags, and what is live, such as cameras and topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import read_image

Image = NDArray[np.uint8]

SILENCE = 3.0  # seconds without an image after which the page says so
CAMERA = 'camera'  # name of the thread that reads a camera
_LAST_GRACE = 0.5  # seconds that its last image has to come
_BETWEEN_TRIES = 2.0  # seconds until a camera that has gone is opened again


@dataclass(frozen=True)
class Frame:
    """An image that can be read.

    Attributes:
        name: shown above the picture.
        stamp: seconds from the source's beginning.
        read: returns uint8 (H, W, 3), BGR; raises ImageError.
        arrived: time.monotonic() when a live one came in; None for files.
    """

    name: str
    stamp: float
    read: Callable[[], Image]
    arrived: float | None = None


@dataclass(frozen=True)
class Notice:
    """What the page is to say in place of a new picture."""

    text: str


@dataclass(frozen=True)
class Source:
    """Something to look at.

    Attributes:
        name: for the page.
        frames: the frames, and notices between them; of a live source they never end.
        live: frames are shown as they come; else each is due at its stamp.
        keep_all: every frame of a file is shown, however late; else late ones are left out.
        close: frees what it holds.
    """

    name: str
    frames: Iterator[Frame | Notice]
    live: bool
    keep_all: bool = False
    close: Callable[[], None] = lambda: None


class ImageStream(Protocol):
    """An opened video or camera."""

    def __iter__(self) -> Iterator[Image]:
        """Yield its images until its end."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


def photos(name: str, paths: Iterable[Path], period: float) -> Source:
    """Return image files as a source: each is shown for at least some seconds."""

    def frames() -> Iterator[Frame]:
        for i, path in enumerate(paths):
            yield Frame(path.name, i * period, partial(read_image, path))

    return Source(name, frames(), live=False, keep_all=True)


def recording(name: str, images: Iterable[tuple[float, Callable[[], Image]]]) -> Iterator[Frame]:
    """Yield the frames of a video or bag.

    Args:
        name: of the recording.
        images: seconds from its beginning, and what reads the image.

    """
    for stamp, read in images:
        yield Frame(f'{name}, {stamp:.2f} s', stamp, read)


class Newest:
    """A place for one item: a newer one replaces it, so a slow reader never gets an old one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Frame | Notice | None = None

    def put(self, item: Frame | Notice) -> None:
        """Replace what is there."""
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def take(self, timeout: float) -> Frame | Notice | None:
        """Wait for an item and remove it; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None, timeout)
            item, self._item = self._item, None
            return item


def live_frames(newest: Newest, silence: Callable[[], str]) -> Iterator[Frame | Notice]:
    """Yield what is newest, for ever.

    Args:
        newest: filled by another thread.
        silence: says why nothing comes; asked whenever nothing came for SILENCE seconds.

    """
    while True:
        item = newest.take(SILENCE)
        yield Notice(silence()) if item is None else item


class Camera:
    """Reads a camera in a thread of its own; opens it again when it has gone.

    Args:
        name: for messages.
        stream: the opened camera.
        reopen: opens it again; raises ImageError as long as it is not there.

    """

    def __init__(self, name: str, stream: ImageStream, reopen: Callable[[], ImageStream]) -> None:
        self._name, self._stream, self._reopen = name, stream, reopen
        self._newest = Newest()
        self._stopped = threading.Event()
        self._last = self._began = time.monotonic()
        self._thread = threading.Thread(target=self._read, name=CAMERA, daemon=True)
        self._thread.start()

    def source(self) -> Source:
        """Return the camera as a source."""
        frames = live_frames(self._newest, self._silence)
        return Source(self._name, frames, live=True, close=self._close)

    def _read(self) -> None:
        while not self._stopped.is_set():
            self._read_to_the_end()
            if not self._stopped.is_set():
                self._newest.put(Notice(self._gone()))
            while not self._stopped.wait(_BETWEEN_TRIES):
                try:
                    self._stream = self._reopen()
                    break
                except ImageError:
                    self._newest.put(Notice(self._gone()))

    def _read_to_the_end(self) -> None:
        try:
            for image in self._stream:
                if self._stopped.is_set():
                    return
                self._last = time.monotonic()
                stamp = self._last - self._began
                read = partial(_same, image)
                self._newest.put(Frame(self._name, stamp, read, self._last))
        finally:
            self._stream.close()

    def _close(self) -> None:
        self._stopped.set()
        self._thread.join(_LAST_GRACE)

    def _gone(self) -> str:
        seconds = time.monotonic() - self._last
        return (
            f'{self._name} is gone: its last image came {seconds:.0f} s ago. Is it plugged in? It '
            'is tried again every two seconds'
        )

    def _silence(self) -> str:
        seconds = time.monotonic() - self._last
        return f'{self._name} sends nothing: its last image came {seconds:.0f} s ago'


def _same(image: Image) -> Image:
    return image
