# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found, as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from instance_seg_ros.cli.console import plural
from instance_seg_ros.instances import Instances

_WIDEST = 60  # column of file names; longer ones reach beyond it


class ImageTable:
    """Lines of a table with a row for each instance; they come one image at a time.

    Args:
        files: names of all images.
        classes: names of all classes.
    """

    def __init__(self, files: Iterable[str], classes: Iterable[str]) -> None:
        longest = max(map(len, files), default=0)
        self._file = min(max(longest, len('image')), _WIDEST)
        self._class = max(len(name) for name in ('class', *classes))

        self._started = False

    def lines(self, file: str, instances: Instances) -> str:
        """Return the lines of one image; those of the first begin with the heads of the columns."""
        lines = [] if self._started else [self._head()]
        self._started = True
        lines += [self._line(file, i, instance) for i, instance in enumerate(instances, 1)]
        if len(instances) == 0:
            lines.append(f'{file:{self._file}}    -  nothing found')
        return '\n'.join(lines)

    def _head(self) -> str:
        return (
            f'{"image":{self._file}}  {"#":>3}  {"class":{self._class}}  score  '
            f'{"x1":>6} {"y1":>6} {"x2":>6} {"y2":>6}  {"mask pixels":>11}'
        )

    def _line(self, file: str, number: int, instance: Instances) -> str:
        box = ' '.join(f'{value:6.0f}' for value in instance.boxes[0])
        area = int(instance.masks[0].sum()) if instance.masks is not None else 0
        return (
            f'{file:{self._file}}  {number:3}  {instance.class_names[0]:{self._class}}  '
            f'{instance.scores[0]:5.2f}  {box}  {area:11}'
        )


class Tally:
    """Counts what was found in the frames of a video."""

    def __init__(self) -> None:
        self.frames = 0
        self._instances: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._scores: Counter[str] = Counter()

    def add(self, instances: Instances) -> None:
        """Count one frame."""
        self.frames += 1
        here = Counter(instances.class_names)
        self._instances.update(here)
        self._frames.update(here.keys())
        self._most |= here
        for name, score in zip(instances.class_names, instances.scores, strict=True):
            self._scores[name] += float(score)  # type: ignore[assignment]

    def table(self) -> str:
        """Return a row for each class, the most frequent first."""
        if not self._instances:
            return f'nothing found in {plural(self.frames, "frame")}'
        width = max(len(name) for name in ('class', *self._instances))
        lines = [
            f'{"class":{width}}  {"instances":>9}  {"in frames":>9}  {"most at once":>12}  '
            'mean score'
        ]
        for name, count in self._instances.most_common():
            lines.append(
                f'{name:{width}}  {count:9}  {self._frames[name]:9}  '
                f'{self._most[name]:12}  {self._scores[name] / count:10.2f}'
            )
        return '\n'.join(lines)
