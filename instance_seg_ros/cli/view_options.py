# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of ``instance-seg view``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from instance_seg_ros.cli.settings_parser import SettingsParser
from instance_seg_ros.cli.values import add_quiet, quality, seconds, share, whole_number

_PORT = 8090


def add_view_command(commands: Any, add_settings: Callable[..., None]) -> None:
    """Add ``view`` to the parser's commands.

    Args:
        commands: of the parser.
        add_settings: adds the options of the library's settings.

    """
    text = 'a camera, video, folder, bag or ROS topic live in a browser'
    view: SettingsParser = commands.add_parser(
        'view',
        help=text,
        description=f'Show {text}, with masks, names, ids and times. Without a browser nothing is '
        'segmented. Ctrl-C ends it, with exit code 0.',
    )
    view.add_argument(
        'source',
        metavar='SOURCE',
        help='number, device or URL of a camera; video file; folder, file or pattern of images; '
        'bag; topic:=/camera/image_raw',
    )
    page = view.add_argument_group('page')
    page.add_argument(
        '--host',
        default='localhost',
        metavar='ADDRESS',
        help='where to listen (%(default)s: this machine only); 0.0.0.0 shows the picture to all '
        'who reach this machine: there is no password',
    )
    page.add_argument(
        '--port', type=_port, default=_PORT, metavar='N', help='0: a free one (%(default)s)'
    )
    page.add_argument(
        '--jpeg-quality', type=quality, default=80, metavar='N', help='1 to 100 (%(default)s)'
    )
    page.add_argument(
        '--alpha', type=share, default=0.5, metavar='A', help='of masks, 0 to 1 (%(default)s)'
    )
    page.add_argument(
        '--track',
        action=argparse.BooleanOptionalAction,
        default=False,
        help='ids that last from frame to frame',
    )
    add_quiet(page)
    files = view.add_argument_group('files')
    files.add_argument(
        '--all-frames',
        action='store_true',
        help='of a video or bag, however slow; by default it keeps its pace and late frames are '
        'left out',
    )
    files.add_argument(
        '--period',
        type=_period,
        default=1.0,
        metavar='S',
        help='seconds from photo to photo, at least (%(default)s)',
    )
    files.add_argument(
        '--topic', metavar='NAME', help='of a bag (default: the only topic that has images)'
    )
    add_settings(view, leave_out=('parallel_nets',))
    view.other_parameters = {'tracking': 'track', 'jpeg_quality': 'jpeg_quality'}


def _port(text: str) -> int:
    return whole_number(text, 0, 65_535)


def _period(text: str) -> float:
    return seconds(text, most=3600)
