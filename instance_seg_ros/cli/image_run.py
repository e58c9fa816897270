# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg image``."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.cli.console import Console, escaped_line, plural
from instance_seg_ros.cli.image_outputs import ImageOutputs, encoded
from instance_seg_ros.cli.journal import Journal, run_identity
from instance_seg_ros.cli.outputs import Outputs, place_of
from instance_seg_ros.cli.report import ImageTable
from instance_seg_ros.cli.results import ResultFiles, result_files, results_wanted
from instance_seg_ros.cli.rows import Row, image_ids, rows_of
from instance_seg_ros.cli.sources import ImageFile, find_images
from instance_seg_ros.cli.targets import annotated_target
from instance_seg_ros.cli.window import Window
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import read_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.paths import given_path
from instance_seg_ros.segmenter import Segmenter

DONE, SOME_SKIPPED = 0, 1


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
    found = find_images(options.source, recursive=options.recursive, output=options.output)
    for warning in found.warnings():
        console.warn(warning)
    images = found.files
    outputs.add_sources(Path(image.path) for image in images)
    places = [place_of(given_path(source)) for source in options.source]
    with contextlib.closing(Journal(options.output, run_identity(options, places))) as journal:
        extras = ImageOutputs(options, outputs, journal)
        done = set()
        for position, image in enumerate(images):
            target = annotated_target(options.output, image)
            if journal.has(Path(image.path), target, extras.targets(image)):
                done.add(position)
                outputs.own([target, *extras.targets(image)])
            outputs.plan(target, image.path)
            extras.plan(image)
        results = result_files(options)
        outputs.own(path for path in results.values() if journal.owns(path))
        outputs.begin(results)
        segmenter, window = load()
        run = _ImageRun(options, images, console, outputs, journal, segmenter, window)
        code = run.run(done)
        return SOME_SKIPPED if found.unreadable else code


class _ImageRun:
    """What goes through a run over images; see run_images."""

    def __init__(
        self,
        options: argparse.Namespace,
        images: list[ImageFile],
        console: Console,
        outputs: Outputs,
        journal: Journal,
        segmenter: Segmenter,
        window: Window | None,
    ) -> None:
        self._options, self._console, self._outputs = options, console, outputs
        self._images, self._journal = images, journal
        self._segmenter, self._window = segmenter, window
        self._extras = ImageOutputs(options, outputs, journal)
        self._wanted = results_wanted(options)
        self._results = ResultFiles(options)
        names = (escaped_line(image.shown) for image in images)
        self._table = ImageTable(names, segmenter.class_names.values())
        self._done = self._skipped = self._found = 0

    def run(self, done: set[int]) -> int:
        """Segment all but those that are done, named by their positions.

        Raises:
            ImageError: the only image cannot be segmented.

        """
        if done:
            self._console.say(
                f'{len(done)} of {plural(len(self._images), "image")} were done before this '
                'command was ended; it goes on with the others'
            )
        ended = False
        with self._results.writing(self._outputs, self._journal):
            started = time.monotonic()
            bar = self._console.bar(self._images, 'image')
            ids = image_ids(self._images)
            for position, (image, image_id) in enumerate(zip(bar, ids, strict=True)):
                if position in done:
                    rows = self._journal.rows(Path(image.path))
                    self._results.add([row | {'image_id': image_id} for row in rows])
                elif not self._segment(image, image_id):
                    ended = True  # by the user, in the window
                    break
            bar.close()
            self._sum_up(time.monotonic() - started)
        if not ended:
            self._journal.remove()
        return SOME_SKIPPED if self._skipped else DONE

    def _segment(self, image: ImageFile, image_id: int) -> bool:
        """Segment, write and show an image; return False once the user wants to end."""
        target = annotated_target(self._options.output, image)
        try:
            pixels, instances = _segment_file(self._segmenter, image.path)
            drawn = draw_instances(pixels, instances, self._options.alpha)
            content = encoded(image.path, target.suffix, drawn)
        except ImageError as error:
            if len(self._images) == 1:
                raise
            self._skipped += 1
            self._console.warn(f'skipped {error}')
            return True
        self._console.say(self._table.lines(escaped_line(image.shown), instances))
        rows = self._rows(image, instances, image_id)
        self._extras.write(image, pixels, instances)
        with self._outputs.open(target) as beside:
            beside.write_bytes(content)
            if len(self._images) > 1:
                others = self._extras.targets(image)
                self._journal.add(Path(image.path), beside, rows, others)
        self._done += 1
        self._found += len(instances)
        last = image is self._images[-1]
        return self._window is None or self._window.show(drawn, wait=last)

    def _rows(self, image: ImageFile, instances: Instances, image_id: int) -> list[Row]:
        """Write the rows of an image, if anybody wants them, and return them."""
        if not self._wanted:
            return []
        coarse = self._options.coarse
        rows = rows_of(instances, image_id, file_name=image.shown, coarse=coarse)
        self._results.add(rows)
        return rows

    def _sum_up(self, seconds: float) -> None:
        self._console.say(
            f'{plural(self._done, "image")}, {plural(self._found, "instance")}, '
            f'{self._done / seconds:.1f} images/s; annotated in {self._options.output}'
        )
        if self._skipped:
            self._console.warn(
                f'{self._skipped} of {plural(len(self._images), "image")} '
                'could not be read and were skipped'
            )


def _segment_file(segmenter: Segmenter, path: str) -> tuple[NDArray[np.uint8], Instances]:
    image = read_image(path)
    try:
        return image, segmenter(image)
    except ImageError as error:
        raise ImageError(f'{path}: {error}') from None
