# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The model and the one thread that uses it, for the cameras and for single requests in turn."""
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sensor_msgs.msg import Image

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.camera import Camera
from instance_seg_ros.ros.frames import (
    DEBUG_JPEG,
    OUTPUTS,
    Frame,
    Options,
    decode,
    detect,
    encode,
    finish,
)
from instance_seg_ros.ros.parameters import live_arguments, segmenter_arguments
from instance_seg_ros.ros.worker import LatestWorker
from instance_seg_ros.segmenter import Segmenter

REQUESTED = frozenset(OUTPUTS) - {DEBUG_JPEG}
_REQUESTS = 'requests'  # their slot beside those of the cameras
_UNLOADED = 'the model was unloaded'


@dataclass
class Request:
    """
    A single image that somebody waits for.

    Attributes:
        message: the image.
        results: messages by the name of the output, once it is done.
        error: why there are none; empty where there are.
        done: set at the end, come what may.
    """

    message: Image
    results: dict[str, Any] = field(default_factory=dict)
    error: str = ''
    done: threading.Event = field(default_factory=threading.Event)

    def refuse(self, error: str) -> None:
        """End without results."""
        self.error = error
        self.done.set()


@dataclass(frozen=True)
class _Job:
    """An image and where it comes from."""

    message: Any
    source: 'Camera | Request'


class Engine:
    """
    Loads the model, then segments in a thread of its own.

    Args:
        values: of all parameters.
        on_malformed: called in the thread with a camera and what is wrong with its image.
        on_failure: called in the thread with a camera and what went wrong with its frame.

    Raises:
        ModelError: if the model cannot be loaded.
        ValueError: for a parameter that cannot be used.
    """

    def __init__(self, values: dict[str, Any], on_malformed: Callable[[Camera, str], None],
                 on_failure: Callable[[Camera, str], None]) -> None:
        self.segmenter = Segmenter(**segmenter_arguments(values))
        self._on_malformed = on_malformed
        self._on_failure = on_failure
        self._options = self.prepare(values)
        self._worker: LatestWorker[_Job] = LatestWorker(self._process, 'inference')

    @property
    def options(self) -> Options:
        """What the next frame is segmented with."""
        return self._options

    def prepare(self, values: dict[str, Any]) -> Options:
        """
        Check the live parameters and load what they name; change nothing.

        Raises:
            ModelError: if the refiner cannot be loaded.
            ValueError: for a value that cannot be used, such as a class that the model lacks.
        """
        return Options(
            self.segmenter.prepare(**live_arguments(values)), values['mask_encoding'],
            values['jpeg_quality'])

    def apply(self, options: Options) -> None:
        """Use the options from the next frame on."""
        self._options = options

    def submit(self, camera: Camera, message: Any) -> None:
        """Segment a camera's image when its turn comes, unless a newer one replaces it."""
        if self._worker.submit(camera, _Job(message, camera)) is not None:
            camera.statistics.count('dropped')

    def request(self, message: Image) -> Request:
        """Segment an image, wait for it and return the results; for one thread at a time."""
        request = Request(message)
        if self._worker.submit(_REQUESTS, _Job(message, request)) is not None:
            request.refuse(_UNLOADED)
        request.done.wait()
        return request

    def discard(self, camera: Camera) -> None:
        """Drop the frame of a camera that waits."""
        if self._worker.discard(camera) is not None:
            camera.statistics.count('dropped')

    def stop(self, timeout: float | None = None) -> bool:
        """
        Finish the frame in hand and end the thread.

        Args:
            timeout: seconds to wait for that frame; None waits as long as it takes.

        Returns:
            Whether it has ended.
        """
        ended = self._worker.stop(timeout)
        waiting = self._worker.discard(_REQUESTS)
        if waiting is not None and isinstance(waiting.source, Request):
            waiting.source.refuse(_UNLOADED)
        return ended

    def _process(self, job: _Job) -> None:
        if isinstance(job.source, Request):
            self._answer(job.source)
        else:
            self._process_frame(job.source, job.message)

    def _process_frame(self, camera: Camera, message: Any) -> None:
        try:
            frame = Frame(message, camera.wanted(), self._options)
            if not frame.wanted:
                return
            self._segment(frame)
            camera.publish(frame)
        except ImageError as error:
            self._on_malformed(camera, str(error))
        except Exception as error:  # the next image may well succeed
            self._on_failure(camera, f'{type(error).__name__}: {error}')

    def _segment(self, frame: Frame) -> None:
        decode(frame)
        detect(frame, self.segmenter)
        finish(frame, self.segmenter)

    def _answer(self, request: Request) -> None:
        try:
            frame = Frame(request.message, REQUESTED, self._options)
            self._segment(frame)
            request.results = dict(encode(frame))
            request.done.set()
        except ImageError as error:
            request.refuse(f'image: {error}')
        except Exception as error:  # whoever waits must hear of it
            request.refuse(f'{type(error).__name__}: {error}')
