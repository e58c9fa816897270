# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The options of ``instance-seg evaluate``, apart from the settings."""

from __future__ import annotations

import argparse

from instance_seg_ros.cli.values import add_quiet, count, share
from instance_seg_ros.paths import given_path

_EXIT_CODES = """exit codes: 0 done; 1 some photos could not be used, the others were; 2 bad input;
130 ended by Ctrl-C: nothing is written"""
# Average precision needs the unsure detections, too.
LOWEST_SCORE = 0.05
# Settings that have other options here.
OWN_OPTIONS = ('speed_preset', 'refiner', 'confidence_threshold', 'classes', 'parallel_nets')


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of the command."""
    parser.epilog = _EXIT_CODES
    _add_data(parser)
    group = parser.add_argument_group('what is measured')
    group.add_argument(
        '--presets',
        type=_names,
        default=['exact'],
        metavar='NAME,NAME',
        help='values of speed_preset, side by side; each detects in all photos once (exact)',
    )
    group.add_argument(
        '--refiners',
        type=_names,
        default=['auto'],
        metavar='NAME,NAME',
        help='values of refiner, side by side; each refines the same masks (auto)',
    )
    group.add_argument(
        '--confidence-threshold',
        type=share,
        default=LOWEST_SCORE,
        metavar='X',
        help='detections with a lower score do not count (%(default)s)',
    )
    group.add_argument(
        '--operating-score',
        type=share,
        default=0.5,
        metavar='X',
        help='score of the precision, the recall and the mistakes that are shown (%(default)s)',
    )
    group.add_argument(
        '--boundary',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='measure boundaries, too; in photos of 12 megapixels that takes 0.04 s of a processor '
        'for each mask (yes)',
    )
    _add_output(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('annotated photos')
    group.add_argument(
        '--annotations',
        type=given_path,
        required=True,
        metavar='FILE',
        help='COCO JSON, as Label Studio, CVAT, Roboflow and others export it',
    )
    group.add_argument(
        '--images',
        type=given_path,
        required=True,
        metavar='FOLDER',
        help='of the photos, also below it',
    )
    group.add_argument(
        '--rename',
        type=_pair,
        action='append',
        default=[],
        metavar='CATEGORY=CLASS',
        help="which of the model's classes a category is; names that differ only in case, spaces, "
        '- and _ match anyway; may be given several times',
    )
    group.add_argument(
        '--classes',
        dest='only',
        type=_names,
        default=[],
        metavar='NAME,NAME',
        help='count only these classes of the model, such as those that are completely annotated',
    )
    group.add_argument(
        '--crowds',
        choices=('ignore', 'objects'),
        default='ignore',
        help='what iscrowd: 1 means: a region that counts neither way, or an object, as CVAT marks '
        'brushed masks (%(default)s)',
    )
    group.add_argument(
        '--every', type=count, default=1, metavar='N', help='take every N-th photo (%(default)s)'
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('output')
    group.add_argument(
        '--report',
        type=given_path,
        metavar='FILE',
        help='write one HTML file: tables, curves, pictures of the worst mistakes',
    )
    group.add_argument(
        '--pictures',
        type=count,
        default=16,
        metavar='N',
        help='of each kind of mistake in the report, about 15 kB each (%(default)s)',
    )
    group.add_argument(
        '--json', type=given_path, metavar='FILE', help='write all figures to FILE, - for stdout'
    )
    group.add_argument('--overwrite', action='store_true', help='replace files that exist')
    add_quiet(group)


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f'{text!r}: expected names, separated by commas')
    return names


def _pair(text: str) -> tuple[str, str]:
    category, sign, name = text.partition('=')
    if not sign or not category.strip() or not name.strip():
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected CATEGORY=CLASS, such as people=person'
        )
    return category.strip(), name.strip()
