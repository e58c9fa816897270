# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Command line: ``python -m training.everyday pack|merge|train|evaluate|export --help``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

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


def _add_commands(commands: Subparsers) -> None:
    pack.add_options(add_command(commands, 'pack', pack.run, 'pack COCO files into a few files'))
    merge.add_options(add_command(commands, 'merge', merge.run, 'make one pack of several'))
    _add_train(commands)
    add_evaluate(commands)
    _add_export(commands)


def _add_train(commands: Subparsers) -> None:
    train = add_command(
        commands, 'train', _train, 'train a model; resumes a run in the same --output'
    )
    add = train.add_argument
    add('--packed', type=Path, metavar='FOLDER', help='that pack or merge wrote')
    add('--labels', type=Path, help='in place of --packed: its file of labels, and --photos')
    add('--photos', type=Path, nargs='+', help='its files of photos, in their order')
    add_hold_out(train)
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
    add('--backbone', type=Path, help='ImageNet weights of EfficientNet-Lite0; else from scratch')
    add('--teacher', type=Path, help='folder of yolox-nano.param and .bin; else none')
    add('--side', type=int, default=448, help='of the augmented views, pixels; a multiple of 32')
    add(
        '--backbone-rate',
        type=float,
        default=0.3,
        help='share of the learning rate; 0 with --init leaves the backbone as it is',
    )
    add('--weight-decay', type=float, default=0.03)
    add('--averaging', type=float, default=0.998, help='decay of the averaged weights')
    add('--imitation', type=float, default=1.0, help="weight of the teacher's features")
    add('--dense', type=float, default=0.5, help="weight of the teacher's class scores")
    add('--checks', type=int, default=4, help='times that the held-out photos are looked at')
    add('--name', default='everyday', help='of the file of averaged weights in --output')
    add('--compile', action='store_true', help='fuse a part of the losses, on a GPU')
    add('--most-photos', type=int, help='read no more than these, for a try')
    add('--teacher-batch', type=int, default=64, help='photos that the teacher sees at a time')


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
    add_onnx_option(export)


def _train(options: argparse.Namespace) -> None:
    import torch

    from training.everyday.packed_data import PackedData, files_of_pack
    from training.everyday.teacher import Teacher
    from training.everyday.train import EverydayTask, Settings, first_network
    from training.run.loop import Run
    from training.run.report import log_file

    if bool(options.packed) == bool(options.labels and options.photos):
        raise ValueError('expected --packed FOLDER, or both --labels and --photos')
    labels, photos = options.labels, options.photos
    if options.packed:
        labels, photos = files_of_pack(options.packed)
    if options.side < 32 or options.side % 32:
        raise ValueError(f'--side {options.side}: expected a multiple of 32')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    where = run_options(options)
    settings = Settings(
        **common_settings(options),
        side=options.side,
        backbone_rate=options.backbone_rate,
        weight_decay=options.weight_decay,
        average=options.averaging,
        imitation=options.imitation,
        dense=options.dense,
        proposed=_categories(options.propose, labels.with_name(pack.NAMES)),
    )
    device = torch.device(where.device)
    with log_file(options.output):
        data = PackedData(labels, photos, held_out_ids(options), device, options.most_photos)
        teacher = None
        if options.teacher is not None:
            stem = options.teacher / 'yolox-nano'
            teacher = Teacher(stem.with_suffix('.param'), stem.with_suffix('.bin'), device)
            data.complete_labels(teacher, options.teacher_batch)
        frozen = not options.backbone_rate
        task = EverydayTask(
            data,
            settings,
            where,
            lambda classes: first_network(classes, options.init, options.backbone, frozen=frozen),
            teacher,
            options.checks,
            options.name,
        )
        if options.compile:
            task.compile()
        run = Run(task, where)
        if options.init is not None and not run.step:
            task.fit_heads()
        names = labels.with_name(pack.NAMES)
        if names.is_file():
            shutil.copyfile(names, options.output / pack.NAMES)
        run.run()
    print(
        f'{options.output} is ready for python -m training.everyday export --run {options.output}'
    )


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
    from training.everyday.export import export, load_network, read_choices
    from training.everyday.packed_data import read_names

    names = read_names(options.names or options.folder / pack.NAMES)
    chosen = read_choices(options.settings) if options.settings else {}
    network = load_network(options.folder / f'{options.name}.pt')
    manifest = export(network, names, options.output, **chosen)
    print(f'wrote {manifest}')
    export_onnx(options, manifest)


main = command_line('python -m training.everyday', __doc__, _add_commands)

if __name__ == '__main__':
    sys.exit(main())
