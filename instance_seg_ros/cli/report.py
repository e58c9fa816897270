# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found, as tables for people and as COCO results for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instance_seg_ros.instances import Instances


class ImageTable:
    """Lines of a table with a row for each instance; they come one image at a time.

    Args:
        files: names of all images.
        classes: names of all classes.
    """

    def __init__(self, files: Iterable[str], classes: Iterable[str]) -> None:
        self._file = max(len(name) for name in ('image', *files))
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
            return f'nothing found in {self.frames} frames'
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


class CocoResults:
    """Collects COCO results: a list of dictionaries, as pycocotools' loadRes reads it.

    Args:
        class_names: class id to name. COCO numbers its categories from 1, models from 0.
    """

    def __init__(self, class_names: Mapping[int, str]) -> None:
        self._categories = {class_id: class_id + 1 for class_id in class_names}
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        instances: Instances,
        image_id: int,
        file_name: str | None = None,
        *,
        coarse: bool = False,
    ) -> list[dict[str, Any]]:
        """Add the instances of one image, and return their rows.

        Args:
            instances: to add.
            image_id: COCO id of the image.
            file_name: added to each row, beyond what COCO wants.
            coarse: also add the mask head's probabilities as ``coarse_mask``, M rows of M numbers.
        """
        rows = instances.to_coco(image_id, self._categories)
        for i, row in enumerate(rows):
            row['category_name'] = instances.class_names[i]
            if file_name is not None:
                row['file_name'] = file_name
            if coarse and instances.coarse is not None:
                row['coarse_mask'] = [
                    [round(value, 4) for value in line] for line in instances.coarse[i].tolist()
                ]
        self._rows += rows
        return rows

    def add_rows(self, rows: Iterable[dict[str, Any]], image_id: int) -> None:
        """Add rows of an earlier run, under this COCO id of their image."""
        self._rows += [row | {'image_id': image_id} for row in rows]

    def text(self) -> str:
        """Return the file's content: JSON, in ASCII."""
        return json.dumps(self._rows)


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Return the number that each file is named by, as COCO's are; else its position from 1."""
    if all(path.stem.isdecimal() for path in paths):
        numbers = [int(path.stem) for path in paths]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))
