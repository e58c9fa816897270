# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the command line does: images, a video, a camera."""

from __future__ import annotations

import argparse
import contextlib
import glob
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros.cli.media import VideoSink, VideoSource, Window, has_display
from instance_seg_ros.cli.models import convert_model
from instance_seg_ros.cli.options import LIBRARY_SETTINGS
from instance_seg_ros.cli.report import CocoResults, ImageTable, Tally, image_ids
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ImageError, ModelError
from instance_seg_ros.images import SUFFIXES, read_image
from instance_seg_ros.installed import find_shared
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmenter import Segmenter

DONE, SOME_SKIPPED = 0, 1


class CommandError(Exception):
    """The command cannot be carried out; the message is the one line that the user gets."""


def run(options: argparse.Namespace) -> int:
    """Carry out the command of some parsed options; see make_parser.

    Returns:
        The exit code: 0, or 1 where images were skipped.

    Raises:
        CommandError: an input is bad, or an output cannot be written.
        KeyboardInterrupt: ended by the user; what was found until then is written.
    """
    _silence_opencv()
    commands = {'demo': _run_demo, 'image': _run_images, 'video': _run_video, 'camera': _run_camera}
    try:
        if options.command == 'models':
            return convert_model(options)
        _check_options(options)
        return commands[options.command](options)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f'{error.filename}: {error.strerror}') from None
    except (ImageError, ModelError) as error:
        raise CommandError(str(error)) from None


def _silence_opencv() -> None:
    """Leave it to this command to say what is wrong with a file."""
    if hasattr(cv2, 'setLogLevel'):  # until OpenCV 4.12; then it moved to a module
        cv2.setLogLevel(0)
    else:
        log: Any = getattr(cv2.utils, 'logging', None)
        log.setLogLevel(log.LOG_LEVEL_SILENT)


def _check_options(options: argparse.Namespace) -> None:
    """Find before hours of work what would fail after them."""
    if not 0 <= options.alpha <= 1:
        raise CommandError(f'--alpha is {options.alpha}: expected a number from 0 to 1')
    if options.output.exists() and not options.output.is_dir():
        raise CommandError(f'--output {options.output}: is a file; expected the name of a folder')
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        if options.json.is_dir():
            raise CommandError(f'--json {options.json}: is a folder; expected the name of a file')
    elif getattr(options, 'coarse', False):
        raise CommandError('--coarse adds to the COCO results: give --json FILE, too')


def _make_segmenter(options: argparse.Namespace) -> Segmenter:
    given = vars(options)
    settings = {each.name: given[each.name] for each in LIBRARY_SETTINGS if each.name in given}
    try:
        return Segmenter(**settings)
    except (RuntimeError, ValueError) as error:  # ModelError is a RuntimeError
        raise CommandError(str(error)) from None


def _make_window(options: argparse.Namespace) -> Window | None:
    wanted = sys.stdout.isatty() if options.show is None else options.show
    if wanted and has_display():
        return Window('instance-seg')
    if options.show:
        raise CommandError(
            '--show: OpenCV can open no window here (is DISPLAY set? is this '
            'opencv-contrib-python, not a headless one?). Leave --show out'
        )
    return None


# ---- images
def _run_demo(options: argparse.Namespace) -> int:
    try:
        photos = find_shared('demo/photos')
    except FileNotFoundError as error:
        raise CommandError(str(error)) from None
    options.source = [str(photos)]
    return _run_images(options)


def _run_images(options: argparse.Namespace) -> int:
    paths = _find_images(options.source)
    targets = dict(zip(paths, _targets(paths, options.output), strict=True))
    window = _make_window(options)
    segmenter = _make_segmenter(options)
    results = CocoResults(segmenter.class_names)
    with _write_at_the_end(results, options.json):
        return _ImageRun(options, targets, segmenter, results, window).run()


class _ImageRun:
    """Segments image files one after the other.

    Args:
        options: of the command line.
        targets: each image with the file that its annotated copy goes to.
        segmenter, results, window: what the images go through.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        targets: dict[Path, Path],
        segmenter: Segmenter,
        results: CocoResults,
        window: Window | None,
    ) -> None:
        self._options, self._targets, self._segmenter = options, targets, segmenter
        self._results, self._window = results, window
        self._names = {
            path: str(target.relative_to(options.output).with_name(path.name))
            for path, target in targets.items()
        }
        self._table = ImageTable(self._names.values(), segmenter.class_names.values())
        self._done = self._skipped = self._found = 0

    def run(self) -> int:
        """Return the exit code; raises ImageError where the only image cannot be segmented."""
        started = time.monotonic()
        paths = list(self._targets)
        alone = len(paths) == 1
        bar = tqdm(paths, unit='image', disable=True if alone else None)
        for path, image_id in zip(bar, image_ids(paths), strict=True):
            try:
                image, instances = _segment_file(self._segmenter, path)
            except ImageError as error:
                if alone:
                    raise
                self._skipped += 1
                bar.write(f'instance-seg: warning: skipped {error}', file=sys.stderr)
                continue
            bar.write(self._table.lines(self._names[path], instances))
            if not self._put(path, image_id, image, instances, last=path == paths[-1]):
                break
        bar.close()
        return self._sum_up(time.monotonic() - started)

    def _put(
        self,
        path: Path,
        image_id: int,
        image: NDArray[np.uint8],
        instances: Instances,
        *,
        last: bool,
    ) -> bool:
        """Write and show one result; return False once the user wants to end."""
        drawn = draw_instances(image, instances, self._options.alpha)
        _write_image(self._targets[path], drawn)
        if self._options.json is not None:
            self._results.add(instances, image_id, self._names[path], coarse=self._options.coarse)
        self._done += 1
        self._found += len(instances)
        return self._window is None or self._window.show(drawn, wait=last)

    def _sum_up(self, seconds: float) -> int:
        print(
            f'{_plural(self._done, "image")}, {_plural(self._found, "instance")}, '
            f'{self._done / seconds:.1f} images/s; annotated in {self._options.output}'
        )
        if not self._skipped:
            return DONE
        print(
            f'instance-seg: warning: {self._skipped} of {_plural(len(self._targets), "image")} '
            'could not be read and were skipped',
            file=sys.stderr,
        )
        return SOME_SKIPPED


def _segment_file(segmenter: Segmenter, path: Path) -> tuple[NDArray[np.uint8], Instances]:
    image = read_image(path)
    try:
        return image, segmenter(image)
    except ImageError as error:
        raise ImageError(f'{path}: {error}') from None


def _find_images(sources: Sequence[str]) -> list[Path]:
    """Return the image files that paths, folders and patterns stand for, each once."""
    found = [path for source in sources for path in _matching(source)]
    return list(dict.fromkeys(found))


def _matching(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        images = _images(path.iterdir())
        if not images:
            raise CommandError(f'{source}: no image in this folder. Expected {" ".join(SUFFIXES)}')
        return images
    if path.exists():
        return [path]
    images = _images(Path(match) for match in glob.glob(str(path), recursive=True))
    if not images:
        what = (
            'no image matches this pattern'
            if glob.has_magic(source)
            else ('no such file or folder')
        )
        raise CommandError(f'{source}: {what}')
    return images


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())


def _targets(paths: list[Path], output: Path) -> list[Path]:
    """Return where each annotated image goes: by its name, and its folder where there are many."""
    parents = [path.absolute().parent for path in paths]
    common = os.path.commonpath(parents)
    targets = []
    for path, parent in zip(paths, parents, strict=True):
        name = path.name if path.suffix.lower() in SUFFIXES else f'{path.name}.png'
        target = output / parent.relative_to(common) / name
        _check_not_the_same(path, target)
        targets.append(target)
    return targets


def _check_not_the_same(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        raise CommandError(
            f'{source}: would be overwritten by its annotated copy; give another --output'
        )


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


# ---- videos and cameras
def _run_video(options: argparse.Namespace) -> int:
    path = Path(options.source).expanduser()
    if not path.is_file():
        raise CommandError(f'{path}: no such file. Expected a video')
    target = options.output / f'{path.stem}.mp4'
    _check_not_the_same(path, target)
    with contextlib.closing(VideoSource(str(path), str(path))) as source:
        return _run_frames(options, source, target, live=False)


def _run_camera(options: argparse.Namespace) -> int:
    number = int(options.source) if options.source.isdecimal() else None
    name = f'camera {options.source}'
    device = Path(f'/dev/video{number}')
    if number is not None and sys.platform == 'linux' and not device.exists():
        known = ', '.join(sorted(str(p) for p in Path('/dev').glob('video*'))) or 'none'
        raise CommandError(f'{name}: there is no {device}. Cameras here: {known}')
    target = options.output / f'camera_{time.strftime("%Y%m%d_%H%M%S")}.mp4'
    camera = options.source if number is None else number
    with contextlib.closing(VideoSource(camera, name)) as source:
        return _run_frames(options, source, target, live=True)


def _run_frames(
    options: argparse.Namespace, source: VideoSource, target: Path, *, live: bool
) -> int:
    window = _make_window(options)
    segmenter = _make_segmenter(options)
    target.parent.mkdir(parents=True, exist_ok=True)
    results, tally = CocoResults(segmenter.class_names), Tally()
    with _write_at_the_end(results, options.json), _tally_at_the_end(tally, target):
        with VideoSink(target, source.fps) as sink:
            _process_frames(options, source, segmenter, sink, results, tally, window, live=live)
    return DONE


def _process_frames(
    options: argparse.Namespace,
    source: VideoSource,
    segmenter: Segmenter,
    sink: VideoSink,
    results: CocoResults,
    tally: Tally,
    window: Window | None,
    *,
    live: bool,
) -> None:
    known = [count for count in (options.max_frames, source.frame_count) if count is not None]
    frames = itertools.islice(source, options.max_frames)
    bar = tqdm(frames, unit='frame', total=min(known, default=None), disable=None)
    started = time.monotonic()
    # A live image is answered at once; a file's next frame can be in the network already.
    segmented = ((frame, segmenter(frame)) for frame in bar) if live else segmenter.stream(bar)
    for number, (frame, instances) in enumerate(segmented):
        drawn = draw_instances(frame, instances, options.alpha)
        # A camera's video plays as fast as things happened, whatever the segmenter's speed.
        sink.write(drawn, time.monotonic() - started if live else None)
        tally.add(instances)
        if options.json is not None:
            results.add(instances, number)
        if window is not None and not window.show(drawn):
            break
    bar.close()


@contextlib.contextmanager
def _tally_at_the_end(tally: Tally, target: Path) -> Iterator[None]:
    """Print the table, also when the user interrupts."""
    started = time.monotonic()
    try:
        yield
    finally:
        if tally.frames:
            rate = tally.frames / (time.monotonic() - started)
            print(tally.table())
            print(f'{_plural(tally.frames, "frame")}, {rate:.1f} frames/s; annotated in {target}')


@contextlib.contextmanager
def _write_at_the_end(results: CocoResults, path: Path | None) -> Iterator[None]:
    """Write the COCO results, also when the user interrupts."""
    try:
        yield
    finally:
        if path is not None:
            results.write(path)


def _plural(count: int, noun: str) -> str:
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'
