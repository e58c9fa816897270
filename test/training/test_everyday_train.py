# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The trainer of the detector of everyday things: from labels to files that the Segmenter loads."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from instance_seg_ros import Segmenter
from instance_seg_ros.models import read_manifest
from training.everyday import train
from training.everyday.__main__ import main
from training.everyday.export import load_network
from training.everyday.graph import read_network
from training.everyday.network import EverydayConfig, crop
from training.everyday.pack import NAMES
from training.everyday.packed_data import PackedData, files_of_pack
from training.everyday.packed_labels import LABELS, LabelTable
from training.everyday.packed_photos import PHOTOS, photo_files, unpack_photos
from training.everyday.views import OBJECT
from training.run.report import log_file

SHIPPED = REPOSITORY / 'models' / 'everyday_mask_rcnn.pb'


def packed(data: ToyData, folder: Path, *more: str) -> Path:
    arguments = ['pack', '--data', data.annotations, data.images, '--output', folder, *more]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def packed_as_coco(data: ToyData, folder: Path) -> Path:
    """Packs boxes as COCO's cars (3) and balls as its cats (17)."""
    for category, number in zip(data.content['categories'], (3, 17), strict=True):
        category['id'] = number
    for annotation in data.content['annotations']:
        annotation['category_id'] = {7: 3, 9: 17}[annotation['category_id']]
    data.save()
    return packed(data, folder)


def test_packing_keeps_photos_boxes_and_masks(toy_data: ToyData, tmp_path: Path) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    table = LabelTable.load(folder / LABELS)
    photos, sizes = unpack_photos([folder / PHOTOS])
    assert json.loads((folder / NAMES).read_text()) == {'7': 'box', '9': 'ball'}
    assert sorted(table.image_ids) == list(range(8)) and table.complete.all()
    assert (sizes == 96).all()
    for i, image_id in enumerate(table.image_ids):
        (row,) = np.flatnonzero(table.photo == i)
        x, y, w, h = 20 + image_id, 25, 40, 50
        assert np.allclose(table.box[row] * 96, [x, y, x + w, y + h])
        assert np.unpackbits(table.mask[row]).all() and table.has_mask[row]
        assert photos[i, y + 5 : y + h - 5, x + 5 : x + w - 5].max() > 200


def test_photos_are_packed_in_the_size_that_is_asked_for(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = packed(toy_data, tmp_path / 'small', '--longest-side', '48', '--quality', '95')
    photos, sizes = unpack_photos(photo_files(small))
    assert photos.shape[1:] == (48, 48, 3) and (sizes == 48).all()
    whole, _ = unpack_photos(photo_files(packed(toy_data, tmp_path / 'whole', '--quality', '95')))
    fewer = whole.reshape(-1, 48, 2, 48, 2, 3).mean((2, 4))
    assert np.abs(photos - fewer).mean() < 12
    assert main(['pack', '--data', str(toy_data.annotations), str(toy_data.images),
                 '--output', str(tmp_path / 'none'), '--quality', '0']) == 2  # fmt: skip
    assert 'quality from 1 to 100' in capsys.readouterr().err


def test_a_second_file_adds_what_the_first_does_not_say(toy_data: ToyData, tmp_path: Path) -> None:
    for entry in toy_data.content['images']:
        entry['complete_categories'] = [7]
    toy_data.save()
    more = dict(toy_data.content, annotations=[])
    more['images'] = [dict(e, complete_categories=[7, 9]) for e in more['images']]
    for i in range(8):
        for category in (7, 9):
            box = {'id': 2 * i + category, 'image_id': i, 'iscrowd': 0, 'bbox': [1, 1, 9, 9]}
            more['annotations'].append(box | {'category_id': category})
    second = tmp_path / 'more.json'
    second.write_text(json.dumps(more))
    folder = packed(toy_data, tmp_path / 'packed', '--data', str(second), str(toy_data.images))
    table = LabelTable.load(folder / LABELS)
    assert table.complete.all() and len(table.image_ids) == 8
    # The boxes are those of the first file, the balls those of the second.
    assert (table.category == 0).sum() == (table.category == 1).sum() == 8
    assert (table.box[table.category == 0][:, 2] > 0.5).all()
    assert (table.box[table.category == 1][:, 2] < 0.2).all()


def test_packs_are_split_and_merged(toy_data: ToyData, tmp_path: Path) -> None:
    whole = packed(toy_data, tmp_path / 'whole')
    few = packed(toy_data, tmp_path / 'few', '--classes', 'box', '--part-megabytes', '0.005')
    parts = photo_files(few)
    assert len(parts) > 2 and all(path.stat().st_size <= 5000 for path in parts)
    merged = tmp_path / 'merged'
    assert main(['merge', str(few), str(whole), '--output', str(merged)]) == 0
    assert json.loads((merged / NAMES).read_text()) == {'7': 'box', '9': 'ball'}
    table = LabelTable.load(merged / LABELS)
    # The first pack says nothing of balls.
    assert table.complete[:8].tolist() == [[True, False]] * 8 and table.complete[8:].all()
    assert sorted(table.photo) == list(range(16)) and (table.category == 0).all()
    photos, _ = unpack_photos(photo_files(merged))
    for first, second in zip(*(unpack_photos(photo_files(f)) for f in (few, whole)), strict=True):
        assert (first == second).all()
    ids = [LabelTable.load(folder / LABELS).image_ids for folder in (few, whole)]
    assert (table.image_ids == np.concatenate(ids)).all() and len(photos) == 16


def test_a_run_keeps_the_names_of_its_classes(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, other = packed(toy_data, tmp_path / 'packed'), tmp_path / 'other'
    shutil.copytree(folder, other)
    names = json.loads((folder / 'names.json').read_text())
    (other / 'names.json').write_text(json.dumps({key: f'a {name}' for key, name in names.items()}))
    output = tmp_path / 'run'
    output.mkdir()
    shutil.copy(folder / 'names.json', output)
    command = ['train', '--output', str(output), '--steps', '1', '--hold-out', '0:0', '--packed']
    assert main([*command, str(other)]) == 2
    assert f'{output}: has a run of the classes' in capsys.readouterr().err
    assert json.loads((output / 'names.json').read_text()) == names
    (other / 'names.json').write_text('{}')
    assert main([*command, str(other)]) == 2
    assert 'names.json: has 0 names, but the labels beside it are of' in capsys.readouterr().err


def test_all_objects_of_a_crowded_photo_are_labels(
    toy_data: ToyData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = toy_data.content['annotations']
    for count, room in ((120, 120), (300, 256)):
        toy_data.content['annotations'] = [
            *others, *({**first, 'id': 100 + i} for i in range(count))
        ]  # fmt: skip
        toy_data.save()
        folder = packed(toy_data, tmp_path / str(count))
        table = LabelTable.load(folder / 'labels.npz')
        data = PackedData(*files_of_pack(folder), (0, 0), torch.device('cpu'))
        row = table.image_ids.tolist().index(first['image_id'])
        assert int((data.labels.kind[row] == OBJECT).sum()) == room
        # What there is no room for is no background.
        assert data.labels.known[row].tolist() == [count == room, True]
        assert ('objects are left out: 1 photos have more than 256' in caplog.text) == (count > 256)


@pytest.mark.parametrize(
    'ids, expected',
    [((7, 9), {'7': 'box', '9': 'ball'}), ((9, 7), {'1': 'box', '2': 'ball'}),
     ((0, 1), {'1': 'box', '2': 'ball'})],
)  # fmt: skip
def test_names_are_in_the_order_of_the_classes(
    toy_data: ToyData, tmp_path: Path, ids: tuple[int, int], expected: dict[str, str]
) -> None:
    for category, number in zip(toy_data.content['categories'], ids, strict=True):
        category['id'] = number
    toy_data.content['annotations'] = []
    toy_data.save()
    folder = packed(toy_data, tmp_path / 'packed')
    assert json.loads((folder / NAMES).read_text()) == expected


def test_a_run_that_holds_out_nothing_ends_well(toy_data: ToyData, tmp_path: Path) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '2', '--batch-size', '1', '--side', '64', '--init', str(SHIPPED)]
    arguments += ['--backbone-rate', '0', '--hold-out', '0:0', '--output', str(tmp_path / 'run')]
    assert main(arguments) == 0


def test_a_run_from_the_shipped_graph_without_a_step_is_that_graph(
    toy_data: ToyData, tmp_path: Path
) -> None:
    """What is trained on is what was shipped, and what is exported what was trained."""
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '1', '--batch-size', '1', '--side', '64', '--init', str(SHIPPED)]
    arguments += ['--backbone-rate', '0', '--learning-rate', '1e-12', '--checks', '0']
    assert main([*arguments, '--output', str(tmp_path / 'run')]) == 0
    before = read_network(SHIPPED, EverydayConfig(num_classes=90))
    after = load_network(tmp_path / 'run' / 'everyday.pt')
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        for expected, got in zip(
            before.first_stage(before.levels(image)[0]),
            after.first_stage(after.levels(image)[0]),
            strict=True,
        ):
            assert (got - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_new_backbone_takes_over_the_heads_of_a_graph(toy_data: ToyData, tmp_path: Path) -> None:
    """What they make of features is what they made of them in the graph, class by class."""
    folder = packed_as_coco(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '2', '--batch-size', '2', '--side', '64', '--checks', '0']
    arguments += ['--heads', str(SHIPPED), '--matching-share', '0.5', '--learning-rate', '1e-12']
    assert main([*arguments, '--output', str(tmp_path / 'run')]) == 0
    before = read_network(SHIPPED, EverydayConfig(num_classes=90))
    after = load_network(tmp_path / 'run' / 'everyday.pt')
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    regions = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(1)).sort(-1).values
    with torch.no_grad():
        features = before.levels(image)[0]
        old, new = (network.first_stage(features)[1] for network in (before, after))
        assert (old - new).abs().max() < 0.05 * old.abs().max()
        inner = [network.regions(crop(features, regions)) for network in (before, after)]
        old, new = (n.second_stage(x)[1] for n, x in zip((before, after), inner, strict=True))
        assert (old[:, [0, 3, 17]] - new).abs().max() < 0.05 * old.abs().max()
        assert (after.levels(image)[0] - features).abs().max() > 0.1 * features.abs().max()


def test_a_run_keeps_classes_of_a_graph_and_the_first_blocks(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes that the pack shares with the graph are not learnt from nothing."""
    folder = packed_as_coco(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '1', '--batch-size', '2', '--side', '64', '--checks', '0']
    arguments += ['--init', str(SHIPPED), '--keep-classes', '--output']
    assert main([*arguments, str(tmp_path / 'same'), '--learning-rate', '1e-12']) == 0
    more = ['--frozen-blocks', '15', '--learning-rate', '10', '--averaging', '0']
    more += ['--photo-sides', '64', '80', '--part-sides', '40', '60', '--filled-views']
    assert main([*arguments, str(tmp_path / 'other'), *more]) == 0
    before = read_network(SHIPPED, EverydayConfig(num_classes=90))
    same, other = (load_network(tmp_path / run / 'everyday.pt') for run in ('same', 'other'))
    rows = before.classes.weight[[0, 3, 17]]
    assert (same.classes.weight - rows).abs().max() < 1e-3 * rows.abs().max()
    pairs = zip(before.blocks, other.blocks, strict=True)
    kernels = [(old.project.weight, new.project.weight) for old, new in pairs]
    moved = [bool((old - new).abs().max() > 1e-2 * old.abs().max()) for old, new in kernels]
    assert not any(moved[:15]) and any(moved[15:])

    export = ['export', '--run', str(tmp_path / 'other'), '--output', str(tmp_path / 'model')]
    assert main([*export, '--blend', str(SHIPPED), '--blend-share', '0.3']) == 0
    config = EverydayConfig(num_classes=17)
    mean = read_network(tmp_path / 'model.pb', config).region_in.weight
    wanted = torch.lerp(before.region_in.weight, other.region_in.weight, 0.3)
    assert (mean - wanted).abs().max() < 0.01 * (other.region_in.weight - wanted).abs().max()
    assert main([*export, '--blend', str(SHIPPED), '--blend-share', '3']) == 2
    assert '--blend-share 3: expected a share from 0 to 1' in capsys.readouterr().err

    toy_data.content['categories'][1]['id'] = 95
    for annotation in toy_data.content['annotations']:
        annotation['category_id'] = 3
    toy_data.save()
    arguments[2] = str(packed(toy_data, tmp_path / 'beyond'))
    assert main([*arguments, str(tmp_path / 'none')]) == 2
    assert 'has the category ids 1 to 90, the pack has 95' in capsys.readouterr().err


def test_a_run_of_large_category_ids_goes_on_to_a_model(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some tools draw their ids instead of counting."""
    ids = {7: 7346181, 9: 9120034}
    for category in toy_data.content['categories']:
        category['id'] = ids[category['id']]
    for annotation in toy_data.content['annotations']:
        annotation['category_id'] = ids[annotation['category_id']]
    toy_data.save()
    arguments = ['train', '--packed', str(packed(toy_data, tmp_path / 'packed')), '--steps', '1']
    arguments += ['--device', 'cpu', '--threads', '1', '--batch-size', '1', '--side', '64']
    arguments += ['--checks', '0', '--init', str(SHIPPED), '--output', str(tmp_path / 'run')]
    assert main(arguments) == 0
    export = ['export', '--run', str(tmp_path / 'run'), '--output', str(tmp_path / 'model')]
    assert main(export) == 0
    segmenter = Segmenter(model=tmp_path / 'model.yaml', refiner='none')
    assert segmenter.class_names == {0: 'box', 1: 'ball'}
    assert main([*export, '--blend', str(SHIPPED)]) == 2
    assert 'has the category ids 1 to 90, the run has 9120034' in capsys.readouterr().err


def test_a_run_goes_on_from_averaged_weights_and_their_classes(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '1', '--batch-size', '1', '--side', '64', '--checks', '0']
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert main([*arguments, '--init', str(SHIPPED), '--output', str(first)]) == 0
    arguments += ['--init', str(first / 'everyday.pt'), '--propose', 'ball']
    assert main([*arguments, '--learning-rate', '1e-12', '--output', str(second)]) == 0
    before, after = (load_network(run / 'everyday.pt').state_dict() for run in (first, second))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    arguments[-1] = 'bal'
    assert main([*arguments, '--output', str(tmp_path / 'third')]) == 2
    assert '--propose bal: not among the classes of' in capsys.readouterr().err


def test_heads_that_imitate_know_a_trained_network_before_its_first_step(
    toy_data: ToyData, teacher_folder: Path, tmp_path: Path
) -> None:
    toy_data.content['categories'] = [{'id': i, 'name': f'thing {i}'} for i in range(80)]
    toy_data.save()
    arguments = ['train', '--packed', str(packed(toy_data, tmp_path / 'packed')), '--steps', '1']
    arguments += ['--device', 'cpu', '--threads', '1', '--batch-size', '2', '--side', '96']
    arguments += ['--checks', '0', '--init', str(SHIPPED), '--teacher', str(teacher_folder)]
    assert main([*arguments, '--output', str(tmp_path / 'run')]) == 0
    (first,) = re.findall(r'step 1, .* imitation ([\d.]+)', (tmp_path / 'run/run.log').read_text())
    assert float(first) < 3  # heads that know nothing are at 10 and more


def test_a_folder_in_which_a_training_runs_is_left_alone(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = packed(toy_data, tmp_path / 'packed'), tmp_path / 'run'
    arguments = ['--packed', str(folder), '--device', 'cpu', '--threads', '1', '--steps', '1']
    arguments += ['--batch-size', '1', '--checks', '0', '--init', str(SHIPPED)]
    arguments += ['--output', str(output)]
    with log_file(output):
        before = {path.name: path.read_bytes() for path in output.iterdir()}
        for command in 'train', 'refit':
            assert main([command, *arguments]) == 2
            error = capsys.readouterr().err
            assert f'error: another training is running in {output}. Wait for its end' in error
        assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert main(['train', *arguments, '--side', '64']) == 0


def test_a_run_that_is_killed_resumes_exactly(toy_data: ToyData, tmp_path: Path) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '6', '--batch-size', '1', '--side', '64', '--init', str(SHIPPED)]
    arguments += ['--checks', '0', '--checkpoint-minutes', '0', '--output']
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert main([*arguments, str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, '-m', 'training.everyday', *arguments, str(parts)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (parts / 'checkpoint.pt').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (parts / 'everyday.pt').exists()
    assert main([*arguments, str(parts)]) == 0
    assert 'resumed' in (parts / 'run.log').read_text()
    known, resumed = (load_network(run / 'everyday.pt').state_dict() for run in (whole, parts))
    assert all(torch.equal(known[name], resumed[name]) for name in known)


def test_a_run_pastes_objects_and_learns_masks_from_boxes(
    toy_data: ToyData, tmp_path: Path
) -> None:
    for annotation in toy_data.content['annotations'][::2]:
        del annotation['segmentation']
    toy_data.save()
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '1', '--batch-size', '6', '--side', '320', '--init', str(SHIPPED)]
    arguments += ['--checks', '0', '--output']
    assert main([*arguments, str(tmp_path / 'plain')]) == 0
    arguments += [str(tmp_path / 'more'), '--filled-views', '--paste', '1', '--box-masks', '4']
    assert main(arguments) == 0
    plain, more = ((tmp_path / run / 'run.log').read_text() for run in ('plain', 'more'))
    assert re.search(r' projection \d.* affinity \d', more) and 'projection' not in plain
    box_losses = [re.findall(r' class ([\d.]+)', log)[0] for log in (plain, more)]
    assert box_losses[0] != box_losses[1]


def test_a_refit_changes_all_but_the_features_and_goes_on_to_a_model(
    toy_data: ToyData, tmp_path: Path
) -> None:
    folder, run = packed(toy_data, tmp_path / 'packed'), tmp_path / 'run'
    arguments = ['refit', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '2', '--batch-size', '2', '--sides', '96', '128', '--checks', '0']
    arguments += ['--learning-rate', '0.1']
    assert main([*arguments, '--init', str(SHIPPED), '--output', str(run)]) == 0
    log = (run / 'run.log').read_text()
    for loss in ('class', 'box', 'mask', 'rpn_score', 'rpn_box'):
        assert re.search(rf'step 1, .* {loss} \d', log)
    before = read_network(SHIPPED, EverydayConfig(num_classes=90))
    after = load_network(run / 'everyday.pt')
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        features, same = before.levels(image)[0], after.levels(image)[0]
        assert (features - same).abs().max() < 0.02 * features.abs().max()
        # The weights are stored in 16 bits: what was trained moved further than that.
        for name in ('rpn_scores', 'region_in', 'class_in', 'boxes', 'mask_in'):
            old, new = (getattr(network, name).weight for network in (before, after))
            assert (old - new).abs().max() > 1e-3 * old.abs().max(), name
    assert main(['export', '--run', str(run), '--output', str(tmp_path / 'model')]) == 0
    segmenter = Segmenter(model=tmp_path / 'model.yaml', refiner='none')
    segmenter(cv2.imread(str(toy_data.images / '0.png')))


def test_wrong_input_is_named(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    run = ['train', '--output', str(tmp_path / 'run'), '--steps', '1']
    for arguments, message in (
        (run, 'expected --packed FOLDER, or both --labels and --photos'),
        ([*run, '--packed', str(tmp_path)], 'lacks labels.npz or photos'),
        ([*run, '--packed', str(folder), '--hold-out', '1:0'], 'all photos are held out'),
        ([*run, '--packed', str(folder), '--side', '50'], '--side 50: expected a multiple of 32'),
        ([*run, '--packed', str(folder), '--paste', '2'], '--paste 2: expected a share from 0 to'),
        (
            [*run, '--packed', str(folder), '--box-masks', '-1'],
            '--box-masks -1: expected 0 or more',
        ),
        (
            [*run, '--packed', str(folder), '--init', str(SHIPPED), '--frozen-blocks', '22'],
            '22 frozen blocks: expected 0 to 21',
        ),
        (
            [*run, '--packed', str(folder), '--init', str(SHIPPED), '--heads', str(SHIPPED)],
            '--heads is for a new backbone: expected no --init beside it',
        ),
        ([*run, '--packed', str(folder), '--keep-classes'], '--keep-classes need --init'),
        (
            [*run, '--packed', str(folder), '--photo-sides', '500', '300'],
            '--photo-sides 500 300: expected two numbers from 32, the smaller first',
        ),
        (
            [
                'refit',
                *run[1:],
                '--packed',
                str(folder),
                '--init',
                str(SHIPPED),
                '--sides',
                '9',
                '5',
            ],
            '--sides 9 5: expected two numbers from 32, the smaller first',
        ),
        (['merge', str(folder), '--output', str(folder)], 'is one of the packs'),
        (['export', '--run', str(folder), '--output', 'x'], 'everyday.pt: cannot be read'),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize('init', [False, True])
def test_what_was_trained_runs(
    toy_data: ToyData, tmp_path: Path, init: bool, capsys: pytest.CaptureFixture
) -> None:
    folder, run = packed(toy_data, tmp_path / 'packed'), tmp_path / 'run'
    common = ['--steps', '2', '--side', '64', '--checks', '1', '--device', 'cpu']
    if init:
        more = ['train', '--packed', str(folder), '--output', str(run), '--batch-size', '2']
        assert main([*more, *common, '--init', str(SHIPPED)]) == 0
    else:  # the older form of the command
        more = ['--labels', str(folder / LABELS), '--photos', str(folder / PHOTOS)]
        assert train.main([*more, *common, '--out', str(run), '--batch', '2']) == 0
    log = (run / 'run.log').read_text()
    assert '2 steps, 4 views' in log and '1 held out' in log
    export = ['export', '--run', str(run), '--output', str(tmp_path / 'model')]
    assert main([*export, '--onnx']) == 0
    assert set(read_manifest(tmp_path / 'model.yaml').parts) == {'proposals', 'boxes', 'masks'}
    segmenter = Segmenter(model=tmp_path / 'model.yaml', confidence_threshold=0.01, refiner='none')
    assert segmenter.class_names == {6: 'box', 8: 'ball'}
    found = segmenter(cv2.imread(str(toy_data.images / '0.png')))
    assert set(found.class_names) <= {'box', 'ball'}
    other = tmp_path / 'other.json'
    other.write_text('{"1": "box"}')
    assert main([*export, '--names', str(other)]) == 2
    assert 'other.json: has 1 names, and the network of' in capsys.readouterr().err
