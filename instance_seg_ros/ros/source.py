# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where images come from and results go to: cameras (camera.py) and single requests."""

import threading
from collections.abc import Hashable, Iterable
from typing import Any, Protocol

from instance_seg_ros.output_names import DEBUG_IMAGE, DETECTIONS, LABEL_IMAGE, MASKS
from instance_seg_ros.ros.frames import Frame
from instance_seg_ros.ros.scene import Scene

UNLOADED = 'the model was unloaded'
_REQUESTED = frozenset({DETECTIONS, MASKS, LABEL_IMAGE, DEBUG_IMAGE})


class Source(Protocol):
    """What the engine knows of those who send it images. It calls the methods in its threads."""

    @property
    def key(self) -> Hashable:
        """Names the slot in which the newest image waits."""

    @property
    def scene(self) -> Scene:
        """What is known beside the images."""

    def wanted(self) -> frozenset[str]:
        """Return the outputs that are to be computed for an image; none skips the image."""

    def deliver(self, frame: Frame, messages: Iterable[tuple[str, Any]]) -> None:
        """Take an image's messages, each with the name of its output, as they are computed."""

    def drop(self) -> None:
        """Take note that an image was replaced by a newer one, or came too late."""

    def reject(self, problem: str) -> None:
        """Take note that an image cannot be used."""

    def fail(self, problem: str) -> None:
        """Take note that an image could not be segmented."""


class Request:
    """A single image that somebody waits for: the Source behind `~/segment`.

    Attributes:
        messages: by the name of the output, once it is done.
        error: why there are none; empty where there are.
    """

    key = '~/segment'

    def __init__(self) -> None:
        self.scene = Scene()
        self.messages: dict[str, Any] = {}
        self.error = ''
        self._done = threading.Event()

    def wait(self) -> None:
        """Wait for the messages or the error."""
        self._done.wait()

    def wanted(self) -> frozenset[str]:
        """Return all outputs that the service's response has."""
        return _REQUESTED

    def deliver(self, frame: Frame, messages: Iterable[tuple[str, Any]]) -> None:
        """Compute all messages, and end."""
        self.messages = dict(messages)
        self._done.set()

    def drop(self) -> None:
        """End without messages."""
        self.fail(UNLOADED)

    def reject(self, problem: str) -> None:
        """End without messages."""
        self.fail(f'image: {problem}')

    def fail(self, problem: str) -> None:
        """End without messages, unless it has ended."""
        if not self._done.is_set():
            self.error = problem
            self._done.set()
