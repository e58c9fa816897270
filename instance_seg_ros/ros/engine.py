# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The model and the threads that use it, for the cameras and for single requests in turn."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sensor_msgs.msg import Image

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.camera import Camera
from instance_seg_ros.ros.frames import DEBUG_JPEG, OUTPUTS, Frame, Options, decode, detect, results
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

    def answer(self, results: dict[str, Any]) -> None:
        """End with results."""
        self.results = results
        self.done.set()

    def refuse(self, error: str) -> None:
        """End without results."""
        self.error = error
        self.done.set()


@dataclass(frozen=True)
class _Job:
    """An image and where it comes from."""

    message: Any
    source: 'Camera | Request'


_Detected = tuple[Frame, Camera | Request]


class Engine:
    """
    Loads the model, then segments in threads of its own.

    While a frame is in the box network, the one before gets its masks, is refined, drawn, encoded
    and published.

    Args:
        values: of all parameters.
        on_malformed: called in a thread with a camera and what is wrong with its image.
        on_failure: called in a thread with a camera and what went wrong with its frame.

    Raises:
        ModelError: if the model cannot be loaded.
        ValueError: for a parameter that cannot be used.
    """

    def __init__(
        self,
        values: dict[str, Any],
        on_malformed: Callable[[Camera, str], None],
        on_failure: Callable[[Camera, str], None],
    ) -> None:
        self.segmenter = Segmenter(**segmenter_arguments(values))
        self._on_malformed = on_malformed
        self._on_failure = on_failure
        self._options = self.prepare(values)
        self._request: Request | None = None
        self._worker: LatestWorker[_Job, _Detected] = LatestWorker(
            self._detect, self._finish, 'inference', values['parallel_nets']
        )

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
            self.segmenter.prepare(**live_arguments(values)),
            values['mask_encoding'],
            values['jpeg_quality'],
        )

    def apply(self, options: Options) -> None:
        """Use the options from the next frame on."""
        self.segmenter.apply(options.segmenter)
        self._options = options

    def submit(self, camera: Camera, message: Any) -> None:
        """Segment a camera's image when its turn comes, unless a newer one replaces it."""
        if self._worker.submit(camera, _Job(message, camera)) is not None:
            camera.statistics.count('dropped')

    def request(self, message: Image) -> Request:
        """Segment an image, wait for it and return the results; for one thread at a time."""
        request = self._request = Request(message)
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
        Finish the frames in hand and end the threads.

        Args:
            timeout: seconds to wait for them; None waits as long as it takes.

        Returns:
            Whether they have ended.
        """
        self._worker.refuse_more()
        # Whoever waits for an answer is let go at once, also while OpenCV is at work on it.
        if self._request is not None and not self._request.done.is_set():
            self._request.refuse(_UNLOADED)
        return self._worker.stop(timeout)

    # --- the two stages, each in whichever thread is free

    def _detect(self, job: _Job) -> _Detected | None:
        source = job.source
        wanted = REQUESTED if isinstance(source, Request) else source.wanted()
        frame = Frame(job.message, wanted, self._options)
        if not wanted:
            return None
        with self._told(source):
            decode(frame)
            detect(frame, self.segmenter)
            return frame, source
        return None

    def _finish(self, detected: _Detected) -> None:
        frame, source = detected
        with self._told(source):
            messages = results(frame, self.segmenter)
            if isinstance(source, Request):
                source.answer(dict(messages))
            else:
                source.publish(frame, messages)

    @contextmanager
    def _told(self, source: 'Camera | Request') -> Iterator[None]:
        """Tell whoever is concerned what went wrong: the next image may well succeed."""
        try:
            yield
        except ImageError as error:
            if isinstance(source, Request):
                source.refuse(f'image: {error}')
            else:
                self._on_malformed(source, str(error))
        except Exception as error:
            problem = f'{type(error).__name__}: {error}'
            if isinstance(source, Request):
                source.refuse(problem)
            else:
                self._on_failure(source, problem)
