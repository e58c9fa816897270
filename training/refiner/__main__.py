# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.refiner train|evaluate|export --help``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from instance_seg_ros.settings import Settings as LibrarySettings
from training.data_options import add_data, part_of_data
from training.refiner.crops import cut_out, load_all_classes
from training.refiner.simulate import ALL_FAMILIES, UNSEEN_FAMILIES
from training.run.options import (
    Subparsers,
    add_command,
    add_run_options,
    command_line,
    common_settings,
    run_options,
)


def _add_commands(commands: Subparsers) -> None:
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)


def _add_train(commands: Subparsers) -> None:
    train = add_command(
        commands, 'train', _train, 'train a refiner; resumes a run in the same --output'
    )
    add_data(train, classes=False)
    add_run_options(train, minutes=60, batch_size=16, learning_rate=2e-3)
    add = train.add_argument
    add(
        '--adversarial-from',
        type=float,
        default=0.6,
        metavar='SHARE',
        help='share of the run after which the discriminator takes part; 1 is never',
    )
    add('--init', type=Path, help='folder of a run to start from')
    add(
        '--simulators',
        type=int,
        default=0,
        metavar='N',
        help='for a GPU, which would wait for the workers: N processes simulate coarse masks, and '
        'batches are put together on the device. Two such runs are never quite the same',
    )
    add(
        '--coarse',
        type=Path,
        metavar='JSON',
        help='coarse masks of a real detector on the same images, mixed with simulated ones: what '
        'instance-seg image --json FILE --coarse writes',
    )


def _add_evaluate(commands: Subparsers) -> None:
    test = add_command(commands, 'evaluate', _evaluate, 'what a refiner gains over the plain mask')
    add_data(test, classes=False)
    add = test.add_argument
    add('--model', type=Path, required=True, help='.onnx')
    add('--passes', type=int, default=2, help='of the refiner, 1 or 2')
    add('--families', nargs='+', default=list(ALL_FAMILIES), choices=ALL_FAMILIES)
    add(
        '--coarse',
        type=Path,
        metavar='JSON',
        help='coarse masks of a real detector on the same images, for a row of their own: what '
        'instance-seg image --json FILE --coarse writes',
    )
    add('--min-part', type=float, default=LibrarySettings().min_part, help="the node's setting")
    add('--most', type=int, default=0, help='photos; 0 is all')
    add('--json', type=Path, help='write the figures there, too')


def _add_export(commands: Subparsers) -> None:
    add = add_command(
        commands, 'export', _export, "write the ONNX file of a run's checkpoint"
    ).add_argument
    add('--run', dest='folder', type=Path, required=True, help='folder of the run')
    add('--output', type=Path, required=True, help='.onnx')
    add(
        '--threshold',
        type=float,
        default=0.5,
        help='probability from which on a pixel belongs to the object: higher is less clutter and '
        'more that is missing; evaluate tells what it costs',
    )
    add('--version', default='1', help='for the file itself to tell')


def _train(options: argparse.Namespace) -> None:
    import cv2

    from training.refiner.train import RefinerTask, Settings, read_average
    from training.run.loop import Run
    from training.run.report import log_file

    where = run_options(options)
    cv2.setNumThreads(1)
    settings = Settings(**common_settings(options), adversarial_from=options.adversarial_from)
    initial = None
    if options.init:
        stored, initial = read_average(options.init)
        settings = replace(settings, widths=stored.widths)
    photos = part_of_data(options, False, load_all_classes)
    crops = cut_out(photos, coarse=options.coarse)
    with log_file(options.output):
        Run(RefinerTask(crops, settings, where, initial, options.simulators), where).run()
    print(f'{options.output} is ready for python -m training.refiner export --run {options.output}')


def _evaluate(options: argparse.Namespace) -> None:
    from instance_seg_ros.refinement.refiner import MaskRefiner
    from training.refiner.evaluate import Report, as_table, cases, detected_cases, evaluate

    refine = MaskRefiner(options.model, passes=options.passes)
    photos = part_of_data(options, True, load_all_classes)
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


main = command_line('python -m training.refiner', __doc__, _add_commands)

if __name__ == '__main__':
    sys.exit(main())
