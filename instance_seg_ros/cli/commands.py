# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the command line does: images, a video, a camera, a bag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from instance_seg_ros.cli.config_file import described
from instance_seg_ros.cli.console import CommandError, Console, describe_os_error
from instance_seg_ros.cli.options import LIBRARY_SETTINGS, make_parser
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.results import check_results, results_wanted
from instance_seg_ros.cli.values import STDOUT
from instance_seg_ros.cli.window import Window, has_display
from instance_seg_ros.errors import ImageError, ModelError
from instance_seg_ros.installed import find_shared
from instance_seg_ros.model_digest import files_of_models
from instance_seg_ros.paths import given_path
from instance_seg_ros.segmenter import Segmenter

DONE = 0
_Loader = Callable[[], 'tuple[Segmenter, Window | None]']
_MODEL_FILES = ('model', 'model_path', 'text_graph_path', 'labels_path', 'refiner')


def run(options: argparse.Namespace) -> int:
    """Carry out the command of some parsed options; see make_parser.

    Returns:
        The exit code: 0, or 1 where images were skipped.

    Raises:
        CommandError: an input is bad, or an output cannot be written.
        KeyboardInterrupt: ended by the user; what was found until then is written.
    """
    _silence_opencv()
    try:
        return _COMMANDS[options.command](options)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(describe_os_error(error)) from None
    except (ImageError, ModelError) as error:
        raise CommandError(str(error)) from None


def _run_photos(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.image_run import run_images

    if options.command == 'demo':
        options.source = [str(_photos())]
    return run_images(options, *_prepared(options))


def _run_video(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.video_run import run_video

    run_video(options, *_prepared(options))
    return DONE


def _run_camera(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.video_run import run_camera

    run_camera(options, *_prepared(options))
    return DONE


def _prepared(options: argparse.Namespace) -> tuple[Console, Outputs, _Loader]:
    _check_options(options)
    console = _console(options, stdout_is_taken=options.json == STDOUT)
    read = _files_of(options, options.refiner)
    outputs = Outputs(options.output, read, overwrite=options.overwrite)

    def load() -> tuple[Segmenter, Window | None]:
        window = _make_window(options)
        return _make_segmenter(options), window

    return console, outputs, load


def _run_bag(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.bag_run import run_bag

    return run_bag(options, _console(options), lambda: _make_segmenter(options))


def _run_batch(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.batch import run_batch

    return run_batch(options, _settings_of(options), _console(options))


def _run_view(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.view import run_view

    return run_view(options, _console(options), lambda: _make_segmenter(options))


def _run_evaluate(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.evaluate import run_evaluate

    console = _console(options, stdout_is_taken=options.json == STDOUT)
    read = [path for refiner in options.refiners for path in _files_of(options, refiner)]
    outputs = Outputs(Path(), [options.annotations, *read], overwrite=options.overwrite)

    def load(preset: str) -> Segmenter:
        chosen = {'speed_preset': preset, 'refiner': 'none'}
        return _make_segmenter(argparse.Namespace(**vars(options) | chosen))

    return run_evaluate(options, console, outputs, load)


def _run_labels(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.labels_run import run_labels

    return run_labels(options, Console(quiet=options.quiet))


def _run_models(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.models import run_models

    return run_models(options)


def _run_completion(options: argparse.Namespace) -> int:
    from instance_seg_ros.cli.completion import print_completion

    print_completion(options.shell, make_parser())
    return DONE


# The modules of a command are imported when it runs: all together they take a tenth of a second.
_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    'image': _run_photos,
    'demo': _run_photos,
    'video': _run_video,
    'camera': _run_camera,
    'bag': _run_bag,
    'batch': _run_batch,
    'view': _run_view,
    'evaluate': _run_evaluate,
    'labels': _run_labels,
    'models': _run_models,
    'completion': _run_completion,
}


def _console(options: argparse.Namespace, stdout_is_taken: bool = False) -> Console:
    """Make the console, and say there which settings of the file are left out."""
    console = Console(quiet=options.quiet, stdout_is_taken=stdout_is_taken)
    if options.config_left_out:
        console.say(described(options.config, options.config_left_out))
    return console


def _photos() -> Path:
    try:
        return find_shared('demo/photos')
    except FileNotFoundError as error:
        raise CommandError(str(error)) from None


def _silence_opencv() -> None:
    """Silence OpenCV's log: this command itself says what is wrong with a file."""
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
    check_results(options)
    if options.json is None and getattr(options, 'coarse', False):
        raise CommandError('--coarse adds to the COCO results: give --json FILE, too')
    if getattr(options, 'label_maps', False) and not results_wanted(options):
        raise CommandError(
            '--label-maps numbers the instances of each photo: give --csv, --json or --parquet '
            'FILE, too, in which the column "instance" says what each number is'
        )


def _make_segmenter(options: argparse.Namespace) -> Segmenter:
    try:
        return Segmenter(**_settings_of(options))
    except (RuntimeError, ValueError) as error:  # ModelError is a RuntimeError
        raise CommandError(str(error)) from None


def _settings_of(options: argparse.Namespace) -> dict[str, Any]:
    given = vars(options)
    return {each.name: given[each.name] for each in LIBRARY_SETTINGS if each.name in given}


def _files_of(options: argparse.Namespace, refiner: str) -> list[Path]:
    """Return the files that the settings name and lead to, and the one that the settings are in."""
    settings = _settings_of(options) | {'refiner': refiner}
    named = [given_path(settings[name]) for name in _MODEL_FILES]
    if options.config is not None:
        named.append(options.config)
    return named + files_of_models(settings)


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
