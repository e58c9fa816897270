# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Packs of data as people have it: turned or broken photos, odd files, a folder with a pack."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY
from toy_data import ToyData

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.everyday.__main__ import main
from training.everyday.pack import NAMES
from training.everyday.packed_labels import LABELS, LabelTable
from training.everyday.packed_photos import PHOTOS, photo_files, unpack_photos

SHIPPED = REPOSITORY / 'models' / 'everyday_mask_rcnn.pb'
TURNED = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'


def pack(data: ToyData, folder: Path, *more: str) -> int:
    data.save()
    paths = ['--data', str(data.annotations), str(data.images), '--output', str(folder)]
    return main(['pack', *paths, *more])


def packed(data: ToyData, folder: Path, *more: str) -> LabelTable:
    assert pack(data, folder, *more) == 0
    return LabelTable.load(folder / LABELS)


def photo_of(folder: Path, table: LabelTable, image_id: int) -> np.ndarray:
    """The packed photo of an image, without what is beside it."""
    photos, sizes = unpack_photos(photo_files(folder))
    (place,) = np.flatnonzero(table.image_ids == image_id)
    height, width = sizes[place]
    return photos[place, :height, :width]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def train(folder: Path, output: Path) -> int:
    arguments = ['train', '--packed', str(folder), '--device', 'cpu', '--threads', '1']
    arguments += ['--steps', '2', '--batch-size', '1', '--side', '64', '--init', str(SHIPPED)]
    return main([*arguments, '--backbone-rate', '0', '--output', str(output)])


def turned_jpeg(image: np.ndarray) -> bytes:
    jpeg = cv2.imencode('.jpg', image)[1].tobytes()
    segment = b'\xff\xe1' + (len(TURNED) + 2).to_bytes(2, 'big') + TURNED
    return jpeg[:2] + segment + jpeg[2:]


@pytest.mark.parametrize('as_stored', [False, True])
def test_a_turned_photo_is_packed_as_it_was_annotated(
    toy_data: ToyData, tmp_path: Path, as_stored: bool
) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48] = 255  # turned to the right, the left half is the upper one
    (toy_data.images / '0.png').write_bytes(turned_jpeg(image))
    entry = toy_data.content['images'][0]
    entry['width'], entry['height'] = (96, 64) if as_stored else (64, 96)
    table = packed(toy_data, tmp_path / 'packed')
    photo = photo_of(tmp_path / 'packed', table, 0)
    assert photo.shape == ((64, 96, 3) if as_stored else (96, 64, 3))
    bright, dark = (photo[:, :40], photo[:, 56:]) if as_stored else (photo[:40], photo[56:])
    assert bright.min() > 200 and dark.max() < 50


def test_photos_of_16_bits_keep_their_shades(toy_data: ToyData, tmp_path: Path) -> None:
    cv2.imwrite(str(toy_data.images / '0.png'), np.full((96, 96), 100 * 256, np.uint16))
    table = packed(toy_data, tmp_path / 'packed')
    assert np.abs(photo_of(tmp_path / 'packed', table, 0).astype(int) - 100).max() < 8


def test_a_photo_of_one_column_is_packed(toy_data: ToyData, tmp_path: Path) -> None:
    cv2.imwrite(str(toy_data.images / '0.png'), np.zeros((2000, 1, 3), np.uint8))
    toy_data.content['images'][0] |= {'width': 1, 'height': 2000}
    table = packed(toy_data, tmp_path / 'packed')
    assert photo_of(tmp_path / 'packed', table, 0).shape == (512, 1, 3)


def test_broken_photos_are_left_out_with_their_labels(
    toy_data: ToyData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    png = (toy_data.images / '2.png').read_bytes()
    start = png.index(b'IDAT') + 4
    length = int.from_bytes(png[start - 8 : start - 4], 'big')
    damaged = png[:start] + bytes(length) + png[start + length :]
    (toy_data.images / '2.png').write_bytes(damaged)  # whole as far as can be seen from outside
    (toy_data.images / '5.png').write_bytes(b'no image')
    table = packed(toy_data, tmp_path / 'packed')
    assert sorted(table.image_ids) == [0, 1, 3, 4, 6, 7]
    assert len(unpack_photos(photo_files(tmp_path / 'packed'))[0]) == 6
    for photo, box in zip(table.photo, table.box, strict=True):
        image_id = int(table.image_ids[photo])
        assert box[0] * 96 == pytest.approx(20 + image_id)
        pixels = photo_of(tmp_path / 'packed', table, image_id)
        assert pixels[50, 30 + image_id].max() > 200
    printed = capsys.readouterr().out
    assert 'left out 1 photos that cannot be read' in caplog.text and '5.png' in caplog.text
    assert 'left out 1 of 7 photos; the first: ' in printed and '2.png: ' in printed
    assert '6 photos are in' in printed


def test_a_photo_of_another_size_is_an_error(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(toy_data, tmp_path / 'packed')
    before = contents(tmp_path / 'packed')
    toy_data.content['images'][2]['width'] = 50
    assert pack(toy_data, tmp_path / 'packed') == 2
    assert '2.png: is 96x96 pixels, its annotations are for 50x96' in capsys.readouterr().err
    assert contents(tmp_path / 'packed') == before


def test_labels_for_another_size_than_those_before_are_left_out(
    toy_data: ToyData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for entry in toy_data.content['images']:
        entry['complete_categories'] = [7]
    second = json.loads(json.dumps(toy_data.content))
    for entry in second['images']:
        entry['complete_categories'] = [9]
    # Annotated as it is shown in one file, as it is stored in the other.
    (toy_data.images / '3.png').write_bytes(turned_jpeg(np.zeros((64, 96, 3), np.uint8)))
    toy_data.content['images'][3] |= {'width': 64, 'height': 96}
    second['images'][3] |= {'width': 96, 'height': 64}
    (tmp_path / 'more.json').write_text(json.dumps(second))
    more = ['--data', str(tmp_path / 'more.json'), str(toy_data.images)]
    table = packed(toy_data, tmp_path / 'packed', *more)
    complete = dict(zip(table.image_ids.tolist(), table.complete.tolist(), strict=True))
    assert complete == {i: [True, i != 3] for i in range(8)}
    assert 'left out the labels of 1 photos' in caplog.text and '3.png' in caplog.text


def test_a_pack_stays_where_no_photo_of_the_next_can_be_read(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(toy_data, tmp_path / 'packed')
    before = contents(tmp_path / 'packed')
    for path in toy_data.images.iterdir():
        path.write_bytes(b'no image')
    assert pack(toy_data, tmp_path / 'packed') == 2
    assert 'can be used: left out 8 photos that cannot be read' in capsys.readouterr().err
    assert contents(tmp_path / 'packed') == before


def test_a_pack_stays_where_merging_into_it_fails(toy_data: ToyData, tmp_path: Path) -> None:
    target, good, broken = (tmp_path / name for name in ('target', 'good', 'broken'))
    packed(toy_data, target, '--part-megabytes', '0.005')
    packed(toy_data, good)
    shutil.copytree(good, broken)
    (broken / PHOTOS).write_bytes(b'cut off')
    before = contents(target)
    assert main(['merge', str(good), str(broken), '--output', str(target)]) == 2
    assert contents(target) == before


def damaged(content: bytes) -> bytes:
    """The same size, with an array that cannot be decompressed."""
    start = content.index(b'.npy') + 40
    return content[:start] + b'\xff' * 20 + content[start + 20 :]


def single_array(_content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize('what, name', [('labels', LABELS), ('photos', PHOTOS)])
@pytest.mark.parametrize('broken', [lambda _: b'', lambda c: c[:-9], damaged, single_array])
def test_a_broken_file_of_a_pack_is_named(
    toy_data: ToyData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    what: str,
    name: str,
    broken: Callable[[bytes], bytes],
) -> None:
    folder = tmp_path / 'packed'
    packed(toy_data, folder)
    (folder / name).write_bytes(broken((folder / name).read_bytes()))
    assert train(folder, tmp_path / 'run') == 2
    assert f'error: {folder / name}: is no file of packed {what}' in capsys.readouterr().err


def test_a_new_pack_takes_the_place_of_the_one_before(toy_data: ToyData, tmp_path: Path) -> None:
    packed(toy_data, tmp_path / 'packed', '--part-megabytes', '0.005')
    assert len(photo_files(tmp_path / 'packed')) > 2
    packed(toy_data, tmp_path / 'packed')
    assert set(contents(tmp_path / 'packed')) == {LABELS, NAMES, PHOTOS}


def test_a_pack_without_objects_is_trained_on_and_merged(toy_data: ToyData, tmp_path: Path) -> None:
    full = packed(toy_data, tmp_path / 'full')
    toy_data.content['annotations'] = []
    empty = packed(toy_data, tmp_path / 'empty')
    assert empty.mask.dtype == np.uint8 and empty.mask.shape == (0, full.mask.shape[1])
    assert train(tmp_path / 'empty', tmp_path / 'run') == 0


def test_a_pack_without_objects_of_an_older_release_is_merged(
    toy_data: ToyData, tmp_path: Path
) -> None:
    full = packed(toy_data, tmp_path / 'full')
    toy_data.content['annotations'] = []
    old = vars(packed(toy_data, tmp_path / 'old'))
    np.savez_compressed(tmp_path / 'old' / LABELS, **old | {'mask': np.zeros((0, 392))})
    folders = [str(tmp_path / name) for name in ('old', 'full')]
    assert main(['merge', *folders, '--output', str(tmp_path / 'merged')]) == 0
    with np.load(tmp_path / 'merged' / LABELS) as file:
        assert file['mask'].dtype == np.uint8 and (file['mask'] == full.mask).all()
    assert train(tmp_path / 'merged', tmp_path / 'run') == 0


def test_a_file_with_a_byte_order_mark_is_packed(toy_data: ToyData, tmp_path: Path) -> None:
    toy_data.annotations.write_bytes(b'\xef\xbb\xbf' + toy_data.annotations.read_bytes())
    paths = ['--data', str(toy_data.annotations), str(toy_data.images)]
    assert main(['pack', *paths, '--output', str(tmp_path / 'packed')]) == 0


def test_entries_without_an_id_or_name_are_left_out(toy_data: ToyData, tmp_path: Path) -> None:
    toy_data.content['categories'][0]['name'] = ' box'
    toy_data.content['categories'] += [{'id': 12}, 'lamp']
    toy_data.content['images'] += [{'file_name': 'more.png'}, None]
    table = packed(toy_data, tmp_path / 'packed')
    assert json.loads((tmp_path / 'packed' / NAMES).read_text()) == {'7': 'box', '9': 'ball'}
    assert len(table.image_ids) == 8 and (table.category == 0).sum() == 8


@pytest.mark.parametrize(
    'ids, expected',
    [(('7', '9'), {'7': 'box', '9': 'ball'}), (('b', 'a'), {'1': 'box', '2': 'ball'})],
)
def test_category_ids_may_be_text(
    toy_data: ToyData, tmp_path: Path, ids: tuple[str, str], expected: dict[str, str]
) -> None:
    for category, number in zip(toy_data.content['categories'], ids, strict=True):
        category['id'] = number
    for annotation in toy_data.content['annotations']:
        annotation['category_id'] = ids[0]
    table = packed(toy_data, tmp_path / 'packed')
    assert json.loads((tmp_path / 'packed' / NAMES).read_text()) == expected
    assert (table.category == 0).sum() == 8


@pytest.mark.parametrize('prefix', ['', 'photo '])
def test_photos_whose_ids_are_text_are_preferred(
    toy_data: ToyData, tmp_path: Path, prefix: str
) -> None:
    for key in ('images', 'annotations'):
        for entry in toy_data.content[key]:
            name = 'id' if key == 'images' else 'image_id'
            entry[name] = f'{prefix}{entry[name]}'
    toy_data.content['images'][3]['split'] = 'train'
    table = packed(toy_data, tmp_path / 'packed', '--prefer', 'split')
    (preferred,) = np.flatnonzero(table.share == 1)
    (row,) = np.flatnonzero(table.photo == preferred)
    assert table.box[row, 0] * 96 == pytest.approx(23)


def test_a_file_prefers_its_own_photos_only(toy_data: ToyData, tmp_path: Path) -> None:
    """The second file has a copy of each photo under the same id, and photo 5 of the first."""
    copies = tmp_path / 'copies'
    shutil.copytree(toy_data.images, copies)
    (copies / '5.png').unlink()
    (copies / '5.png').symlink_to(toy_data.images / '5.png')
    second = json.loads(json.dumps(toy_data.content))
    toy_data.content['images'][3]['split'] = 'train'
    for entry in second['images'][4:6]:
        entry['split'] = 'train'
    (tmp_path / 'more.json').write_text(json.dumps(second))
    more = ['--data', str(tmp_path / 'more.json'), str(copies), '--prefer', 'split']
    table = packed(toy_data, tmp_path / 'packed', *more)
    shares = {i: sorted(table.share[table.image_ids == i].tolist()) for i in range(8)}
    twice = {3: [0.5, 1], 4: [0.5, 1], 5: [1]}
    assert shares == {i: twice.get(i, [0.5, 0.5]) for i in range(8)}


def test_ids_of_any_size_are_held_out_as_elsewhere(toy_data: ToyData, tmp_path: Path) -> None:
    for key in ('images', 'annotations'):
        for entry in toy_data.content[key]:
            name = 'id' if key == 'images' else 'image_id'
            entry[name] = 10**30 + 7 * entry[name]
    table = packed(toy_data, tmp_path / 'packed')
    assert len(set(table.image_ids.tolist())) == 8
    for photo, box in zip(table.photo, table.box, strict=True):
        whole = 10**30 + 7 * (round(float(box[0] * 96)) - 20)
        for divisor in (5, 8, 10, 42):
            assert table.image_ids[photo] % divisor == whole % divisor


def test_a_class_that_no_file_has_is_named(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(toy_data, tmp_path / 'packed', '--classes', 'nope') == 2
    error = capsys.readouterr().err
    assert 'no file of --data has nope. Expected some of: box, ball' in error
    assert not (tmp_path / 'packed').exists()


def test_a_file_that_has_none_of_the_classes_is_named(
    toy_data: ToyData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(toy_data.annotations.read_text())
    content['categories'] = [{'id': 7, 'name': 'lamp'}]
    other = tmp_path / 'lamps.json'
    other.write_text(json.dumps(content))
    more = ['--data', str(other), str(toy_data.images)]
    assert pack(toy_data, tmp_path / 'packed', *more) == 2
    error = capsys.readouterr().err
    assert 'lamps.json: has none of the classes box, ball, but lamp. Leave this file out' in error


def test_more_categories_than_a_byte_counts_are_packed(toy_data: ToyData, tmp_path: Path) -> None:
    toy_data.content['categories'] = [{'id': 1 + i, 'name': f'thing {i}'} for i in range(300)]
    for annotation in toy_data.content['annotations']:
        annotation['category_id'] = 300 - annotation['image_id']
    table = packed(toy_data, tmp_path / 'packed')
    assert table.complete.shape == (8, 300)
    by_id = dict(zip(table.image_ids[table.photo].tolist(), table.category.tolist(), strict=True))
    assert by_id == {i: 299 - i for i in range(8)}
