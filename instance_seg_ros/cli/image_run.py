# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg image``."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros import __version__
from instance_seg_ros.cli.console import Console, plural
from instance_seg_ros.cli.journal import Journal
from instance_seg_ros.cli.outputs import Outputs, place_of, targets_in
from instance_seg_ros.cli.report import CocoResults, ImageTable, image_ids
from instance_seg_ros.cli.results import write_at_the_end
from instance_seg_ros.cli.sources import describe, find_images
from instance_seg_ros.cli.window import Window
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import SUFFIXES, read_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmenter import Segmenter

DONE, SOME_SKIPPED = 0, 1

# What does not decide about the results of a run.
_OF_NO_MATTER = ('source', 'output', 'show', 'quiet', 'overwrite', 'num_threads', 'low_memory')


def run_images(
    options: argparse.Namespace,
    console: Console,
    outputs: Outputs,
    load: Callable[[], tuple[Segmenter, Window | None]],
) -> int:
    """Segment image files one after the other.

    Args:
        options: of the command line.
        console, outputs: what is printed and written.
        load: called once all is known to be in order.

    Returns:
        The exit code.

    """
    sources, left_out = find_images(options.source)
    if left_out:
        console.warn(describe(left_out))
    names = [p.name if p.suffix.lower() in SUFFIXES else f'{p.name}.png' for p in sources]
    targets = targets_in(options.output, sources, names)
    outputs.add_sources(sources)
    with contextlib.closing(Journal(options.output, _identity(options))) as journal:
        done = {}
        for source, target in zip(sources, targets, strict=True):
            rows = journal.rows(source, target)
            if rows is not None:
                done[source] = rows
                outputs.own([target])
            outputs.plan(target, str(source))
        if options.json is not None and journal.owns(options.json):
            outputs.own([options.json])
        outputs.begin(options.json, [target.parent for target in targets])
        segmenter, window = load()
        run = _ImageRun(options, sources, targets, console, outputs, journal, segmenter, window)
        return run.run(done)


def _identity(options: argparse.Namespace) -> str:
    """Return all that decides about the results, as text."""
    chosen = {key: str(value) for key, value in vars(options).items() if key not in _OF_NO_MATTER}
    places = [str(place_of(Path(source).expanduser())) for source in options.source]
    return json.dumps([__version__, chosen, places], sort_keys=True)


class _ImageRun:
    """What goes through a run over images; see run_images."""

    def __init__(
        self,
        options: argparse.Namespace,
        sources: list[Path],
        targets: list[Path],
        console: Console,
        outputs: Outputs,
        journal: Journal,
        segmenter: Segmenter,
        window: Window | None,
    ) -> None:
        self._options, self._console, self._outputs = options, console, outputs
        self._sources, self._journal = sources, journal
        self._targets = dict(zip(sources, targets, strict=True))
        self._segmenter, self._window = segmenter, window
        self._names = {
            source: str(target.relative_to(options.output).with_name(source.name))
            for source, target in self._targets.items()
        }
        self._results = CocoResults(segmenter.class_names)
        self._table = ImageTable(self._names.values(), segmenter.class_names.values())
        self._done = self._skipped = self._found = 0

    def run(self, done: dict[Path, list]) -> int:
        """Segment all but those that are done.

        Raises:
            ImageError: the only image cannot be segmented.

        """
        if done:
            self._console.say(
                f'{len(done)} of {plural(len(self._sources), "image")} were done before this '
                'command was ended; it goes on with the others'
            )
        ended = False
        with write_at_the_end(self._results, self._options.json, self._outputs, self._journal):
            started = time.monotonic()
            bar = self._console.bar(self._sources, 'image')
            for source, image_id in zip(bar, image_ids(self._sources), strict=True):
                if source in done:
                    self._results.add_rows(done[source], image_id)
                elif not self._segment(source, image_id):
                    ended = True  # by the user, in the window
                    break
            bar.close()
            self._sum_up(time.monotonic() - started)
        if not ended:
            self._journal.remove()
        return SOME_SKIPPED if self._skipped else DONE

    def _segment(self, source: Path, image_id: int) -> bool:
        """Segment, write and show an image; return False once the user wants to end."""
        try:
            image, instances = _segment_file(self._segmenter, source)
            drawn = draw_instances(image, instances, self._options.alpha)
            content = _encoded(source, self._targets[source].suffix, drawn)
        except ImageError as error:
            if len(self._sources) == 1:
                raise
            self._skipped += 1
            self._console.warn(f'skipped {error}')
            return True
        self._console.say(self._table.lines(self._names[source], instances))
        self._write(source, content, instances, image_id)
        self._done += 1
        self._found += len(instances)
        last = source == self._sources[-1]
        return self._window is None or self._window.show(drawn, wait=last)

    def _write(self, source: Path, content: bytes, instances: Instances, image_id: int) -> None:
        rows = []
        if self._options.json is not None:
            rows = self._results.add(
                instances, image_id, self._names[source], coarse=self._options.coarse
            )
        target = self._targets[source]
        with self._outputs.open(target) as beside:
            beside.write_bytes(content)
            if len(self._sources) > 1:
                self._journal.add(source, beside, rows)

    def _sum_up(self, seconds: float) -> None:
        self._console.say(
            f'{plural(self._done, "image")}, {plural(self._found, "instance")}, '
            f'{self._done / seconds:.1f} images/s; annotated in {self._options.output}'
        )
        if self._skipped:
            self._console.warn(
                f'{self._skipped} of {plural(len(self._sources), "image")} '
                'could not be read and were skipped'
            )


def _segment_file(segmenter: Segmenter, path: Path) -> tuple[NDArray[np.uint8], Instances]:
    image = read_image(path)
    try:
        return image, segmenter(image)
    except ImageError as error:
        raise ImageError(f'{path}: {error}') from None


def _encoded(source: Path, suffix: str, image: NDArray[np.uint8]) -> bytes:
    try:
        done, content = cv2.imencode(suffix, image)
    except cv2.error:
        done = False
    if not done:
        height, width = image.shape[:2]
        raise ImageError(f'{source}: an image of {width}x{height} cannot be written as {suffix}')
    return content.tobytes()
