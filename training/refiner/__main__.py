# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.refiner train|evaluate|export --help``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2

from instance_seg_ros.settings import Settings as LibrarySettings
from training.detector.dataset import DatasetError, Photo, hold_out
from training.refiner.crops import cut_out, load_all_classes
from training.refiner.simulate import ALL_FAMILIES, UNSEEN_FAMILIES


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
    parser = argparse.ArgumentParser(prog='python -m training.refiner', description=__doc__)
    commands = parser.add_subparsers(required=True)
    show = argparse.ArgumentDefaultsHelpFormatter
    train = commands.add_parser(
        'train', help='train a refiner; resumes a run in the same --output', formatter_class=show
    )
    train.set_defaults(run=_train)
    _add_data(train)
    train.add_argument('--output', type=Path, required=True, help='folder of the run')
    train.add_argument('--minutes', type=float, default=60, help='length of the run')
    train.add_argument(
        '--steps', type=int, default=0, help='length in steps instead; such a run is reproducible'
    )
    train.add_argument(
        '--adversarial-from',
        type=float,
        default=0.6,
        metavar='SHARE',
        help='share of the run after which the discriminator takes part; 1 is never',
    )
    train.add_argument('--init', type=Path, help='folder of a run to start from')
    train.add_argument('--batch-size', type=int, default=16)
    train.add_argument('--learning-rate', type=float, default=2e-3)
    train.add_argument('--seed', type=int, default=0)
    train.add_argument('--device', default='cpu', help='cpu or cuda')
    train.add_argument(
        '--mixed-precision', action='store_true', help='bfloat16 where the processor has it'
    )
    train.add_argument('--threads', type=int, default=os.cpu_count())
    train.add_argument('--workers', type=int, default=1, help='processes that make samples')
    train.add_argument(
        '--simulators',
        type=int,
        default=0,
        metavar='N',
        help='for a GPU, which would wait for the workers: N processes simulate coarse masks, and '
        'batches are put together on the device. Two such runs are never quite the same',
    )
    train.add_argument('--checkpoint-minutes', type=float, default=5)
    train.add_argument(
        '--coarse',
        type=Path,
        metavar='JSON',
        help='coarse masks of a real detector on the same images, mixed with simulated ones: what '
        'instance-seg image --json FILE --coarse writes',
    )
    test = commands.add_parser(
        'evaluate', help='what a refiner gains over the plain mask', formatter_class=show
    )
    test.set_defaults(run=_evaluate)
    _add_data(test)
    test.add_argument('--model', type=Path, required=True, help='.onnx')
    test.add_argument('--passes', type=int, default=2, help='of the refiner, 1 or 2')
    test.add_argument('--families', nargs='+', default=list(ALL_FAMILIES), choices=ALL_FAMILIES)
    test.add_argument(
        '--coarse',
        type=Path,
        metavar='JSON',
        help='coarse masks of a real detector on the same images, for a row of their own: what '
        'instance-seg image --json FILE --coarse writes',
    )
    test.add_argument(
        '--min-part', type=float, default=LibrarySettings().min_part, help="the node's setting"
    )
    test.add_argument('--most', type=int, default=0, help='photos; 0 is all')
    test.add_argument('--json', type=Path, help='write the figures there, too')
    export = commands.add_parser(
        'export', help="write the ONNX file of a run's checkpoint", formatter_class=show
    )
    export.set_defaults(run=_export)
    export.add_argument('--run', dest='folder', type=Path, required=True, help='folder of the run')
    export.add_argument('--output', type=Path, required=True, help='.onnx')
    export.add_argument(
        '--threshold',
        type=float,
        default=0.5,
        help='probability from which on a pixel belongs to the object: higher is less clutter and '
        'more that is missing; evaluate tells what it costs',
    )
    export.add_argument('--version', default='1', help='for the file itself to tell')
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--data',
        nargs=2,
        action='append',
        required=True,
        metavar=('JSON', 'IMAGES'),
        type=Path,
        help='COCO annotation file with masks and its image folder; may be given again',
    )
    parser.add_argument(
        '--hold-out',
        default='8:5',
        metavar='N:K',
        help='images whose id %% N is K are for evaluation alone; 0:0 holds out none',
    )


def _photos(options: argparse.Namespace, held: bool) -> list[Photo]:
    photos = [p for file, folder in options.data for p in load_all_classes(file, folder)]
    try:
        modulus, remainder = (int(number) for number in options.hold_out.split(':'))
    except ValueError:
        raise ValueError(
            f'--hold-out: "{options.hold_out}" is not of the form NUMBER:NUMBER'
        ) from None
    if modulus == 0:
        return photos
    chosen = hold_out(photos, modulus, remainder)[held]
    if not chosen:
        raise DatasetError(
            f'--hold-out {options.hold_out} leaves no image to {"evaluate" if held else "train"} on'
        )
    return chosen


def _train(options: argparse.Namespace) -> None:
    import torch

    from training.refiner.train import RunOptions, Settings, Trainer, read_average

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    settings = Settings(
        minutes=0 if options.steps else options.minutes,
        steps=options.steps,
        adversarial_from=options.adversarial_from,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    initial = None
    if options.init:
        stored, initial = read_average(options.init)
        settings = replace(settings, widths=stored.widths)
    Trainer(
        cut_out(_photos(options, held=False), coarse=options.coarse),
        settings,
        RunOptions(
            options.output,
            options.device,
            options.mixed_precision,
            options.workers,
            options.simulators,
            options.checkpoint_minutes,
        ),
        initial,
    ).run()
    print(f'{options.output} is ready for python -m training.refiner export --run {options.output}')


def _evaluate(options: argparse.Namespace) -> None:
    from instance_seg_ros.refinement.refiner import MaskRefiner
    from training.refiner.evaluate import Report, as_table, cases, detected_cases, evaluate

    refine = MaskRefiner(options.model, passes=options.passes)
    photos = _photos(options, held=True)
    measured = {
        f'{family} (unseen)' if family in UNSEEN_FAMILIES else family: cases(
            photos, family, options.most
        )
        for family in options.families
    }
    if options.coarse:
        measured['real detector'] = detected_cases(photos, options.coarse)
    reports: dict[str, Report] = {
        name: evaluate(of_family, refine, min_part=options.min_part)
        for name, of_family in measured.items()
    }
    print(as_table(reports))
    if options.json:
        content = {family: asdict(report) for family, report in reports.items()}
        options.json.write_text(json.dumps(content, indent=1) + '\n')


def _export(options: argparse.Namespace) -> None:
    from training.refiner.export import export_refiner
    from training.refiner.train import read_average

    settings, weights = read_average(options.folder)
    difference = export_refiner(
        settings.widths, weights, options.output, options.version, options.threshold
    )
    print(f'wrote {options.output}; onnxruntime and PyTorch differ by {difference:.1g}')


if __name__ == '__main__':
    sys.exit(main())
