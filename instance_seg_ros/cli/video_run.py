# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The commands ``instance-seg video`` and ``instance-seg camera``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.cli.console import CommandError, Console, plural
from instance_seg_ros.cli.frame_journal import FrameJournal
from instance_seg_ros.cli.journal import Journal, about_file, run_identity
from instance_seg_ros.cli.outputs import OutputError, Outputs, place_of
from instance_seg_ros.cli.report import Tally
from instance_seg_ros.cli.results import ResultFiles, result_files, results_wanted
from instance_seg_ros.cli.rows import rows_of
from instance_seg_ros.cli.video import VideoSink, VideoSource, check_size
from instance_seg_ros.cli.window import Window
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.instances import Instances
from instance_seg_ros.paths import given_path
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.tracking import InstanceTracker

Load = Callable[[], tuple[Segmenter, Window | None]]


def run_video(options: argparse.Namespace, console: Console, outputs: Outputs, load: Load) -> None:
    """Segment a video file; see run_images for the arguments."""
    path = given_path(options.source)
    if not path.is_file():
        raise CommandError(f'{path}: no such file. Expected a video')
    outputs.add_sources([path])
    target = options.output / f'{path.stem}.mp4'
    identity = run_identity(options, [place_of(path), about_file(path)])
    with (
        contextlib.closing(VideoSource(path, str(path))) as source,
        contextlib.closing(Journal(options.output, identity)) as journal,
    ):
        _VideoRun(options, console, outputs, source, target, FrameJournal(journal)).run(load)


def run_camera(options: argparse.Namespace, console: Console, outputs: Outputs, load: Load) -> None:
    """Segment a camera's picture; see run_images for the arguments."""
    number = int(options.source) if options.source.isdecimal() else None
    name = f'camera {options.source}'
    device = Path(f'/dev/video{number}')
    if number is not None and sys.platform == 'linux' and not device.exists():
        known = ', '.join(sorted(str(p) for p in Path('/dev').glob('video*'))) or 'none'
        raise CommandError(f'{name}: there is no {device}. Cameras here: {known}')
    target = options.output / f'camera_{time.strftime("%Y%m%d_%H%M%S")}.mp4'
    camera = options.source if number is None else number
    with contextlib.closing(VideoSource(camera, name)) as source:
        _VideoRun(options, console, outputs, source, target, None).run(load)


class _VideoRun:
    """What goes through a run over a video or camera."""

    def __init__(
        self,
        options: argparse.Namespace,
        console: Console,
        outputs: Outputs,
        source: VideoSource,
        target: Path,
        journal: FrameJournal | None,
    ) -> None:
        self._options, self._console, self._outputs = options, console, outputs
        self._source, self._target = source, target
        self._journal = journal  # a camera has none: its frames come once
        self._tracker = InstanceTracker() if options.track else None
        self._tally = Tally()
        self._wanted = results_wanted(options)
        self._results = ResultFiles(options, image=Path(str(options.source)).name)

    def run(self, load: Load) -> None:
        """Segment it to its end, or until the user ends it: then what there is is whole."""
        results = result_files(self._options)
        if self._journal is not None:
            for path in (self._target, *results.values()):
                if self._journal.owns(path):  # of a run that was ended
                    self._outputs.own([path])
        self._outputs.plan(self._target, str(self._options.source))
        self._outputs.begin(results)
        check_size(self._target, self._options.output, self._source.rate, self._source.size)
        segmenter, window = load()
        with self._results.writing(self._outputs, self._journal):
            self._write_video(segmenter, window)
        if self._journal is not None:
            self._journal.remove()

    def _write_video(self, segmenter: Segmenter, window: Window | None) -> None:
        interrupted: KeyboardInterrupt | None = None
        started = time.monotonic()
        replaces = self._target.exists()
        with self._outputs.open(self._target) as beside:
            sink = VideoSink(beside, self._source.rate, self._source.size)
            try:
                complete = self._write_frames(segmenter, window, sink)
            except KeyboardInterrupt as error:
                interrupted, complete = error, True
            if not complete and self._journal is not None:
                self._journal.give_up()  # the room is for the end of the video
            kept, given = sink.finish(self._source.seconds())
            complete = complete and kept == given
            if not kept and interrupted is not None:
                raise interrupted
            if not kept or (replaces and not complete):
                raise OutputError(
                    f'{self._target}: cannot be written to its end; is the disk full? Make room, '
                    'and give the same command again'
                )
            if self._journal is not None and (interrupted is not None or not complete):
                self._journal.add_file(self._target, beside)
        self._sum_up(time.monotonic() - started)
        if not complete:
            raise OutputError(
                f'{self._target}: the disk is full; it holds the first {kept} of '
                f'{self._source.frame_count or "more"} frames. Make room, and give the same '
                'command again'
            )
        if interrupted is not None:
            raise interrupted

    def _write_frames(self, segmenter: Segmenter, window: Window | None, sink: VideoSink) -> bool:
        """Return whether all that was wanted is written; else the disk is full."""
        limits = [self._options.max_frames, self._source.frame_count]
        total = min((limit for limit in limits if limit is not None), default=None)
        frames = itertools.islice(self._source, self._options.max_frames)
        with contextlib.closing(self._console.bar(frames, 'frame', total)) as bar:
            for number, (frame, instances) in enumerate(self._segmented(segmenter, bar)):
                stamp = self._source.stamps.popleft()
                if self._tracker is not None:
                    instances.track_ids = self._tracker.update(instances, stamp)
                drawn = draw_instances(frame, instances, self._options.alpha)
                sink.write(drawn, stamp)
                self._tally.add(instances)
                if self._wanted:
                    self._results.add(rows_of(instances, number, seconds=stamp))
                if not sink.has_room():
                    return False
                if window is not None and not window.show(drawn):
                    break
        return True

    def _segmented(
        self, segmenter: Segmenter, frames: Iterable[NDArray[np.uint8]]
    ) -> Iterator[tuple[NDArray[np.uint8], Instances]]:
        """Yield all frames with their instances, those of an earlier run from its journal."""
        if self._journal is None:  # a live image is answered at once
            yield from ((frame, segmenter(frame)) for frame in frames)
            return
        done = self._journal.done
        if done:
            self._console.say(
                f'{plural(done, "frame")} were done before this command was ended; they are only '
                'drawn again'
            )
        following = iter(frames)
        for number, frame in enumerate(itertools.islice(following, done)):
            yield frame, self._journal.instances(number)
        # The next frame of a file can be in the network already.
        for number, (frame, instances) in enumerate(segmenter.stream(following), done):
            self._journal.add(number, instances)
            yield frame, instances

    def _sum_up(self, seconds: float) -> None:
        count = self._tally.frames
        self._console.say(self._tally.table())
        self._console.say(
            f'{plural(count, "frame")}, {count / seconds:.1f} frames/s; annotated in {self._target}'
        )
