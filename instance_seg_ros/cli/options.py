# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of the command line ``instance-seg``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection
from itertools import groupby
from pathlib import Path
from typing import Any

from instance_seg_ros import __version__
from instance_seg_ros.cli.batch_options import add_batch_command
from instance_seg_ros.cli.completion import add_completion_command, names_files
from instance_seg_ros.cli.evaluate_options import OWN_OPTIONS, add_evaluate_options
from instance_seg_ros.cli.label_options import add_labels_command
from instance_seg_ros.cli.model_options import add_models_command
from instance_seg_ros.cli.result_options import add_image_options, add_result_options
from instance_seg_ros.cli.settings_parser import SettingsParser
from instance_seg_ros.cli.values import add_quiet, count, quality, seconds
from instance_seg_ros.cli.view_options import add_view_command
from instance_seg_ros.output_names import NODE_NAME
from instance_seg_ros.paths import given_path
from instance_seg_ros.schema import Setting, settings_of
from instance_seg_ros.settings import ModelSettings, Settings

LIBRARY_SETTINGS = settings_of(ModelSettings, Settings)
_METAVARS = {float: 'X', int: 'N', str: 'TEXT', tuple: 'NAME,NAME'}
_EPILOG = """exit codes: 0 done; 1 some images could not be read and were skipped; 2 bad input;
130 ended by Ctrl-C: what was written until then is complete, and the same command goes on"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = SettingsParser(
        prog='instance-seg',
        epilog=_EPILOG,
        description="Find the instances in images, videos, a camera's picture or bags; draw them.",
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    demo = _command(commands, 'demo', 'the sample photos that come with the package')
    demo.set_defaults(coarse=False, label_maps=False, cutouts=False, recursive=False)
    image = _command(commands, 'image', 'image files, all that match a pattern, or a folder')
    source = image.add_argument(
        'source',
        nargs='+',
        metavar='PATH|GLOB|FOLDER',
        help="files, folders, and patterns in quotes such as 'photos/**/*.jpg'",
    )
    names_files(source)
    add_image_options(image)
    video = _command(commands, 'video', 'a video file')
    names_files(video.add_argument('source', metavar='PATH'))
    camera = _command(commands, 'camera', 'a camera; Ctrl-C, or q in the window, ends it')
    camera.add_argument(
        'source',
        nargs='?',
        default='0',
        metavar='INDEX',
        help='number, device or URL of the camera (%(default)s)',
    )
    for command in (video, camera):
        command.add_argument('--max-frames', type=count, metavar='N', help='end after N frames')
        command.other_parameters = {'tracking': 'track'}
        command.add_argument(
            '--track',
            action=argparse.BooleanOptionalAction,
            default=False,
            help='give each object an id and a colour that last from frame to frame; in the JSON '
            'the id is track_id',
        )
    _add_bag_command(commands)
    _add_evaluate_command(commands)
    add_labels_command(commands)
    add_batch_command(commands, _add_settings)
    add_view_command(commands, _add_settings)
    add_models_command(commands)
    add_completion_command(commands)
    return parser


def _command(commands: Any, name: str, text: str) -> SettingsParser:
    parser: SettingsParser = commands.add_parser(
        name, help=text, description=f'Segment {text}.', epilog=_EPILOG
    )
    _add_output_options(parser)
    # Only the frames of a file are known in advance, so that several can be in the network.
    _add_settings(parser, leave_out=() if name == 'video' else ('parallel_nets',))
    return parser


def _add_evaluate_command(commands: Any) -> None:
    text = 'measure a model on photos of your own that are annotated: average precision, a report'
    evaluate: SettingsParser = commands.add_parser(
        'evaluate', help=text, description=f'{text[0].upper()}{text[1:]}.', epilog=_EPILOG
    )
    add_evaluate_options(evaluate)
    _add_settings(evaluate, leave_out=OWN_OPTIONS)


def _add_bag_command(commands: Any) -> None:
    text = "the images of a ROS bag; writes a rosbag2 bag with the node's topics, without ROS"
    bag: SettingsParser = commands.add_parser(
        'bag', help=text, description=f'Segment {text}.', epilog=_EPILOG
    )
    source = bag.add_argument(
        'source',
        metavar='IN',
        help='rosbag2 folder, .mcap, .db3 or .bag file, folder of .bag files',
    )
    names_files(source)
    bag.add_argument(
        'out', type=given_path, metavar='OUT', help='folder of the bag that is written'
    )
    part = bag.add_argument_group('images')
    part.add_argument(
        '--topic', metavar='NAME', help='of the images (default: the only topic that has some)'
    )
    part.add_argument(
        '--every', type=count, default=1, metavar='N', help='take every N-th image (%(default)s)'
    )
    part.add_argument(
        '--start',
        type=seconds,
        default=0.0,
        metavar='S',
        help="seconds after the bag's beginning (%(default)s)",
    )
    part.add_argument(
        '--duration', type=seconds, metavar='S', help='seconds from there (default: to the end)'
    )
    _add_bag_output_options(bag)
    _add_settings(bag, leave_out=())
    bag.other_parameters = {name: name for name in ('mask_encoding', 'jpeg_quality')}


def _add_bag_output_options(bag: argparse.ArgumentParser) -> None:
    group = bag.add_argument_group('output')
    group.add_argument(
        '--keep-input',
        action='store_true',
        help="copy the input's messages, too, those of all topics, so that OUT plays by itself",
    )
    group.add_argument(
        '--mask-encoding',
        choices=('rle', 'mono8'),
        default='rle',
        help='how masks are carried: run lengths, or crops, 30 times as large (%(default)s)',
    )
    group.add_argument(
        '--debug-image',
        choices=('compressed', 'raw', 'none'),
        default='compressed',
        help='the annotated images: CompressedImage, Image, or none (%(default)s)',
    )
    group.add_argument(
        '--jpeg-quality', type=quality, default=90, metavar='N', help='of them (%(default)s)'
    )
    group.add_argument(
        '--storage', choices=('mcap', 'sqlite3'), default='mcap', help='format of OUT (%(default)s)'
    )
    group.add_argument(
        '--name',
        type=_topic_name,
        default=f'/{NODE_NAME}',
        metavar='NAME',
        help='what the topics begin with, as the full name of the node (%(default)s)',
    )
    group.add_argument('--overwrite', action='store_true', help='replace a bag that exists')
    add_quiet(group)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('output')
    output = group.add_argument(
        '--output',
        type=given_path,
        default=Path('instance_seg_output'),
        metavar='FOLDER',
        help='where the annotated files go, under their own names (%(default)s)',
    )
    names_files(output)
    group.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files that exist; without this they end the command before it begins',
    )
    add_result_options(group)
    add_quiet(group)
    group.add_argument(
        '--show',
        action=argparse.BooleanOptionalAction,
        help='a window, q ends it (default: with a display and a terminal)',
    )
    group.add_argument(
        '--alpha',
        type=float,
        default=0.5,
        metavar='A',
        help='opacity of the overlay, 0 to 1 (%(default)s)',
    )


def _add_settings(parser: SettingsParser, leave_out: Collection[str]) -> None:
    settings = [each for each in LIBRARY_SETTINGS if each.name not in leave_out]
    parser.add_config_option(settings)
    for group, members in groupby(settings, key=lambda each: each.group):
        options = parser.add_argument_group(group.value.lower())
        for setting in members:
            _add_setting(options, setting)


def _add_setting(options: Any, setting: Setting) -> None:
    flag = f'--{setting.name.replace("_", "-")}'
    text = setting.help.replace('%', '%%')
    if setting.kind is bool:
        options.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=setting.default, help=text
        )
        return
    default = ','.join(setting.default) if setting.kind is tuple else setting.default
    if setting.limits is not None:
        text += f'; {setting.range}'
    options.add_argument(
        flag,
        type=_reader_of(setting),
        default=setting.default,
        choices=setting.choices or None,
        metavar=None if setting.choices else _METAVARS[setting.kind],
        help=f'{text} ({default})' if default != '' else text,
    )


def _reader_of(setting: Setting) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return setting.parse(text)  # the Segmenter checks the range
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r}: expected {setting.expected()}') from None

    return read


def _topic_name(text: str) -> str:
    if not re.fullmatch(r'(/[A-Za-z_][A-Za-z0-9_]*)+', text):
        raise argparse.ArgumentTypeError(f'{text!r}: expected a name such as /front/instance_seg')
    return text
