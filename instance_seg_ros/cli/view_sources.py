# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From the argument of ``instance-seg view`` to a source."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from instance_seg_ros.bags import BAG_SUFFIXES, HOW_TO_INSTALL
from instance_seg_ros.cli.console import CommandError, Console
from instance_seg_ros.cli.sources import find_images
from instance_seg_ros.cli.video import VideoSource
from instance_seg_ros.images import SUFFIXES
from instance_seg_ros.paths import given_path
from instance_seg_ros.viewing.sources import Camera, Image, Source, photos, recording

_TOPIC = 'topic:='
_NO_ROS = (
    'needs ROS 2 and this package built in a workspace: source its setup, such as '
    '"source ~/ros2_ws/install/setup.bash". Without ROS, a bag can be looked at'
)


def open_source(
    options: argparse.Namespace, stack: contextlib.ExitStack, console: Console
) -> Source:
    """Open what the user named.

    Args:
        options: of the command line.
        stack: closes files at the end.
        console: for warnings.

    Raises:
        CommandError: there is no such source, or what reads it is not installed.
        ImageError: a camera or video gives no frame.

    """
    text: str = options.source
    if text.startswith(_TOPIC):
        return _open_topic(text.removeprefix(_TOPIC))
    path = given_path(text)
    if text.isdecimal() or '://' in text or text.startswith('/dev/'):
        return _open_camera(int(text) if text.isdecimal() else text, f'camera {text}')
    if _is_bag(path):
        return _open_bag(path, options, stack)
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        return _open_video(path, options, stack)
    found = find_images([text])
    for warning in found.warnings():
        console.warn(warning)
    return photos(text, [Path(each.path) for each in found.files], options.period)


def _open_topic(topic: str) -> Source:
    if not topic:
        raise CommandError('topic:=: expected the name of a topic, such as topic:=/camera/image')
    try:
        # By its name: nothing outside of ros/ may depend on ROS.
        module = importlib.import_module('instance_seg_ros.ros.topic_view')
    except (ImportError, OSError, LookupError) as error:  # the last two: rclpy without a workspace
        raise CommandError(f'{_TOPIC}{topic} {_NO_ROS} ({error})') from None
    try:
        source: Source = module.topic_source(topic)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return source


def _open_camera(camera: int | str, name: str) -> Source:
    def reopen() -> VideoSource:
        return VideoSource(camera, name)

    device = Path(f'/dev/video{camera}')
    if isinstance(camera, int) and sys.platform == 'linux' and not device.exists():
        known = ', '.join(sorted(str(p) for p in Path('/dev').glob('video*'))) or 'none'
        raise CommandError(f'{name}: there is no {device}. Cameras here: {known}')
    return Camera(name, reopen(), reopen).source()


def _open_video(path: Path, options: argparse.Namespace, stack: contextlib.ExitStack) -> Source:
    video = stack.enter_context(contextlib.closing(VideoSource(path, str(path))))

    def images() -> Iterator[tuple[float, Callable[[], Image]]]:
        for image in video:
            yield video.stamps.popleft(), partial(_same, image)

    frames = recording(path.name, images())
    return Source(str(path), frames, live=False, keep_all=options.all_frames)


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        names = ('metadata.yaml', *(f'*{suffix}' for suffix in BAG_SUFFIXES))
        return any(any(path.glob(name)) for name in names)
    return path.suffix in BAG_SUFFIXES


def _open_bag(path: Path, options: argparse.Namespace, stack: contextlib.ExitStack) -> Source:
    try:
        from instance_seg_ros.bags.errors import BagError
        from instance_seg_ros.bags.messages import make_typestore, to_bgr8
        from instance_seg_ros.bags.reader import BagReader
    except ImportError as error:
        raise CommandError(f'bags need two more packages ({error}): {HOW_TO_INSTALL}') from None
    try:
        reader = stack.enter_context(BagReader(path, make_typestore()))
        topic = reader.image_topic(options.topic)
        window = reader.window(0.0, None)
    except BagError as error:
        raise CommandError(str(error)) from None

    def images() -> Iterator[tuple[float, Callable[[], Image]]]:
        for each in reader.images(topic, window, every=1):
            stamp = (each.timestamp - window.start) / 1e9
            yield stamp, partial(to_bgr8, each.message, each.message_type)

    frames = recording(f'{path.name} {topic}', images())
    return Source(f'{path} {topic}', frames, live=False, keep_all=options.all_frames)


def _same(image: Image) -> Image:
    return image
