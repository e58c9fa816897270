# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg bag``."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from instance_seg_ros.bags import HOW_TO_INSTALL
from instance_seg_ros.cli.bag_output import BagOutput
from instance_seg_ros.cli.console import CommandError, Console, plural
from instance_seg_ros.cli.journal import about_file, run_identity
from instance_seg_ros.cli.outputs import place_of
from instance_seg_ros.cli.report import Tally
from instance_seg_ros.paths import given_path
from instance_seg_ros.segmenter import Segmenter

if TYPE_CHECKING:
    from instance_seg_ros.bags.journal import Journal
    from instance_seg_ros.bags.reader import BagReader, Window

DONE, SOME_SKIPPED = 0, 1


def run_bag(options: argparse.Namespace, console: Console, load: Callable[[], Segmenter]) -> int:
    """Segment the images of a bag and write another bag.

    Args:
        options: of the command line.
        console: what is printed.
        load: called once all is known to be in order.

    Returns:
        The exit code.

    Raises:
        CommandError: rosbags is missing, or one of the bags cannot be used.

    """
    try:
        from instance_seg_ros.bags.errors import BagError
        from instance_seg_ros.bags.messages import make_typestore
        from instance_seg_ros.bags.reader import BagReader, bag_files
    except ImportError as error:
        raise CommandError(f'bags need two more packages ({error}): {HOW_TO_INSTALL}') from None
    source = given_path(options.source)
    try:
        files = bag_files(source)
        output = BagOutput(options.out, source, files, overwrite=options.overwrite)
        typestore = make_typestore()
        with BagReader(source, typestore) as reader:
            return _BagRun(options, console, reader, output, typestore).run(load)
    except BagError as error:
        raise CommandError(str(error)) from None


class _BagRun:
    """What goes through a run over a bag."""

    def __init__(
        self,
        options: argparse.Namespace,
        console: Console,
        reader: BagReader,
        output: BagOutput,
        typestore: Any,
    ) -> None:
        from instance_seg_ros.bags.run import OutputChoice

        self._options, self._console, self._output = options, console, output
        self._reader, self._typestore = reader, typestore
        self._topic = reader.image_topic(options.topic)
        self._window: Window = reader.window(options.start, options.duration)
        self._choice = OutputChoice(
            options.mask_encoding, options.debug_image, options.jpeg_quality
        )
        self._tally = Tally()

    def run(self, load: Callable[[], Segmenter]) -> int:
        """Segment what an earlier run has not done, and write the bag once all is done."""
        from instance_seg_ros.bags.journal import Journal

        self._output.begin()
        with contextlib.closing(Journal(self._output.journal, self._identity())) as journal:
            self._say_what_is_done(journal)
            try:
                self._segment(load, journal)
            except KeyboardInterrupt:
                self._console.say(
                    f'{plural(journal.done, "frame")} done; the same command goes on with the rest'
                )
                raise
            self._write(journal)
            skipped, done = journal.skipped, journal.done
        self._output.finish()
        self._console.say(
            f'{plural(done - skipped, "frame")} of {self._topic} in {self._output.path}'
        )
        if skipped:
            self._console.warn(f'{skipped} of {plural(done, "image")} could not be used')
        return SOME_SKIPPED if skipped else DONE

    def _identity(self) -> str:
        """Return all that decides about the results, as text."""
        files = [(str(place_of(path)), about_file(path)) for path in self._reader.files]
        return run_identity(self._options, [self._topic, *files])

    def _say_what_is_done(self, journal: Journal) -> None:
        if journal.done:
            self._console.say(
                f'{plural(journal.done, "frame")} were done before this command was ended; it '
                'goes on with the others'
            )

    def _segment(self, load: Callable[[], Segmenter], journal: Journal) -> None:
        from instance_seg_ros.bags.messages import MessageFactory
        from instance_seg_ros.bags.run import BagSegmentation

        every = self._options.every
        images = self._reader.images(self._topic, self._window, every, skip=journal.done)
        total = max(0, self._reader.count(self._topic, self._window, every) - journal.done)
        factory = MessageFactory(self._typestore)
        run = BagSegmentation(load(), factory, journal, self._choice, self._console.warn)
        started, before = time.monotonic(), journal.done
        with contextlib.closing(self._console.bar(run.run(images), 'frame', total)) as bar:
            for instances in bar:
                self._tally.add(instances)
        if not journal.done:
            raise CommandError(
                f'{self._reader.path}: {self._topic} has no images between --start and the end'
            )
        if self._tally.frames:
            rate = self._tally.frames / (time.monotonic() - started)
            self._console.say(self._tally.table())
            self._console.say(f'{plural(journal.done - before, "frame")}, {rate:.1f} frames/s')

    def _write(self, journal: Journal) -> None:
        from instance_seg_ros.bags.writer import write_bag

        prefix = self._options.name.rstrip('/')
        topics = {name: f'{prefix}/{name}' for name in self._choice.names()}
        kept = None
        if self._options.keep_input:
            kept = self._reader, self._window
            lost = sorted(set(topics.values()) & set(self._reader.topics))
            if lost:
                self._console.warn(
                    f'not copied from the input: {", ".join(lost)}; what this command found takes '
                    'that place. --name gives it another'
                )
        with self._output.writing() as folder:
            write_bag(
                folder, self._options.storage, self._typestore, topics, journal.messages(), kept
            )
