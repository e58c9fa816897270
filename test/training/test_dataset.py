# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO files as people export them, and as they get broken."""

import logging

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from toy_data import ToyData

from training.detector.dataset import DatasetError, hold_out, load_photos


def load(data: ToyData, classes: tuple[str, ...] = ('box',)):
    data.save()
    return load_photos(data.annotations, data.images, classes)


def test_boxes_masks_and_semantics(toy_data: ToyData) -> None:
    photos = load(toy_data)
    assert len(photos) == 8
    annotation = photos[2].annotations[0]
    np.testing.assert_array_equal(annotation.box, [22, 25, 62, 75])
    assert coco_mask.area(annotation.rle) == 40 * 50
    assert set(np.unique(photos[2].semantic)) == {0, 1}
    assert photos[2].complete


@pytest.mark.parametrize('prefix', ['/data/local-files/?d=', '?d=', '/data/local-files/?d=my%20x/'])
def test_names_as_label_studio_exports_them(toy_data: ToyData, prefix: str) -> None:
    for image in toy_data.content['images']:
        image['file_name'] = prefix + image['file_name']
    assert len(load(toy_data)) == 8


@pytest.mark.parametrize('compressed', [False, True])
def test_run_lengths(toy_data: ToyData, compressed: bool) -> None:
    mask = np.zeros((96, 96), np.uint8, order='F')
    mask[25:75, 20:60] = 1
    if compressed:
        rle = coco_mask.encode(mask)
        rle['counts'] = rle['counts'].decode()
    else:
        flat = mask.ravel(order='F')
        edges = np.flatnonzero(np.diff(flat)) + 1
        rle = {'size': [96, 96], 'counts': np.diff([0, *edges, flat.size]).tolist()}
    toy_data.content['annotations'][0]['segmentation'] = rle
    assert coco_mask.area(load(toy_data)[0].annotations[0].rle) == 40 * 50


@pytest.mark.parametrize(
    'segmentation',
    [[], [[1, 2, 3]], [[]], {'size': [5, 5], 'counts': 'xx'}, {'counts': [1]}, 'text'],
)
def test_a_useless_mask_leaves_the_box(toy_data: ToyData, segmentation) -> None:
    toy_data.content['annotations'][0]['segmentation'] = segmentation
    annotation = load(toy_data)[0].annotations[0]
    assert annotation.rle is None
    np.testing.assert_array_equal(annotation.box, [20, 25, 60, 75])


def test_a_self_crossing_polygon_is_a_mask(toy_data: ToyData) -> None:
    toy_data.content['annotations'][0]['segmentation'] = [[20, 25, 60, 75, 60, 25, 20, 75]]
    area = coco_mask.area(load(toy_data)[0].annotations[0].rle)
    assert 500 < area < 1500


def test_a_file_of_crowds_is_no_secret(toy_data: ToyData, caplog: pytest.LogCaptureFixture) -> None:
    for annotation in toy_data.content['annotations']:
        annotation['iscrowd'] = 1
    with caplog.at_level(logging.WARNING):
        load(toy_data)
    assert '8 of 8 objects are crowds' in caplog.text and 'CVAT' in caplog.text


def test_crowds_are_neither_object_nor_background(toy_data: ToyData) -> None:
    toy_data.content['annotations'][0]['iscrowd'] = 1
    photo = load(toy_data)[0]
    assert photo.annotations[0].ignore
    assert 255 in photo.semantic


@pytest.mark.parametrize(
    'bbox, expected', [([80, 80, 50, 50], [80, 80, 96, 96]), ([-10, -10, 30, 30], [0, 0, 20, 20])]
)
def test_boxes_are_clipped(toy_data: ToyData, bbox: list, expected: list) -> None:
    toy_data.content['annotations'][0]['bbox'] = bbox
    np.testing.assert_array_equal(load(toy_data)[0].annotations[0].box, expected)


@pytest.mark.parametrize(
    'bbox', [[200, 200, 5, 5], [10, 10, 0, 5], [1, 2, 3], None, [0, 0, float('nan'), 1]]
)
def test_impossible_boxes_are_left_out_and_counted(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture, bbox
) -> None:
    toy_data.content['annotations'][0] |= {'bbox': bbox, 'segmentation': []}
    with caplog.at_level(logging.WARNING):
        assert load(toy_data)[0].annotations == []
    assert 'left out 1 boxes' in caplog.text


def test_where_an_object_was_left_out_nothing_is_background(toy_data: ToyData) -> None:
    toy_data.content['annotations'][0] |= {'bbox': None, 'segmentation': []}
    toy_data.content['annotations'][1]['category_id'] = 1234
    photos = load(toy_data)
    assert [photo.complete for photo in photos[:3]] == [False, False, True]
    assert photos[0].known.tolist() == [False, True]


def test_a_category_that_a_file_lacks_is_unknown_there(toy_data: ToyData) -> None:
    photos = load_photos(toy_data.annotations, toy_data.images, ['box'], ['lamp', 'box'])
    assert photos[0].known.tolist() == [False, True] and photos[0].complete
    assert set(np.unique(photos[0].semantic)) == {0, 2}


def test_objects_behind_the_254th_category_are_no_background(toy_data: ToyData) -> None:
    names = [f'thing {i}' for i in range(300)]
    toy_data.content['categories'] = [{'id': 1 + i, 'name': n} for i, n in enumerate(names)]
    for annotation, category in zip(
        toy_data.content['annotations'], (254, 255, 256, 300) * 2, strict=True
    ):
        annotation['category_id'] = category
    photos = load(toy_data, (names[299],))
    assert [set(np.unique(photo.semantic)) for photo in photos[:4]] == [{0, 254}] + [{0, 255}] * 3
    assert len(photos[3].annotations) == 1 and len(photos[3].known) == 300


def test_an_unknown_category_is_left_out_and_counted(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    toy_data.content['annotations'][0]['category_id'] = 1234
    with caplog.at_level(logging.WARNING):
        assert load(toy_data)[0].annotations == []
    assert 'unknown category' in caplog.text


def test_missing_images_are_counted_and_the_rest_is_used(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    (toy_data.images / '3.png').unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load(toy_data)) == 7
    assert 'left out 1 images' in caplog.text and str(toy_data.images) in caplog.text


def test_no_image_at_all(toy_data: ToyData, tmp_path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DatasetError, match='none of its 8 images'):
        load_photos(toy_data.annotations, tmp_path / 'empty', ['box'])


def test_an_unknown_class_lists_close_ones(toy_data: ToyData) -> None:
    with pytest.raises(DatasetError, match='no category "boxx". Did you mean box'):
        load(toy_data, ('boxx',))


@pytest.mark.parametrize(
    'text, message',
    [
        ('{"images": []}', 'lacks annotations, categories'),
        ('not json', 'cannot be read as JSON'),
        ('[]', 'is no COCO annotation file'),
    ],
)
def test_files_that_are_no_coco_files(toy_data: ToyData, text: str, message: str) -> None:
    toy_data.annotations.write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_photos(toy_data.annotations, toy_data.images, ['box'])


def test_an_image_of_another_size(toy_data: ToyData) -> None:
    toy_data.content['images'][0]['width'] = 50
    with pytest.raises(DatasetError, match=r'0\.png: is 96x96 pixels'):
        load(toy_data)[0].read()


@pytest.mark.parametrize(('size', 'shape'), [((96, 128), (128, 96)), ((128, 96), (96, 128))])
def test_a_photo_turned_by_its_exif_data_is_read_as_it_was_annotated(
    toy_data: ToyData, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    jpeg = cv2.imencode('.jpg', np.full((96, 128, 3), 80, np.uint8))[1].tobytes()
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    entry = toy_data.content['images'][0]
    (toy_data.images / entry['file_name']).write_bytes(jpeg[:2] + segment + jpeg[2:])
    entry['width'], entry['height'] = size
    assert load(toy_data)[0].read().shape[:2] == shape


def test_photos_that_cannot_be_used_are_left_out_before_a_run_begins(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    toy_data.save()
    names = [image['file_name'] for image in toy_data.content['images']]
    (toy_data.images / names[0]).write_bytes(b'')
    (toy_data.images / names[1]).write_bytes((toy_data.images / names[1]).read_bytes()[:200])
    with caplog.at_level(logging.WARNING):
        photos = load_photos(toy_data.annotations, toy_data.images, ('box',))
    assert [photo.path.name for photo in photos] == names[2:]
    assert all(name in caplog.text for name in names[:2])
    for photo in photos:
        photo.read()
    cv2.imwrite(str(toy_data.images / names[2]), np.zeros((50, 70, 3), np.uint8))
    with pytest.raises(DatasetError, match=f'{names[2]}: is 70x50 pixels, its annotations are for'):
        load_photos(toy_data.annotations, toy_data.images, ('box',))


def test_a_photo_with_damaged_pixels_is_left_out_before_a_run_begins(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    path = toy_data.images / '0.png'
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(8)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        photos = load(toy_data)
    assert [photo.path.name for photo in photos][:2] == ['1.png', '2.png']
    assert 'left out 1 photos that cannot be read (is a damaged PNG file' in caplog.text


def test_boxes_that_do_not_fit_their_masks_are_no_secret(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    annotations = toy_data.content['annotations']
    for each in annotations:  # a pixel here and there is nothing
        each['bbox'][0] += 2
    load(toy_data)
    assert 'fit' not in caplog.text
    for each in annotations[:3]:
        each['bbox'] = [each['bbox'][0] + 40, each['bbox'][1], 40, 50]
    load(toy_data)
    assert '3 boxes that do not fit their masks' in caplog.text
    for each in annotations:  # of whole objects, half of which are hidden
        each['bbox'] = [each['bbox'][0], 0, 40, 96]
    assert len(load(toy_data)) == 8
    for i, each in enumerate(annotations):
        each['bbox'] = [20 + i, 25, 40, 50]
    for each in annotations:  # as x1, y1, x2, y2
        x, y, w, h = each['bbox']
        each['bbox'] = [x, y, x + w, y + h]
    with pytest.raises(
        DatasetError, match='bbox is x1, y1, x2, y2, as .* Expected x, y, width, height'
    ):
        load(toy_data)


def test_photos_of_another_folder_are_no_secret(
    toy_data: ToyData, caplog: pytest.LogCaptureFixture
) -> None:
    (toy_data.images / 'first').mkdir()
    for path in toy_data.images.glob('*.png'):
        path.rename(toy_data.images / 'first' / path.name)
    for folder, noted in (('first', False), ('export/first', False), ('second', True)):
        for i, image in enumerate(toy_data.content['images']):
            image['file_name'] = f'{folder}/{i}.png'
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert len(load(toy_data)) == 8
        assert ('images in a folder of another name' in caplog.text) == noted


def test_only_complete_classes_make_background(toy_data: ToyData) -> None:
    toy_data.content['images'][0]['complete_categories'] = [9]
    toy_data.content['images'][1]['complete_categories'] = [7]
    photos = load(toy_data)
    assert [photo.complete for photo in photos[:3]] == [False, True, True]


def test_hold_out_splits_by_image_id(toy_data: ToyData) -> None:
    train, held = hold_out(load(toy_data), 4, 1)
    assert [photo.image_id for photo in held] == [1, 5]
    assert len(train) == 6
