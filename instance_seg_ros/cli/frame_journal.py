# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found in the frames of a video so far: a run that was killed need not look again.

Its video is gone, as a video without its end cannot be played; but finding takes most of the time,
and drawing again takes little.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.cli.journal import Journal
from instance_seg_ros.cli.places import OutputError
from instance_seg_ros.instances import Instances

_ARRAYS = ('boxes', 'scores', 'class_ids', 'rois', 'refined')


class FrameJournal:
    """The instances of frames, kept in a journal until the video is whole.

    It only saves time: where it cannot be written, the run goes on without it.

    Args:
        journal: of the run.

    Attributes:
        done: how many frames it had when it was opened.

    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.done = 0
        while self._journal.has_record(_name(self.done)):
            self.done += 1
        self._given_up = False
        self._owned: list[Path] = []

    def instances(self, number: int) -> Instances:
        """Return what was found in a frame that is done."""
        return _unpacked(self._journal.record(_name(number)))

    def add(self, number: int, instances: Instances) -> None:
        """Add a frame."""
        if self._given_up:
            return
        try:
            self._journal.add_record(_name(number), _packed(instances))
        except OutputError:  # a full disk: what room there is, is for the video
            self.give_up()

    def owns(self, file: Path) -> bool:
        """Whether this run wrote a file before it was ended, and it is as it was."""
        owned = self._journal.owns(file)
        if owned:
            self._owned.append(file)
        return owned

    def add_file(self, file: Path, finished: Path) -> None:
        """Note a file of results just before it is renamed."""
        with contextlib.suppress(OutputError):
            self._journal.add_file(file, finished)

    def remove(self) -> None:
        """All is done: the next run begins from the start."""
        self._journal.remove()

    def give_up(self) -> None:
        """Remove all frames: the next run begins from the start, and may replace the same files."""
        self._given_up = True
        self._journal.remove()
        for file in self._owned:
            self.add_file(file, file)


def _name(number: int) -> str:
    return f'frame {number}'


def _packed(instances: Instances) -> dict[str, Any]:
    """Return what JSON takes: numbers in full precision, masks as PNG of a bit a pixel."""
    packed: dict[str, Any] = {name: getattr(instances, name).tolist() for name in _ARRAYS}
    masks = instances.masks or []
    return packed | {
        'class_names': instances.class_names,
        'image_size': list(instances.image_size),
        'masks': [base64.b64encode(_png(mask)).decode('ascii') for mask in masks],
    }


def _unpacked(packed: dict[str, Any]) -> Instances:
    height, width = packed['image_size']
    return Instances(
        boxes=np.array(packed['boxes'], np.float32).reshape(-1, 4),
        scores=np.array(packed['scores'], np.float32),
        class_ids=np.array(packed['class_ids'], np.int32),
        class_names=packed['class_names'],
        rois=np.array(packed['rois'], np.int32).reshape(-1, 4),
        masks=[_mask(base64.b64decode(text)) for text in packed['masks']],
        refined=np.array(packed['refined'], bool),
        image_size=(height, width),
    )


def _png(mask: NDArray[np.uint8]) -> bytes:
    return cv2.imencode('.png', mask * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


def _mask(png: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    return (np.asarray(image) > 0).astype(np.uint8)
