# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The model and the threads that use it, for the cameras and for single requests in turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.frames import Frame, NodeConfiguration, decode, detect, output_messages
from instance_seg_ros.ros.parameters import ParameterValues
from instance_seg_ros.ros.source import Request, Source
from instance_seg_ros.ros.worker import LatestWorker
from instance_seg_ros.segmenter import Segmenter


@dataclass(frozen=True)
class _Job:
    """An image message and where it comes from."""

    message: Any
    source: Source


class Engine:
    """Loads the model, then segments in threads of its own.

    While a frame is in the box network, the one before gets its masks, is refined, drawn, encoded
    and published.

    Args:
        values: of all parameters.

    Raises:
        ModelError: if the model cannot be loaded.
        ValueError: for a parameter that cannot be used.
    """

    def __init__(self, values: ParameterValues) -> None:
        self.segmenter = Segmenter(**values.segmenter_arguments())
        self._model_settings = values.model
        self._configuration = self.prepare(values)
        self._request: Request | None = None
        self._worker: LatestWorker[_Job, tuple[Frame, Source]] = LatestWorker(
            self._detect, self._finish, 'inference', values.model.parallel_nets
        )

    @property
    def configuration(self) -> NodeConfiguration:
        """What the next frame is segmented with."""
        return self._configuration

    def prepare(self, values: ParameterValues) -> NodeConfiguration:
        """Check the live parameters and load what they name; change nothing.

        Raises:
            ModelError: if the refiner cannot be loaded.
            ValueError: for a value that cannot be used, such as a class that the model lacks.
        """
        prepared = self.segmenter.prepare(**values.live_arguments())
        return NodeConfiguration(**vars(prepared), node=values.node)

    def is_to_be_replaced(self, values: ParameterValues) -> bool:
        """Whether the next configure is to load another model than this one."""
        return values.model != self._model_settings

    def apply(self, configuration: NodeConfiguration) -> None:
        """Use a configuration from the next frame on."""
        self.segmenter.apply(configuration)
        self._configuration = configuration

    def submit(self, source: Source, message: Any) -> None:
        """Segment an image when its turn comes, unless a newer one of its source replaces it."""
        dropped = self._worker.submit(source.key, _Job(message, source))
        if dropped is not None:
            dropped.source.drop()

    def request(self, message: Any) -> Request:
        """Segment an image, wait for it and return the messages; for one thread at a time."""
        request = self._request = Request()
        self.submit(request, message)
        request.wait()
        return request

    def discard(self, source: Source) -> None:
        """Drop the image of a source that waits."""
        if self._worker.discard(source.key) is not None:
            source.drop()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the frames in hand and end the threads.

        Args:
            timeout: seconds to wait for them; None waits as long as it takes.

        Returns:
            Whether they have ended.
        """
        self._worker.stop_accepting()
        # A caller that waits gets its answer now, even while OpenCV still works on the image.
        if self._request is not None:
            self._request.drop()
        return self._worker.stop(timeout)

    # --- the two stages, each in whichever thread is free

    def _detect(self, job: _Job) -> tuple[Frame, Source] | None:
        with self._errors_reported_to(job.source):
            wanted = job.source.wanted()
            if not wanted:
                return None
            frame = Frame(job.message, wanted, self._configuration, job.source.scene)
            decode(frame)
            detect(frame, self.segmenter)
            return frame, job.source
        return None

    def _finish(self, detected: tuple[Frame, Source]) -> None:
        frame, source = detected
        with self._errors_reported_to(source):
            source.deliver(frame, output_messages(frame, self.segmenter))

    @contextmanager
    def _errors_reported_to(self, source: Source) -> Iterator[None]:
        """Report an error to the source and go on: the next image may well succeed."""
        try:
            yield
        except ImageError as error:
            source.reject(str(error))
        except Exception as error:
            source.fail(f'{type(error).__name__}: {error}')
