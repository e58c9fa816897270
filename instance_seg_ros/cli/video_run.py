# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The commands ``instance-seg video`` and ``instance-seg camera``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

from instance_seg_ros.cli.console import CommandError, Console, plural
from instance_seg_ros.cli.outputs import OutputError, Outputs
from instance_seg_ros.cli.report import Tally
from instance_seg_ros.cli.results import ResultFiles, result_files, results_wanted
from instance_seg_ros.cli.rows import rows_of
from instance_seg_ros.cli.video import VideoSink, VideoSource, check_size
from instance_seg_ros.cli.window import Window
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.tracking import InstanceTracker

Load = Callable[[], tuple[Segmenter, Window | None]]


def run_video(options: argparse.Namespace, console: Console, outputs: Outputs, load: Load) -> None:
    """Segment a video file; see run_images for the arguments."""
    path = Path(options.source).expanduser()
    if not path.is_file():
        raise CommandError(f'{path}: no such file. Expected a video')
    outputs.add_sources([path])
    target = options.output / f'{path.stem}.mp4'
    with contextlib.closing(VideoSource(path, str(path))) as source:
        _VideoRun(options, console, outputs, source, target, live=False).run(load)


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
        _VideoRun(options, console, outputs, source, target, live=True).run(load)


class _VideoRun:
    """What goes through a run over a video or camera."""

    def __init__(
        self,
        options: argparse.Namespace,
        console: Console,
        outputs: Outputs,
        source: VideoSource,
        target: Path,
        *,
        live: bool,
    ) -> None:
        self._options, self._console, self._outputs = options, console, outputs
        self._source, self._target, self._live = source, target, live
        self._tracker = InstanceTracker() if options.track else None
        self._tally = Tally()
        self._wanted = results_wanted(options)
        self._results = ResultFiles(options, image=Path(str(options.source)).name)

    def run(self, load: Load) -> None:
        """Segment it to its end, or until the user ends it: then what there is is whole."""
        self._outputs.plan(self._target, str(self._options.source))
        self._outputs.begin(result_files(self._options))
        check_size(self._target, self._options.output, self._source.rate, self._source.size)
        segmenter, window = load()
        with self._results.writing(self._outputs):
            self._write_video(segmenter, window)

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
            kept, given = sink.finish(self._source.seconds())
            complete = complete and kept == given
            if not kept and interrupted is not None:
                raise interrupted
            if not kept or (replaces and not complete):
                raise OutputError(
                    f'{self._target}: cannot be written to its end; is the disk full?'
                )
        self._sum_up(time.monotonic() - started)
        if not complete:
            raise OutputError(
                f'{self._target}: the disk is full; it holds the first {kept} of '
                f'{self._source.frame_count or "more"} frames'
            )
        if interrupted is not None:
            raise interrupted

    def _write_frames(self, segmenter: Segmenter, window: Window | None, sink: VideoSink) -> bool:
        """Return whether all that was wanted is written; else the disk is full."""
        limits = [self._options.max_frames, self._source.frame_count]
        total = min((limit for limit in limits if limit is not None), default=None)
        frames = itertools.islice(self._source, self._options.max_frames)
        with contextlib.closing(self._console.bar(frames, 'frame', total)) as bar:
            # A live image is answered at once; a file's next one can be in the network already.
            segmented = ((f, segmenter(f)) for f in bar) if self._live else segmenter.stream(bar)
            for number, (frame, instances) in enumerate(segmented):
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

    def _sum_up(self, seconds: float) -> None:
        count = self._tally.frames
        self._console.say(self._tally.table())
        self._console.say(
            f'{plural(count, "frame")}, {count / seconds:.1f} frames/s; annotated in {self._target}'
        )
