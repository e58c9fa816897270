# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg evaluate``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from instance_seg_ros.cli.console import CommandError, Console, plural
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.results import STDOUT
from instance_seg_ros.evaluation.classes import ClassMatch, match_classes
from instance_seg_ros.evaluation.notes import DatasetError
from instance_seg_ros.evaluation.reader import CocoDataset, read_coco
from instance_seg_ros.evaluation.run import Run, run_over
from instance_seg_ros.evaluation.truth import TruePhoto, crowd_hint, truth_of
from instance_seg_ros.models import find_model
from instance_seg_ros.segmenter import Segmenter

DONE, SOME_SKIPPED = 0, 1
Load = Callable[[str], Segmenter]


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
    try:
        dataset = read_coco(
            options.annotations, options.images, crowds_are_objects=options.crowds == 'objects'
        )
        _plan(options, outputs, dataset)
        dataset.photos[:] = dataset.photos[:: options.every]
        return _evaluate(options, console, outputs, load, dataset)
    except DatasetError as error:
        raise CommandError(str(error)) from None


def _evaluate(
    options: argparse.Namespace,
    console: Console,
    outputs: Outputs,
    load: Load,
    dataset: CocoDataset,
) -> int:
    from instance_seg_ros.evaluation.metrics import figures_of
    from instance_seg_ros.evaluation.tables import as_json, class_table, run_table

    segmenter = load(options.presets[0])
    model = segmenter.model_name
    match = match_classes(
        dataset.categories, segmenter.class_names, dict(options.rename), options.only
    )
    photos = truth_of(dataset, match)
    runs = _runs(options, console, load, segmenter, photos, dataset)
    _warn(console, dataset, match)
    results = figures_of(photos, runs, options.operating_score)
    console.say(
        f'{plural(len(runs[0].found), "photo")}, {len(match.names)} classes of {model}\n\n'
        f'{run_table(results, options.operating_score)}\n\n{class_table(results, match.names)}'
    )
    if options.report is not None:
        from instance_seg_ros.evaluation.report import ReportContent, render_report

        content = ReportContent(
            model,
            dataset.path.name,
            photos,
            match.names,
            results,
            dataset.notes.lines(),
            match.hints(),
            options.operating_score,
            options.pictures,
        )
        outputs.write(options.report, render_report(content).encode('utf-8'))
        console.say(f'\n{options.report}')
    if options.json is not None:
        about = {
            'model': model,
            'annotations': str(options.annotations),
            'operating_score': options.operating_score,
            'notes': dataset.notes.lines() + match.hints(),
            'runs': as_json(results, match.names),
        }
        text = json.dumps(about, indent=1)
        if options.json == STDOUT:
            print(text)
        else:
            outputs.write(options.json, text.encode('utf-8'))
    whole = dataset.listed == len(dataset.photos) if options.every == 1 else True
    return DONE if whole and len(runs[0].found) == len(photos) else SOME_SKIPPED


def _runs(
    options: argparse.Namespace,
    console: Console,
    load: Load,
    segmenter: Segmenter,
    photos: list[TruePhoto],
    dataset: CocoDataset,
) -> list[Run]:
    runs: list[Run] = []
    for preset in options.presets:
        if runs:
            segmenter = load(preset)
        notes = dataset.notes if not runs else type(dataset.notes)()  # the same for each preset
        runs += run_over(
            segmenter,
            preset,
            options.refiners,
            photos,
            notes,
            lambda items, preset=preset: console.bar(items, f'photo ({preset})', len(photos)),
        )
    return runs


def _warn(console: Console, dataset: CocoDataset, match: ClassMatch) -> None:
    for line in [*dataset.notes.lines(), *match.hints()]:
        console.warn(line)
    if hint := crowd_hint(dataset):
        console.warn(hint.removeprefix('. '))


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
