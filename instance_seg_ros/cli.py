# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line ``instance-seg``: options and exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from instance_seg_ros import __version__
from instance_seg_ros.commands import CommandError, run
from instance_seg_ros.memory import reuse_freed_memory
from instance_seg_ros.models import EXACT
from instance_seg_ros.refinement.refiner_file import CPU
from instance_seg_ros.segmenter import Settings

# What shells report after Ctrl-C, and for a program whose reader has gone.
BAD_INPUT, INTERRUPTED, READER_GONE = 2, 130, 141

_EPILOG = """exit codes: 0 done; 1 some images could not be read and were skipped; 2 bad input;
130 ended by Ctrl-C (what was written until then is complete)"""
_JSON_HELP = (
    "write COCO results (a list, as pycocotools' loadRes reads it) to FILE. The "
    'image_id is the number that a file is named by, where all are, else its position '
    "from 1; in a video the frame's number from 0. The category_id is the class id + 1, "
    "which is COCO's"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code; see ``instance-seg --help``.

    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    reuse_freed_memory()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    # Ends as Ctrl-C does, so that a video being written is playable.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with "| head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _run(options: argparse.Namespace) -> int:
    try:
        return run(options)
    except CommandError as error:
        print(f'instance-seg: error: {error}', file=sys.stderr)
        return BAD_INPUT


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='instance-seg',
        epilog=_EPILOG,
        description="Find the instances in images, a video or a camera's picture and draw them.",
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='image|video|camera')
    image = _command(commands, 'image', 'image files, all that match a pattern, or a folder')
    image.add_argument('source', nargs='+', metavar='PATH|GLOB|FOLDER')
    image.add_argument(
        '--coarse',
        action='store_true',
        help="with --json: also the mask head's own probabilities, as coarse_mask",
    )
    video = _command(commands, 'video', 'a video file')
    video.add_argument('source', metavar='PATH')
    video.add_argument(
        '--parallel-nets',
        type=_count,
        metavar='N',
        help='frames in the network at a time: more per second on several cores, '
        'for the memory of another network (%(default)s)',
    )
    camera = _command(commands, 'camera', 'a camera; Ctrl-C, or q in the window, ends it')
    camera.add_argument(
        'source',
        nargs='?',
        default='0',
        metavar='INDEX',
        help='number, device or URL of the camera (%(default)s)',
    )
    for command in (video, camera):
        command.add_argument('--max-frames', type=_count, metavar='N', help='end after N frames')
    return parser


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f'Segment {text}.', epilog=_EPILOG
    )
    _add_output_options(parser)
    _add_model_options(parser)
    _add_settings(parser)
    parser.set_defaults(parallel_nets=1)
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('output')
    group.add_argument(
        '--output',
        type=Path,
        default=Path('instance_seg_output'),
        metavar='FOLDER',
        help='where the annotated files go, under their own names (%(default)s)',
    )
    group.add_argument('--json', type=Path, metavar='FILE', help=_JSON_HELP)
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


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('model')
    group.add_argument(
        '--model',
        default='auto',
        metavar='NAME',
        help='auto (the COCO model where it is installed, else the shipped person '
        "model), a model's name, or the path of a manifest (%(default)s)",
    )
    group.add_argument('--model-path', default='', metavar='FILE', help='a frozen graph (.pb)')
    group.add_argument(
        '--text-graph-path',
        default='',
        metavar='FILE',
        help='its OpenCV text graph; default: the .pbtxt beside it',
    )
    group.add_argument(
        '--labels-path',
        default='',
        metavar='FILE',
        help='its class names; default: the _labels.txt beside it',
    )
    group.add_argument(
        '--refiner',
        default='auto',
        metavar='NAME',
        help='what sharpens the masks: gan, the path of such a network (.onnx), '
        'smooth, none, or auto, the best that is installed (%(default)s)',
    )
    group.add_argument(
        '--refine-providers',
        type=_names,
        default=(CPU,),
        metavar='NAME,NAME',
        help=f"onnxruntime's execution providers for the refiner, the preferred one first ({CPU})",
    )
    group.add_argument(
        '--speed-preset',
        default=EXACT,
        metavar='NAME',
        help='exact, balanced or fast: fewer proposals and a smaller input (%(default)s)',
    )
    group.add_argument(
        '--num-threads', type=int, default=0, metavar='N', help='0 for all cores (%(default)s)'
    )
    group.add_argument(
        '--low-memory',
        action='store_true',
        help='no Winograd convolutions: 200 MB less with the COCO model, for half more time',
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    # The defaults are said in one place only.
    defaults = {field.name: field.default for field in fields(Settings)}
    group = parser.add_argument_group('what is kept')

    def add(name: str, kind: type, metavar: str, text: str) -> None:
        group.add_argument(
            f'--{name.replace("_", "-")}',
            type=kind,
            default=defaults[name],
            metavar=metavar,
            help=f'{text} (%(default)s)',
        )

    add('confidence_threshold', float, 'T', 'instances with a lower score are dropped, 0 to 1')
    add(
        'nms_threshold',
        float,
        'T',
        'of two boxes of a class with a larger IoU the lower score is dropped, 0 to 1',
    )
    add('mask_threshold', float, 'T', 'pixels with this probability belong to the instance, 0 to 1')
    add('max_instances', int, 'N', 'at most so many an image, best scores first')
    add(
        'input_max_side',
        int,
        'PIXELS',
        "larger images are scaled down to this longer side for the network; 0 is the model's own",
    )
    add('refine_passes', int, 'N', 'at most so many passes of a refiner network')
    add(
        'refine_budget_ms',
        float,
        'MS',
        'time of a refiner network for an image; where it is '
        'short, smooth does the rest; 0 is without end',
    )
    group.add_argument(
        '--classes', type=_names, default=(), metavar='NAME,NAME', help='names to keep (all)'
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number above 0')
    return int(text)


if __name__ == '__main__':
    sys.exit(main())
