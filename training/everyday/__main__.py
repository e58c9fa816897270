# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.everyday pack|merge|train|refit|evaluate|export --help``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from training.data_options import add_hold_out, held_out_ids
from training.detector.__main__ import add_evaluate
from training.everyday import merge, pack
from training.onnx_export import add_onnx_option, export_onnx
from training.run.options import (
    Subparsers,
    add_command,
    add_run_options,
    command_line,
    common_settings,
    run_options,
)

if TYPE_CHECKING:
    from training.everyday.packed_data import PackedData
    from training.everyday.teacher import Teacher
    from training.run.settings import RunOptions


def _add_commands(commands: Subparsers) -> None:
    pack.add_options(add_command(commands, 'pack', pack.run, 'pack COCO files into a few files'))
    merge.add_options(add_command(commands, 'merge', merge.run, 'make one pack of several'))
    _add_train(commands)
    _add_refit(commands)
    add_evaluate(commands)
    _add_export(commands)


def _add_data(command: argparse.ArgumentParser) -> None:
    """Add what says which photos are trained on, and what is seen and written of a run."""
    add = command.add_argument
    add('--packed', type=Path, metavar='FOLDER', help='that pack or merge wrote')
    add('--labels', type=Path, help='in place of --packed: its file of labels, and --photos')
    add('--photos', type=Path, nargs='+', help='its files of photos, in their order')
    add_hold_out(command)
    add('--teacher', type=Path, help='folder of yolox-nano.param and .bin; else none')
    add('--teacher-batch', type=int, default=64, help='photos that the teacher sees at a time')
    add('--most-photos', type=int, help='read no more than these, for a try')
    add('--checks', type=int, default=4, help='times that the held-out photos are looked at')
    add('--name', default='everyday', help='of the file of averaged weights in --output')


def _add_train(commands: Subparsers) -> None:
    train = add_command(
        commands, 'train', _train, 'train a model; resumes a run in the same --output'
    )
    add = train.add_argument
    _add_data(train)
    add_run_options(
        train,
        minutes=9,
        batch_size=96,
        learning_rate=2e-3,
        device='auto',
        threads=None,
        workers=None,
    )
    add(
        '--init',
        type=Path,
        help="what to go on from: a frozen graph, as models/everyday_mask_rcnn.pb, or a run's .pt",
    )
    add(
        '--propose',
        nargs='+',
        default=[],
        metavar='CLASS',
        help='classes that the first stage proposes, by default all; the others are background to '
        'it, and leave more proposals to these',
    )
    add(
        '--backbone',
        type=Path,
        help='ImageNet weights of EfficientNet-Lite0, 1 or 2, which the network then has; else a '
        'Lite0 from scratch',
    )
    add(
        '--heads',
        type=Path,
        metavar='GRAPH',
        help='frozen graph whose layers behind the backbone a network with another backbone takes '
        'over, its classes included: the pack has their ids',
    )
    add(
        '--matching-share',
        type=float,
        default=0.15,
        help="share of the time in which it learns to make these layers' features alone",
    )
    add('--side', type=int, default=448, help='of the augmented views, pixels; a multiple of 32')
    add(
        '--backbone-rate',
        type=float,
        default=0.3,
        help='share of the learning rate; 0 with --init leaves the backbone as it is',
    )
    add(
        '--frozen-blocks',
        type=int,
        default=0,
        metavar='N',
        help='first blocks of the backbone, of 16 or, in Lite1 and 2, 21, that stay as they are '
        'with --init, as do the kernels of all depthwise convolutions; 11 or 15: all up to '
        'stride 16',
    )
    add(
        '--keep-classes',
        action='store_true',
        help="of the frozen graph of --init, whose category ids are COCO's: the pack has them, too",
    )
    own = 'longest side of a photo that has a view for itself, pixels'
    _add_sides(train, '--photo-sides', (304, 960), own)
    _add_sides(train, '--part-sides', (208, 560), 'the same where four photos share a view')
    add(
        '--filled-views',
        action='store_true',
        help='views have the shapes of photos and no grey around them, as pictures have in use',
    )
    add('--weight-decay', type=float, default=0.03)
    add('--averaging', type=float, default=0.998, help='decay of the averaged weights')
    add('--imitation', type=float, default=1.0, help="weight of the teacher's features")
    add('--dense', type=float, default=0.5, help="weight of the teacher's class scores")
    add('--paste', type=float, default=0.0, help='share of views with an object of another photo')
    add(
        '--box-masks',
        type=int,
        default=0,
        metavar='N',
        help='objects of an image, on average, whose masks learn from boxes alone at most',
    )
    add('--compile', action='store_true', help='fuse a part of the losses, on a GPU')


def _add_sides(
    command: argparse.ArgumentParser, option: str, default: tuple[float, float], meaning: str
) -> None:
    metavar = 'LOW', 'HIGH'
    command.add_argument(
        option, type=float, nargs=2, default=default, metavar=metavar, help=meaning
    )


def _add_refit(commands: Subparsers) -> None:
    refit = add_command(
        commands,
        'refit',
        _refit,
        'train both stages of a trained network on whole photos; its features stay',
    )
    _add_data(refit)
    add_run_options(
        refit,
        minutes=40,
        batch_size=8,
        learning_rate=5e-4,
        device='auto',
        threads=None,
        workers=None,
    )
    refit.add_argument(
        '--init', type=Path, required=True, help="a frozen graph, or a run's averaged weights (.pt)"
    )
    around = 'longest side of the photos, pixels; around input_max_side of the model'
    _add_sides(refit, '--sides', (420, 640), around)


def _add_export(commands: Subparsers) -> None:
    export = add_command(commands, 'export', _export, "write the model of a run's averaged weights")
    add = export.add_argument
    add('--run', dest='folder', type=Path, required=True, help='folder of the run')
    add(
        '--output',
        type=Path,
        required=True,
        help='path without ending; .pb, .pbtxt and more are added',
    )
    add('--name', default='everyday', help='as the training had it')
    add(
        '--names', type=Path, help="names.json of the pack; by default the copy in the run's folder"
    )
    add(
        '--settings',
        type=Path,
        help='JSON of what is reported, what is added to logits and what the manifest says, as '
        'training/everyday/reported.json',
    )
    add(
        '--blend',
        type=Path,
        metavar='GRAPH',
        help='write weights between those of the frozen graph that the run went on from, with its '
        "classes, and the run's",
    )
    add('--blend-share', type=float, default=0.5, help="how much of the run's, 0 to 1")
    add(
        '--float16',
        action='store_true',
        help='store kernels as float16: half the size, computed in float32 as before',
    )
    add_onnx_option(export)


def _train(options: argparse.Namespace) -> None:
    from training.everyday.packed_data import read_names
    from training.everyday.train import EverydayTask, Settings, first_network
    from training.run.loop import Run

    labels, photos = _files(options)
    if options.side < 32 or options.side % 32:
        raise ValueError(f'--side {options.side}: expected a multiple of 32')
    if options.frozen_blocks < 0:
        raise ValueError(f'--frozen-blocks {options.frozen_blocks}: expected 0 or more')
    if options.init is None and (options.frozen_blocks or options.keep_classes):
        raise ValueError('--frozen-blocks and --keep-classes need --init: what to go on from')
    if options.init is not None and options.heads is not None:
        raise ValueError('--heads is for a new backbone: expected no --init beside it')
    where = run_options(options)
    settings = Settings(
        **common_settings(options),
        side=options.side,
        photo_sides=_sides('--photo-sides', options.photo_sides),
        part_sides=_sides('--part-sides', options.part_sides),
        filled=options.filled_views,
        backbone_rate=options.backbone_rate,
        weight_decay=options.weight_decay,
        average=options.averaging,
        imitation=options.imitation,
        dense=options.dense,
        pasted=_share('--paste', options.paste),
        box_masks=_count('--box-masks', options.box_masks),
        matching=_share('--matching-share', options.matching_share) if options.heads else 0.0,
        proposed=_categories(options.propose, labels.with_name(pack.NAMES)),
    )
    with _data(options, labels, photos, where) as (data, teacher):
        frozen = options.frozen_blocks if options.backbone_rate else None
        numbers = sorted(read_names(labels.with_name(pack.NAMES)))
        kept = numbers if options.keep_classes else ()
        predecessor = (
            first_network(len(numbers), options.heads, None, kept=numbers)
            if options.heads
            else None
        )
        task = EverydayTask(
            data,
            settings,
            where,
            lambda classes: first_network(
                classes, options.init, options.backbone, frozen_blocks=frozen, kept=kept
            ),
            teacher,
            options.checks,
            options.name,
            predecessor,
        )
        task.inherit_heads()
        if options.compile:
            task.compile()
        run = Run(task, where)
        if options.init is not None and not run.step:
            task.fit_heads()
        run.run()
    _print_end(options)


def _refit(options: argparse.Namespace) -> None:
    from training.everyday.refit import RefitSettings, RefitTask
    from training.run.loop import Run

    labels, photos = _files(options)
    where = run_options(options)
    settings = RefitSettings(**common_settings(options), sides=_sides('--sides', options.sides))
    with _data(options, labels, photos, where) as (data, _):
        task = RefitTask(data, settings, where, options.init, options.checks, options.name)
        Run(task, where).run()
    _print_end(options)


def _files(options: argparse.Namespace) -> tuple[Path, list[Path]]:
    """Return the files of labels and of photos."""
    from training.everyday.packed_data import files_of_pack

    if bool(options.packed) == bool(options.labels and options.photos):
        raise ValueError('expected --packed FOLDER, or both --labels and --photos')
    return files_of_pack(options.packed) if options.packed else (options.labels, options.photos)


@contextmanager
def _data(
    options: argparse.Namespace, labels: Path, photos: list[Path], where: RunOptions
) -> Iterator[tuple[PackedData, Teacher | None]]:
    """Read the photos, with what the teacher sees in them, and the teacher; write a log."""
    import torch

    from training.everyday.packed_data import PackedData
    from training.everyday.teacher import Teacher
    from training.run.report import log_file

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device(where.device)
    with log_file(options.output):
        data = PackedData(labels, photos, held_out_ids(options), device, options.most_photos)
        teacher = None
        if options.teacher is not None:
            stem = options.teacher / 'yolox-nano'
            teacher = Teacher(stem.with_suffix('.param'), stem.with_suffix('.bin'), device)
            data.complete_labels(teacher, options.teacher_batch)
        _take_names(labels.with_name(pack.NAMES), options.output, data.labels.known.shape[1])
        yield data, teacher


def _take_names(source: Path, folder: Path, classes: int) -> None:
    """Copy the names of the classes into the folder of a run; a run that goes on has them.

    Raises:
        ValueError: they are others than those of the run, or not as many as the pack has classes.
    """
    from training.everyday.packed_data import read_names

    if not source.is_file():
        return
    names, target = read_names(source), folder / pack.NAMES
    if len(names) != classes:
        raise ValueError(
            f'{source}: has {len(names)} names, but the labels beside it are of {classes} classes. '
            'Pack again'
        )
    if not target.is_file():
        shutil.copyfile(source, target)
    elif (known := read_names(target)) != names:
        raise ValueError(
            f'{folder}: has a run of the classes {", ".join(known.values())}, and {source} has '
            f'{", ".join(names.values())}. Choose another --output'
        )


def _print_end(options: argparse.Namespace) -> None:
    print(
        f'{options.output} is ready for python -m training.everyday export --run {options.output}'
    )


def _sides(option: str, values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    if not 32 <= low <= high:
        raise ValueError(
            f'{option} {low:g} {high:g}: expected two numbers from 32, the smaller first'
        )
    return low, high


def _share(option: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f'{option} {value:g}: expected a share from 0 to 1')
    return value


def _count(option: str, value: int) -> int:
    if value < 0:
        raise ValueError(f'{option} {value}: expected 0 or more')
    return value


def _categories(wanted: list[str], names: Path) -> tuple[int, ...]:
    """Return the positions of classes among those of a pack."""
    from training.everyday.packed_data import read_names

    if not wanted:
        return ()
    known = list(read_names(names).values())
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(
            f'--propose {" ".join(missing)}: not among the classes of {names}: {", ".join(known)}'
        )
    return tuple(known.index(name) for name in wanted)


def _export(options: argparse.Namespace) -> None:
    from training.everyday.export import blended, export, load_network, read_choices
    from training.everyday.packed_data import read_names

    source = options.names or options.folder / pack.NAMES
    names = read_names(source)
    chosen = read_choices(options.settings, names) if options.settings else {}
    network = load_network(options.folder / f'{options.name}.pt')
    if len(names) != network.config.num_classes:
        raise ValueError(
            f'{source}: has {len(names)} names, and the network of {options.folder} has '
            f'{network.config.num_classes} classes. Expected the {pack.NAMES} of its pack'
        )
    if options.blend:
        share = _share('--blend-share', options.blend_share)
        network = blended(network, options.blend, sorted(names), share)
    manifest = export(network, names, options.output, **chosen, float16=options.float16)
    print(f'wrote {manifest}')
    export_onnx(options, manifest)


main = command_line('python -m training.everyday', __doc__, _add_commands)

if __name__ == '__main__':
    sys.exit(main())
