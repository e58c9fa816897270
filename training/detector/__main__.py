# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.detector train|evaluate|export --help``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.data_options import add_data, chosen_photos, number_pair
from training.graph.config import NetworkConfig
from training.onnx_export import add_onnx_option, export_onnx
from training.run.options import (
    Subparsers,
    add_command,
    add_run_options,
    command_line,
    common_settings,
    run_options,
)

_SMALLEST_SIDE, _LARGEST_SIDE = 32, 4096  # of a square that is trained on, pixels


def _add_commands(commands: Subparsers) -> None:
    _add_train(commands)
    add_evaluate(commands)
    _add_export(commands)


def _add_train(commands: Subparsers) -> None:
    train = add_command(
        commands, 'train', _train, 'train a model; resumes a run in the same --output'
    )
    add_data(train)
    add_run_options(train, minutes=120, batch_size=8, learning_rate=1.5e-3)
    add = train.add_argument
    add('--width', type=float, default=0.25, help='depth multiplier of the network')
    add('--proposals', type=int, default=40, help='regions that the first stage hands on')
    add(
        '--anchor-sizes',
        type=float,
        nargs='+',
        default=[24, 48, 96, 192, 352],
        help="square root of the area in pixels of the network's input",
    )
    add('--anchor-ratios', type=float, nargs='+', default=[0.4, 0.8, 1.5], help='width over height')
    add(
        '--sizes',
        nargs='+',
        default=['0.65:320', '0.35:416'],
        metavar='SHARE:PIXELS',
        help='longest side of the training images, phase by phase',
    )
    add('--optimizer', choices=['muon', 'adamw'], default='muon', help='adamw: for all weights')
    add('--init', type=Path, help='.pb of a model of the same network to start from')
    add(
        '--teacher',
        default='',
        help='network trained on ImageNet whose features are imitated, such as '
        'efficientnet-lite2: for few photos',
    )
    add(
        '--snapshot-minutes',
        type=float,
        default=0,
        help='time between two models that are exported on the way; 0: none',
    )


def add_evaluate(commands: Subparsers) -> None:
    """Add the subcommand that measures a detector, whoever trained it."""
    test = add_command(
        commands, 'evaluate', _evaluate, 'box and mask AP of a model, as users run it'
    )
    add_data(test)
    add = test.add_argument
    add('--model', required=True, help="a model's name, manifest, or .pb beside its .pbtxt")
    add('--input-max-side', type=int, default=0, help="pixels; 0 is the model's own")
    add('--refiner', default='none', help='none: the plain masks')
    add('--speed-preset', default='exact', help='exact, balanced or fast')
    add('--json', type=Path, help='write the figures there, too')
    add(
        '--errors',
        action='store_true',
        help='also count how objects are missed, and what false detections are of; takes as long '
        'again',
    )


def _add_export(commands: Subparsers) -> None:
    export = add_command(
        commands,
        'export',
        _export,
        "write the model of a run's checkpoint; with --data, its scores are adjusted on the "
        'photos that are held out',
    )
    add = export.add_argument
    add('--run', dest='folder', type=Path, required=True, help='folder of the run')
    add(
        '--output',
        type=Path,
        required=True,
        help='path without ending; .pb, .pbtxt and more are added',
    )
    add(
        '--input-max-side',
        type=int,
        default=0,
        help='pixels, for the manifest; 0 is that of the last phase',
    )
    add(
        '--max-upscale',
        type=float,
        default=1.0,
        metavar='FACTOR',
        help='smaller images are scaled up towards that side, by this factor at most',
    )
    add(
        '--proposals',
        type=int,
        default=0,
        help='regions that the first stage hands on; 0 is as trained',
    )
    add(
        '--most-false',
        type=float,
        default=0.0,
        metavar='NUMBER',
        help='lower the scores until at most this many are over 0.5 per photo without objects; '
        '0: they are as likely to be right as they say',
    )
    add_onnx_option(export)
    add_data(export, required=False)


def _train(options: argparse.Namespace) -> None:
    import cv2

    from training.detector.dataset import category_names
    from training.detector.train import DetectorTask, Settings
    from training.run.loop import Run
    from training.run.report import log_file

    where = run_options(options)
    cv2.setNumThreads(1)
    photos = chosen_photos(options, held=False)
    network = NetworkConfig(
        width=options.width,
        num_classes=len(options.classes),
        proposals=options.proposals,
        rpn_candidates=1000,
        anchor_sizes=tuple(options.anchor_sizes),
        anchor_ratios=tuple(options.anchor_ratios),
    )
    settings = Settings(
        **common_settings(options),
        network=network,
        classes=tuple(options.classes),
        categories=tuple(category_names(options.data[0][0])),
        sizes=_sizes(options.sizes),
        optimizer=options.optimizer,
        teacher=options.teacher,
    )
    initial = None
    if options.init:
        from training.graph.tensorflow_files import read_arrays

        initial = read_arrays(network, options.init)
    with log_file(options.output):
        Run(DetectorTask(photos, settings, where, initial, options.snapshot_minutes), where).run()
    manifest = options.output / 'model.yaml'
    print(f'{manifest} is ready: instance-seg image PHOTO --model {manifest}')


def _sizes(texts: list[str]) -> tuple[tuple[float, int], ...]:
    sizes = []
    for text in texts:
        share, side = number_pair(text, '--sizes')
        if share < 0 or not _SMALLEST_SIDE <= side <= _LARGEST_SIDE:
            raise ValueError(
                f'--sizes {text}: expected a share of 0 or more, and {_SMALLEST_SIDE} to '
                f'{_LARGEST_SIDE} pixels'
            )
        sizes.append((share, int(side)))
    return tuple(sizes)


def _evaluate(options: argparse.Namespace) -> None:
    from instance_seg_ros import Segmenter
    from training.detector import errors
    from training.detector.evaluate import as_table, evaluate

    segmenter = Segmenter(
        **_model_arguments(options.model),
        refiner=options.refiner,
        speed_preset=options.speed_preset,
        confidence_threshold=0.05,
        input_max_side=options.input_max_side,
    )
    photos = chosen_photos(options, held=True)
    scores = evaluate(segmenter, photos, options.classes)
    print(as_table(scores))
    if options.errors:
        print(errors.as_table(*errors.count_errors(segmenter, photos, options.classes)))
    if options.json:
        options.json.write_text(
            json.dumps({k: asdict(v) for k, v in scores.items()}, indent=1) + '\n'
        )


def _model_arguments(model: str) -> dict[str, Any]:
    """A bare .pb stands for itself, the .pbtxt and the labels beside it."""
    path = Path(model)
    if path.suffix != '.pb':
        return {'model': model}
    return {
        'model_path': model,
        'text_graph_path': str(path.with_suffix('.pbtxt')),
        'labels_path': str(path.with_name(f'{path.stem}_labels.txt')),
    }


def _export(options: argparse.Namespace) -> None:
    from training.detector.checkpoint_model import (
        calibration_photos,
        check_classes,
        export_checkpoint,
    )

    if options.most_false and not options.data:
        raise ValueError('--most-false needs --data and --classes: photos to measure on')
    if options.data:
        check_classes(options.folder, options.classes or ())
    # Of photos that were trained on it is too certain. With --hold-out 0:0 there are no others.
    photos = calibration_photos(chosen_photos(options, held=True)) if options.data else []
    manifest = export_checkpoint(
        options.folder,
        options.output,
        options.input_max_side,
        options.proposals,
        photos,
        options.most_false,
        options.max_upscale,
    )
    print(f'wrote {manifest}')
    export_onnx(options, manifest)


main = command_line('python -m training.detector', __doc__, _add_commands)

if __name__ == '__main__':
    sys.exit(main())
