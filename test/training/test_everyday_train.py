# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The trainer of the detector of everyday things: from labels to files that the Segmenter loads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from instance_seg_ros import Segmenter
from training.everyday import pack, train
from training.everyday.export import export, load_network

SHIPPED = REPOSITORY / 'models' / 'everyday_mask_rcnn.pb'


def packed(data: ToyData, folder: Path, *more: str) -> Path:
    pack.main(['--data', str(data.annotations), str(data.images), '--output', str(folder), *more])
    return folder


def test_packing_keeps_photos_boxes_and_masks(toy_data: ToyData, tmp_path: Path) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    table = pack.LabelTable.load(folder / pack.LABELS)
    photos, sizes = pack.unpack_photos([folder / pack.PHOTOS])
    assert json.loads((folder / pack.NAMES).read_text()) == {'7': 'box', '9': 'ball'}
    assert sorted(table.image_ids) == list(range(8)) and table.complete.all()
    assert (sizes == 96).all()
    for i, image_id in enumerate(table.image_ids):
        (row,) = np.flatnonzero(table.photo == i)
        x, y, w, h = 20 + image_id, 25, 40, 50
        assert np.allclose(table.box[row] * 96, [x, y, x + w, y + h])
        assert np.unpackbits(table.mask[row]).all() and table.has_mask[row]
        assert photos[i, y + 5 : y + h - 5, x + 5 : x + w - 5].max() > 200


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
    table = pack.LabelTable.load(folder / pack.LABELS)
    assert table.complete.all() and len(table.image_ids) == 8
    # The boxes are those of the first file, the balls those of the second.
    assert (table.category == 0).sum() == (table.category == 1).sum() == 8
    assert (table.box[table.category == 0][:, 2] > 0.5).all()
    assert (table.box[table.category == 1][:, 2] < 0.2).all()


@pytest.mark.parametrize('init', [False, True])
def test_what_was_trained_runs(toy_data: ToyData, tmp_path: Path, init: bool) -> None:
    folder = packed(toy_data, tmp_path / 'packed')
    arguments = ['--labels', str(folder / pack.LABELS), '--photos', str(folder / pack.PHOTOS)]
    arguments += ['--out', str(tmp_path), '--steps', '2', '--batch', '2', '--side', '64']
    arguments += ['--checks', '0'] + (['--init', str(SHIPPED)] if init else [])
    train.main(arguments)
    log = (tmp_path / 'everyday.log').read_text()
    assert '2 steps, 4 views' in log and '1 held out' in log
    network = load_network(tmp_path / 'everyday.pt')
    manifest = export(network, {1: 'box', 2: 'ball'}, tmp_path / 'model')
    segmenter = Segmenter(model=manifest, confidence_threshold=0.01, refiner='none')
    assert segmenter.class_names == {0: 'box', 1: 'ball'}
    found = segmenter(cv2.imread(str(toy_data.images / '0.png')))
    assert set(found.class_names) <= {'box', 'ball'}
