# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.detector train|evaluate|export --help``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

import cv2

from training.detector.dataset import DatasetError, Photo, category_names, hold_out, load_photos
from training.graph.network import NetworkConfig


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code (2 for bad input, 130 for Ctrl-C)."""
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print('interrupted; the same command resumes', file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m training.detector', description=__doc__)
    commands = parser.add_subparsers(required=True)
    show = argparse.ArgumentDefaultsHelpFormatter
    train = commands.add_parser(
        'train', help='train a model; resumes a run in the same --output', formatter_class=show
    )
    train.set_defaults(run=_train)
    _add_data(train)
    train.add_argument('--output', type=Path, required=True, help='folder of the run')
    train.add_argument('--width', type=float, default=0.25, help='depth multiplier of the network')
    train.add_argument(
        '--proposals', type=int, default=40, help='regions that the first stage hands on'
    )
    train.add_argument(
        '--anchor-sizes',
        type=float,
        nargs='+',
        default=[24, 48, 96, 192, 352],
        help="square root of the area in pixels of the network's input",
    )
    train.add_argument(
        '--anchor-ratios', type=float, nargs='+', default=[0.4, 0.8, 1.5], help='width over height'
    )
    train.add_argument(
        '--minutes',
        type=float,
        default=120,
        help='length of the run; its schedule follows the clock',
    )
    train.add_argument(
        '--steps', type=int, default=0, help='length in steps instead; such a run is reproducible'
    )
    train.add_argument(
        '--sizes',
        nargs='+',
        default=['0.65:320', '0.35:416'],
        metavar='SHARE:PIXELS',
        help='longest side of the training images, phase by phase',
    )
    train.add_argument('--batch-size', type=int, default=8)
    train.add_argument(
        '--optimizer', choices=['muon', 'adamw'], default='muon', help='adamw: for all weights'
    )
    train.add_argument('--learning-rate', type=float, default=1.5e-3)
    train.add_argument('--seed', type=int, default=0)
    train.add_argument('--init', type=Path, help='.pb of a model of the same network to start from')
    train.add_argument(
        '--teacher',
        default='',
        help='network trained on ImageNet whose features are imitated, such as '
        'efficientnet-lite2: for few photos',
    )
    train.add_argument('--device', default='cpu', help='cpu or cuda')
    train.add_argument(
        '--mixed-precision', action='store_true', help='bfloat16 where the processor has it'
    )
    train.add_argument('--threads', type=int, default=os.cpu_count())
    train.add_argument('--workers', type=int, default=1, help='processes that make samples')
    train.add_argument('--checkpoint-minutes', type=float, default=5)
    train.add_argument(
        '--snapshot-minutes', type=float, default=0, help='export a model so often; 0 is never'
    )
    test = commands.add_parser(
        'evaluate', help='box and mask AP of a model, as users run it', formatter_class=show
    )
    test.set_defaults(run=_evaluate)
    _add_data(test)
    test.add_argument(
        '--model', required=True, help="a model's name, manifest, or .pb beside its .pbtxt"
    )
    test.add_argument('--input-max-side', type=int, default=0, help="pixels; 0 is the model's own")
    test.add_argument('--refiner', default='none', help='none: the plain masks')
    test.add_argument('--speed-preset', default='exact', help='exact, balanced or fast')
    test.add_argument('--json', type=Path, help='write the figures there, too')
    test.add_argument(
        '--errors',
        action='store_true',
        help='also count how objects are missed, and what false detections are of; takes as long '
        'again',
    )
    export = commands.add_parser(
        'export',
        help="write the model of a run's checkpoint; with --data, its scores are adjusted on the "
        'photos that are held out',
        formatter_class=show,
    )
    export.set_defaults(run=_export)
    export.add_argument('--run', dest='folder', type=Path, required=True, help='folder of the run')
    export.add_argument(
        '--output',
        type=Path,
        required=True,
        help='path without ending; .pb, .pbtxt and more are added',
    )
    export.add_argument(
        '--input-max-side',
        type=int,
        default=0,
        help='pixels, for the manifest; 0 is that of the last phase',
    )
    export.add_argument(
        '--max-upscale',
        type=float,
        default=1.0,
        metavar='FACTOR',
        help='smaller images are scaled up towards that side, by this factor at most',
    )
    export.add_argument(
        '--proposals',
        type=int,
        default=0,
        help='regions that the first stage hands on; 0 is as trained',
    )
    export.add_argument(
        '--most-false',
        type=float,
        default=0.0,
        metavar='NUMBER',
        help='lower the scores until at most so many are over 0.5 per photo without objects; '
        '0: they are as likely to be right as they say',
    )
    _add_data(export, required=False)
    return parser


def _add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        '--data',
        nargs=2,
        action='append',
        required=required,
        metavar=('JSON', 'IMAGES'),
        type=Path,
        help='COCO annotation file and its image folder; may be given again',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        required=required,
        help='category names, in the order of the class ids',
    )
    parser.add_argument(
        '--hold-out',
        default='8:5',
        metavar='N:K',
        help='images whose id %% N is K are for evaluation alone; 0:0 holds out none',
    )


def _photos(options: argparse.Namespace, held: bool) -> list[Photo]:
    categories = category_names(options.data[0][0])
    photos = [
        p
        for file, folder in options.data
        for p in load_photos(file, folder, options.classes, categories)
    ]
    modulus, remainder = _pair(options.hold_out, '--hold-out')
    if modulus == 0:
        return photos
    chosen = hold_out(photos, int(modulus), int(remainder))[held]
    if not chosen:
        raise DatasetError(
            f'--hold-out {options.hold_out} leaves no image to {"evaluate" if held else "train"} on'
        )
    return chosen


def _pair(text: str, option: str) -> tuple[float, float]:
    try:
        first, second = text.split(':')
        return float(first), float(second)
    except ValueError:
        raise ValueError(f'{option}: "{text}" is not of the form NUMBER:NUMBER') from None


def _train(options: argparse.Namespace) -> None:
    import torch

    from training.detector.train import RunOptions, Settings, Trainer

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    photos = _photos(options, held=False)
    network = NetworkConfig(
        width=options.width,
        num_classes=len(options.classes),
        proposals=options.proposals,
        rpn_candidates=1000,
        anchor_sizes=tuple(options.anchor_sizes),
        anchor_ratios=tuple(options.anchor_ratios),
    )
    sizes = tuple(
        (share, int(side)) for share, side in (_pair(s, '--sizes') for s in options.sizes)
    )
    settings = Settings(
        network,
        tuple(options.classes),
        tuple(category_names(options.data[0][0])),
        minutes=0 if options.steps else options.minutes,
        steps=options.steps,
        batch_size=options.batch_size,
        sizes=sizes,
        optimizer=options.optimizer,
        teacher=options.teacher,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    initial = None
    if options.init:
        from training.graph.tensorflow_files import read_arrays

        initial = read_arrays(network, options.init)
    Trainer(
        photos,
        settings,
        RunOptions(
            options.output,
            options.device,
            options.mixed_precision,
            options.workers,
            options.checkpoint_minutes,
            options.snapshot_minutes,
        ),
        initial,
    ).run()
    manifest = options.output / 'model.yaml'
    print(f'{manifest} is ready: instance-seg image PHOTO --model {manifest}')


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
    photos = _photos(options, held=True)
    scores = evaluate(segmenter, photos, options.classes)
    print(as_table(scores))
    if options.errors:
        print(errors.as_table(*errors.count_errors(segmenter, photos, options.classes)))
    if options.json:
        options.json.write_text(
            json.dumps({k: asdict(v) for k, v in scores.items()}, indent=1) + '\n'
        )


def _model_arguments(model: str) -> dict[str, str]:
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
    from training.detector.train import calibration_photos, export_checkpoint

    # Of photos that were trained on it is too certain. With --hold-out 0:0 there are no others.
    photos = calibration_photos(_photos(options, held=True)) if options.data else []
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


if __name__ == '__main__':
    sys.exit(main())
