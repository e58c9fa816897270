# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg evaluate``."""

from __future__ import annotations

import argparse
import json

from instance_seg_ros.cli.console import CommandError, Console, plural, print_out
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.values import STDOUT
from instance_seg_ros.evaluation.measure import Choice, Evaluation, Load, measure
from instance_seg_ros.evaluation.notes import DatasetError
from instance_seg_ros.evaluation.reader import CocoDataset, read_coco
from instance_seg_ros.evaluation.report import render_report
from instance_seg_ros.evaluation.tables import as_json, class_table, run_table
from instance_seg_ros.evaluation.truth import BOX, KINDS, MASK
from instance_seg_ros.models import find_model

DONE, SOME_SKIPPED = 0, 1


def run_evaluate(
    options: argparse.Namespace, console: Console, outputs: Outputs, load: Load
) -> int:
    """Measure a model on annotated photos.

    Args:
        options: of the command line.
        console, outputs: what is printed and written.
        load: a Segmenter with a preset.

    Returns:
        The exit code.

    Raises:
        CommandError: a package is missing, or the data set cannot be used.

    """
    _check_packages(report=options.report is not None)
    _check_presets(options)
    choice = Choice(
        options.presets,
        options.refiners,
        dict(options.rename),
        options.only,
        KINDS if options.boundary else (BOX, MASK),
        options.operating_score,
    )
    try:
        dataset = read_coco(
            options.annotations, options.images, crowds_are_objects=options.crowds == 'objects'
        )
        _plan(options, outputs, dataset)
        skipped = dataset.listed - len(dataset.photos)
        dataset.photos[:] = dataset.photos[:: options.every]
        evaluation = measure(
            dataset, load, choice, lambda photos, preset: console.bar(photos, f'photo ({preset})')
        )
    except DatasetError as error:
        raise CommandError(str(error)) from None
    _write(options, console, outputs, evaluation)
    skipped += len(dataset.photos) - evaluation.photos_measured
    return SOME_SKIPPED if skipped else DONE


def _write(
    options: argparse.Namespace, console: Console, outputs: Outputs, evaluation: Evaluation
) -> None:
    for line in evaluation.remarks():
        console.warn(line)
    console.say(
        f'{evaluation.model} on {plural(evaluation.photos_measured, "photo")}\n\n'
        f'{run_table(evaluation.results, evaluation.operating_score)}\n\n'
        f'AP of the classes\n{class_table(evaluation.results, evaluation.names)}'
    )
    if options.json is not None:
        text = json.dumps(as_json(evaluation), indent=1)
        if options.json == STDOUT:
            print_out(text)
        else:
            outputs.write(options.json, text.encode('utf-8'))
    if options.report is not None:
        content = render_report(evaluation, options.pictures)
        # Names of photos may have bytes that are no UTF-8.
        outputs.write(options.report, content.encode('utf-8', 'backslashreplace'))
        console.say(f'\nreport: {options.report}')


def _plan(options: argparse.Namespace, outputs: Outputs, dataset: CocoDataset) -> None:
    outputs.add_sources([dataset.path, *(photo.path for photo in dataset.photos)])
    targets = [t for t in (options.report, options.json) if t is not None and t != STDOUT]
    for target in targets:
        outputs.plan(target, 'a result', inside=False)
    outputs.prepare([target.parent for target in targets])


def _check_packages(*, report: bool) -> None:
    try:
        from instance_seg_ros.evaluation.metrics import import_evaluator

        import_evaluator()
        if report:
            import jinja2  # noqa: F401  # it renders the report
    except ImportError as error:
        raise CommandError(
            f'evaluate needs two more packages ({error}): pip install "faster-coco-eval<2" '
            '"jinja2<4", which the extra instance_seg_ros[evaluate] has'
        ) from None


def _check_presets(options: argparse.Namespace) -> None:
    """See before hours of work that the model knows all presets."""
    manifest = find_model(
        options.model,
        model_path=options.model_path,
        text_graph_path=options.text_graph_path,
        labels_path=options.labels_path,
    )
    for preset in options.presets:
        try:
            manifest.at_speed(preset)
        except ValueError as error:
            raise CommandError(f'--presets: {error}') from None
