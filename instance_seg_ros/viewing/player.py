# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Segments the frames of a source as long as somebody looks, and puts the results on the board."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from instance_seg_ros.drawing import draw_instances, instance_colour
from instance_seg_ros.errors import ImageError
from instance_seg_ros.image_messages import encode_jpeg
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.tracking import InstanceTracker
from instance_seg_ros.viewing.board import Board
from instance_seg_ros.viewing.sources import Frame, Image, Notice, Source

_PAUSE = 0.5  # seconds without a browser that do not count as time of the film
_LATE = 0.1  # seconds after which a frame of a file is left out
_ROWS = 50  # of the table
_RATE_OVER = 10  # frames


class Player:
    """Shows a source on a board.

    Args:
        segmenter: in use.
        source: what is looked at.
        board: gets the pictures.
        tracker: gives ids; None for none.
        alpha: opacity of the overlay, 0 to 1.
        jpeg_quality: of the pictures, 1 to 100.

    """

    def __init__(
        self,
        segmenter: Segmenter,
        source: Source,
        board: Board,
        tracker: InstanceTracker | None = None,
        alpha: float = 0.5,
        jpeg_quality: int = 80,
    ) -> None:
        self._segmenter, self._source, self._board = segmenter, source, board
        self._tracker, self._alpha, self._jpeg_quality = tracker, alpha, jpeg_quality
        self._began: float | None = None  # when a frame of the stamp 0 would have been due
        self._ends: deque[float] = deque(maxlen=_RATE_OVER)
        self._shown = 0
        self._left_out, self._last_left_out = 0, ''

    def run(self) -> None:
        """Show all frames; return at the end of the source, or when the board is closed."""
        try:
            while not self._board.closed:
                self._wait_for_browsers()
                item = next(self._source.frames, None)
                if item is None:
                    break
                if isinstance(item, Notice):
                    self._board.say(item.text)
                elif self._in_time(item):
                    self._show(item)
        except Exception as error:
            # A damaged bag or video, or a model whose file has gone: the last picture stays.
            self._board.say(f'{self._source.name}: ended by an error: {error}', ended=True)
            raise
        text = f'The end of {self._source.name}: {self._shown} pictures'
        if self._left_out:
            text += f', {self._left_out} left out. {self._last_left_out}'
        self._board.say(text, ended=True)

    def _wait_for_browsers(self) -> None:
        pause = self._board.wait_until_watched()
        if pause > _PAUSE:
            self._ends.clear()
            if self._began is not None:
                self._began += pause

    def _in_time(self, frame: Frame) -> bool:
        """Wait until a frame of a file is due; False where it is too late and left out."""
        if self._source.live:
            return True
        now = time.monotonic()
        if self._began is None:
            self._began = now - frame.stamp
        late = now - self._began - frame.stamp
        if late < 0:
            time.sleep(-late)
        elif late > _LATE:
            if not self._source.keep_all:
                return False
            self._began += late
        return True

    def _show(self, frame: Frame) -> None:
        started = time.perf_counter()
        try:
            image = frame.read()
            read = time.perf_counter()
            instances = self._segmenter(image)
        except ImageError as error:
            self._leave_out(frame, error)
            return
        times = {'read': 1e3 * (read - started), **instances.timings}
        segmented = time.perf_counter()
        if self._tracker is not None:
            instances.track_ids = self._tracker.update(instances, frame.stamp)
            times['track'] = 1e3 * (time.perf_counter() - segmented)
        tracked = time.perf_counter()
        drawn = draw_instances(image, instances, self._alpha)
        try:
            jpeg = encode_jpeg(drawn, self._jpeg_quality).tobytes()
        except ImageError as error:  # too wide
            self._leave_out(frame, error)
            return
        ended = time.perf_counter()
        self._shown += 1
        self._ends.append(ended)
        times['draw'] = 1e3 * (ended - tracked)
        self._board.show(jpeg, self._facts(frame, image, instances, times))

    def _leave_out(self, frame: Frame, error: ImageError) -> None:
        self._left_out += 1
        self._last_left_out = f'{frame.name} is left out: {error}'
        self._board.say(self._last_left_out)

    def _facts(
        self, frame: Frame, image: Image, instances: Instances, times: dict[str, float]
    ) -> dict[str, Any]:
        age = None if frame.arrived is None else 1e3 * (time.monotonic() - frame.arrived)
        span = self._ends[-1] - self._ends[0]
        return {
            'frame': frame.name,
            'size': [image.shape[1], image.shape[0]],
            'shown': self._shown,
            'rate': (len(self._ends) - 1) / span if span else None,
            'age': age,
            'times': {name: round(value, 1) for name, value in times.items()},
            'count': len(instances),
            'instances': [_row(instances, i) for i in range(min(len(instances), _ROWS))],
            'notice': '',
            'ended': False,
        }


def _row(instances: Instances, i: int) -> dict[str, Any]:
    blue, green, red = instance_colour(instances, i)
    ids = instances.track_ids
    return {
        'name': instances.class_names[i],
        'id': None if ids is None else int(ids[i]),
        'score': round(float(instances.scores[i]), 3),
        'box': [round(float(value)) for value in instances.boxes[i]],
        'pixels': None if instances.masks is None else int(instances.masks[i].sum()),
        'colour': f'#{red:02x}{green:02x}{blue:02x}',
    }
