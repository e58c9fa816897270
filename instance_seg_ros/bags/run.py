# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From the images of a bag to the messages of a journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.bags.journal import Journal
from instance_seg_ros.bags.messages import MessageFactory, to_bgr8
from instance_seg_ros.bags.reader import BagImage
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError
from instance_seg_ros.instances import Instances
from instance_seg_ros.output_names import DEBUG_IMAGE, DEBUG_JPEG, DETECTIONS, MASKS
from instance_seg_ros.segmenter import Segmenter

COMPRESSED, RAW, NONE = 'compressed', 'raw', 'none'
DEBUG_IMAGES = (COMPRESSED, RAW, NONE)


@dataclass(frozen=True)
class OutputChoice:
    """Which messages are made.

    Attributes:
        mask_encoding: one of MASK_ENCODINGS.
        debug_image: one of DEBUG_IMAGES.
        jpeg_quality: of the compressed one, 1 to 100.
    """

    mask_encoding: str
    debug_image: str
    jpeg_quality: int

    def names(self) -> tuple[str, ...]:
        """Return the names of the outputs, in the order in which they are written."""
        debug = {COMPRESSED: (DEBUG_JPEG,), RAW: (DEBUG_IMAGE,), NONE: ()}[self.debug_image]
        return (DETECTIONS, MASKS, *debug)


@dataclass(frozen=True)
class _Waiting:
    """A frame whose results are awaited, or one that cannot be used, and why."""

    timestamp: int
    header: Any
    problem: str = ''


class BagSegmentation:
    """Segments images and writes the results to a journal, in the images' order.

    Args:
        segmenter: in use.
        factory: builds the messages.
        journal: gets each frame once.
        choice: of the outputs.
        on_skipped: called with the problem of each frame that cannot be used.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        factory: MessageFactory,
        journal: Journal,
        choice: OutputChoice,
        on_skipped: Callable[[str], None],
    ) -> None:
        self._segmenter, self._factory, self._journal = segmenter, factory, journal
        self._choice, self._on_skipped = choice, on_skipped
        self._waiting: deque[_Waiting] = deque()

    def run(self, images: Iterable[BagImage]) -> Iterator[Instances]:
        """Segment the images; those that cannot be used are skipped.

        Yields:
            What was found in each frame, once it is in the journal.

        Raises:
            BagError: the bag is damaged, or the journal cannot be written.

        """
        for image, instances in self._segmenter.stream(self._decoded(images)):
            self._skip_unusable()
            frame = self._waiting.popleft()
            self._journal.add(frame.timestamp, self._messages(image, instances, frame.header))
            yield instances
        self._skip_unusable()

    def _decoded(self, images: Iterable[BagImage]) -> Iterator[NDArray[np.uint8]]:
        for each in images:
            header = self._factory.header(each.message)
            try:
                pixels = to_bgr8(each.message, each.message_type)
            except ImageError as error:
                self._waiting.append(_Waiting(each.timestamp, header, str(error)))
                continue
            self._waiting.append(_Waiting(each.timestamp, header))
            yield pixels

    def _skip_unusable(self) -> None:
        while self._waiting and self._waiting[0].problem:
            frame = self._waiting.popleft()
            self._journal.skip(frame.timestamp, frame.problem)
            stamp = frame.header.stamp
            self._on_skipped(
                f'skipped the image of stamp {stamp.sec}.{stamp.nanosec:09}: {frame.problem}'
            )

    def _messages(
        self, image: NDArray[np.uint8], instances: Instances, header: Any
    ) -> dict[str, bytes]:
        factory, choice = self._factory, self._choice
        messages = {
            DETECTIONS: factory.detections(instances, header),
            MASKS: factory.instance_masks(instances, header, choice.mask_encoding),
        }
        if choice.debug_image == NONE:
            return messages
        drawn = draw_instances(image, instances)
        if choice.debug_image == RAW:
            messages[DEBUG_IMAGE] = factory.debug_image(drawn, header)
        else:
            try:
                messages[DEBUG_JPEG] = factory.debug_jpeg(drawn, header, choice.jpeg_quality)
            except ImageError as error:  # the other outputs go on
                stamp = header.stamp
                self._on_skipped(
                    f'no {DEBUG_JPEG} of the image of stamp {stamp.sec}.{stamp.nanosec:09}: {error}'
                )
        return messages
