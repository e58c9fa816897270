# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of ``instance-seg models``."""

from __future__ import annotations

import argparse
from typing import Any

from instance_seg_ros.cli.values import seconds
from instance_seg_ros.downloads import DEFAULT_TIMEOUT
from instance_seg_ros.paths import given_path

_ANY_MODEL = 'name of a model, path of its manifest (.yaml) or of its frozen graph (.pb), or auto'


def add_models_command(commands: Any) -> None:
    """Add ``models`` and its actions to the parser's commands."""
    models = commands.add_parser('models', help='list, download, check, add and remove models')
    actions = models.add_subparsers(dest='action', required=True, metavar='ACTION')
    _action(
        actions, 'list', 'print the models that are known, whether they are installed, and where'
    )
    download = _action(
        actions,
        'download',
        'fetch a published model into the data folder of the user',
        'A transfer that broke is continued by the same command. Proxies are those of the '
        'environment variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY.',
    )
    download.add_argument('name', metavar='NAME', help='such as coco')
    download.add_argument(
        '--from',
        dest='source',
        action='append',
        default=[],
        metavar='URL|FOLDER|FILE',
        help='in place of the published addresses: address of a mirror or of a file, a folder, or '
        'a file; may be given several times',
    )
    download.add_argument('--quiet', action='store_true', help='no bar of progress')
    download.add_argument(
        '--timeout',
        type=_timeout,
        default=DEFAULT_TIMEOUT,
        metavar='SECONDS',
        help='without a byte, after which a transfer counts as broken (%(default)g)',
    )
    verify = _action(
        actions,
        'verify',
        'compare the files of one model, or of all that are installed, with their digests',
        'exit code: 0 all are right; 1 some are damaged or missing',
    )
    verify.add_argument('name', nargs='?', default='', metavar='NAME', help='default: all')
    path = _action(
        actions, 'path', 'print the files of a model; without a name, the data folder for models'
    )
    path.add_argument('name', nargs='?', default='', metavar='NAME', help=_ANY_MODEL)
    add = _action(
        actions,
        'add',
        'copy a model into the data folder: then its name is enough to use it',
        'FILE: a manifest, whose files are taken along; or a frozen graph (.pb), its text graph '
        '(.pbtxt) and its labels (.txt); or the files of a published model, fetched elsewhere, '
        'under any names.',
    )
    add.add_argument('files', nargs='+', type=given_path, metavar='FILE')
    add.add_argument('--name', default='', metavar='NAME', help='of the model')
    add.add_argument(
        '--overwrite', action='store_true', help='replace a model of that name in the data folder'
    )
    removed = _action(actions, 'remove', 'remove a model from the data folder; no other is touched')
    removed.add_argument('name', metavar='NAME')
    _add_convert(actions)
    calibrate = actions.add_parser(
        'calibrate',
        help='prepare a model for precision int8, on photos of what it will see',
        description='Run a model on photos and write the ranges of its values, which precision '
        'int8 needs, to <frozen graph>_int8.json beside it; see docs/models.md.',
    )
    calibrate.add_argument('model', help=_ANY_MODEL)
    calibrate.add_argument(
        'photos',
        nargs='+',
        metavar='PHOTO|FOLDER',
        help='about 50 are enough, not those that its accuracy is measured on',
    )


def _action(actions: Any, name: str, text: str, more: str = '') -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f'{text[0].upper()}{text[1:]}.', epilog=more or None
    )
    return parser


def _add_convert(actions: Any) -> None:
    convert = actions.add_parser(
        'convert',
        help='write the ONNX parts of a model, for the engine onnxruntime',
        description='Write the ONNX parts of a model. The engine onnxruntime looks for them beside '
        'the model and otherwise converts the model itself, once; see docs/models.md.',
    )
    convert.add_argument('model', help=_ANY_MODEL)
    convert.add_argument(
        '--output',
        type=given_path,
        metavar='FOLDER',
        help='where the files go (default: the folder <frozen graph>_onnx beside the model)',
    )


def _timeout(text: str) -> float:
    return seconds(text, least=0.001, most=1e6)
