# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""COCO files as Label Studio, CVAT, Roboflow and others write them, and as they get broken."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from toy_data import ToyData, write_toy_data

from instance_seg_ros.evaluation.classes import match_classes
from instance_seg_ros.evaluation.notes import DatasetError
from instance_seg_ros.evaluation.reader import CocoDataset, read_coco


@pytest.fixture
def data(tmp_path: Path) -> ToyData:
    """Two photos of 96 x 96, each with a "box" of 40 x 50 pixels."""
    return write_toy_data(tmp_path / 'data', 2)


def read(data: ToyData, **options: Any) -> CocoDataset:
    data.save()
    return read_coco(data.annotations, data.images, **options)


def notes(dataset: CocoDataset) -> str:
    return '\n'.join(dataset.notes.lines())


class TestFileNames:
    @pytest.mark.parametrize(
        ('place', 'name'),
        [
            ('a.png', 'images/default/a.png'),
            ('train/a.png', 'a.png'),
            ('train/a.png', 'export/images/train/a.png'),
            ('photo one.png', 'photo%20one.png'),
            ('photo%20one.png', 'photo%20one.png'),
            ('a.png', 'C:\\Users\\me\\photos\\a.png'),
            ('cups/a.png', 'photos\\cups\\a.png'),
            ('cups/a b.png', '/data/local-files/?d=storage/cups/a%20b.png'),
            ('a.png', 'https://tool.example/data/upload/3/a.png'),
            ('A.PNG', 'a.png'),
            ('a.png', '/home/somebody/photos/a.png'),
            ('a.png', '../../a.png'),
        ],
    )
    def test_a_photo_is_found_by_the_name_of_the_tool(
        self, data: ToyData, place: str, name: str
    ) -> None:
        target = data.images / place
        target.parent.mkdir(exist_ok=True)
        (data.images / '0.png').rename(target)
        data.content['images'][0]['file_name'] = name
        dataset = read(data)
        assert [photo.path for photo in dataset.photos] == [target, data.images / '1.png']
        assert not dataset.notes.lines()

    def test_the_longer_part_of_the_path_decides(self, data: ToyData) -> None:
        for folder in ('left', 'right'):
            (data.images / folder).mkdir()
            (data.images / folder / 'a.png').write_bytes((data.images / '0.png').read_bytes())
        data.content['images'][0]['file_name'] = 'export/right/a.png'
        assert read(data).photos[0].path == data.images / 'right' / 'a.png'
        data.content['images'][0]['file_name'] = 'a.png'
        dataset = read(data)
        assert len(dataset.photos) == 1 and 'left out 1 images that are not in' in notes(dataset)

    def test_two_entries_for_one_file_are_both_left_out(self, data: ToyData) -> None:
        data.content['images'].append({**data.content['images'][0], 'id': 5})
        dataset = read(data)
        assert [photo.name for photo in dataset.photos] == ['1.png']
        assert 'left out 2 images that stand for the same file as another: 0.png' in notes(dataset)


class TestIds:
    @pytest.mark.parametrize(
        ('image', 'annotation'),
        [(3, '3'), ('3', 3), ('f3a', 'f3a'), (3, 3.0), ('007', '007'), (0, 0), (-4, -4)],
    )
    def test_ids_of_any_kind_match(self, data: ToyData, image: Any, annotation: Any) -> None:
        data.content['images'][0]['id'] = image
        data.content['annotations'][0]['image_id'] = annotation
        photo = read(data).photos[0]
        assert len(photo.objects) == 1 and isinstance(photo.image_id, int)

    def test_category_ids_begin_anywhere(self, data: ToyData) -> None:
        data.content['categories'] = [{'id': 0, 'name': 'box'}, {'id': '1', 'name': 'ball'}]
        data.content['annotations'][0]['category_id'] = 0
        data.content['annotations'][1]['category_id'] = 1
        assert [p.objects[0].category for p in read(data).photos] == ['box', 'ball']

    def test_annotations_of_no_image_are_counted(self, data: ToyData) -> None:
        data.content['annotations'][0]['image_id'] = 77
        dataset = read(data)
        assert 'left out 1 annotations whose image_id is that of no image: 77' in notes(dataset)

    def test_a_file_whose_annotations_all_belong_to_no_image_is_refused(
        self, data: ToyData
    ) -> None:
        for annotation in data.content['annotations']:
            del annotation['image_id']
        with pytest.raises(DatasetError, match='none of its 2 annotations has the image_id'):
            read(data)

    def test_an_id_that_two_images_have_is_neither(self, data: ToyData) -> None:
        data.content['images'][1]['id'] = 0
        data.content['images'].append({**data.content['images'][0], 'id': 3, 'file_name': 'c.png'})
        (data.images / 'c.png').write_bytes((data.images / '1.png').read_bytes())
        dataset = read(data)
        assert [p.name for p in dataset.photos] == ['c.png']
        assert 'images that have the id of another: 0' in notes(dataset)


SQUARE = [20, 25, 60, 25, 60, 75, 20, 75]


class TestShapes:
    @pytest.mark.parametrize(
        'polygon',
        [
            [SQUARE],
            SQUARE,
            [[20, 25], [60, 25], [60, 75], [20, 75]],
            [[str(value) for value in SQUARE]],
            [SQUARE, [1, 1, 2, 2]],
        ],
    )
    def test_polygons_of_any_writing(self, data: ToyData, polygon: Any) -> None:
        data.content['annotations'][0]['segmentation'] = polygon
        assert coco_mask.area(read(data).photos[0].objects[0].rle) == 40 * 50

    @pytest.mark.parametrize('form', ['plain', 'floats', 'text'])
    def test_run_lengths_of_any_writing(self, data: ToyData, form: str) -> None:
        mask = np.zeros((96, 96), np.uint8, order='F')
        mask[25:75, 20:60] = 1
        flat = mask.ravel(order='F')
        runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
        compressed = coco_mask.encode(mask)['counts'].decode()
        counts = {'plain': runs, 'floats': [float(run) for run in runs], 'text': compressed}[form]
        data.content['annotations'][0]['segmentation'] = {'size': [96, 96], 'counts': counts}
        rle = read(data).photos[0].objects[0].rle
        np.testing.assert_array_equal(coco_mask.decode(rle), mask)

    @pytest.mark.parametrize(
        'segmentation',
        [
            [[1, 2, 3]],
            [[0, 0, 5, None, 5, 5]],
            [[0, 0, 5, float('inf'), 5, 5]],
            [[0, 0, 5, 0, 5, 5, 5]],
            {'size': [96, 96], 'counts': '0'},  # decoding it would read beyond its end
            {'size': [96, 96], 'counts': [96, -5, 9125]},
            {'size': [5, 5], 'counts': [5, 20]},
            {'size': [96, 96], 'counts': '\xff\xff'},
            {'counts': [1]},
            'text',
            7,
        ],
    )
    def test_a_malformed_mask_leaves_the_box_and_is_counted(
        self, data: ToyData, segmentation: Any
    ) -> None:
        data.content['annotations'][0]['segmentation'] = segmentation
        dataset = read(data)
        found = dataset.photos[0].objects[0]
        assert found.rle is None and found.box.tolist() == [20, 25, 60, 75]
        assert '1 masks that are empty or malformed: their boxes are used: 0.png' in notes(dataset)

    def test_corners_far_outside_cost_nothing(self, data: ToyData) -> None:
        data.content['annotations'][0]['segmentation'] = [[20, 25, 1e12, 25, 1e12, 1e12, 20, 1e12]]
        assert coco_mask.area(read(data).photos[0].objects[0].rle) == 76 * 71

    @pytest.mark.parametrize('bbox', [None, [], [1, 2], [20, 25, 0, 50], 'box'])
    def test_a_mask_without_a_usable_box_has_its_own(self, data: ToyData, bbox: Any) -> None:
        data.content['annotations'][0]['bbox'] = bbox
        dataset = read(data)
        assert dataset.photos[0].objects[0].box.tolist() == [20, 25, 60, 75]
        assert not dataset.notes.lines()

    def test_boxes_alone(self, data: ToyData) -> None:
        for annotation in data.content['annotations']:
            annotation['segmentation'] = []
        dataset = read(data)
        assert all(p.objects[0].rle is None for p in dataset.photos) and not dataset.notes.lines()

    @pytest.mark.parametrize(
        ('bbox', 'complete'),
        [
            ([10, 10, 0, 0], True),  # a stray click
            ([200, 200, 50, 50], False),  # there is an object, but where?
            ([10, 10, float('nan'), 5], False),
            ([10, 10, -5, 5], False),
            (None, False),
        ],
    )
    def test_an_object_without_a_place_is_no_background(
        self, data: ToyData, bbox: Any, complete: bool
    ) -> None:
        data.content['annotations'][0] |= {'bbox': bbox, 'segmentation': None}
        dataset = read(data)
        assert dataset.photos[0].objects == []
        assert dataset.photos[0].incomplete == (frozenset() if complete else {'box'})
        assert 'left out 1 boxes' in notes(dataset)

    def test_an_object_of_an_unknown_category_is_no_background(self, data: ToyData) -> None:
        data.content['annotations'][0]['category_id'] = 5
        dataset = read(data)
        assert dataset.photos[0].incomplete == {'box', 'ball'}
        assert 'left out 1 annotations of an unknown category id: 5' in notes(dataset)

    @pytest.mark.parametrize(
        ('value', 'crowd'), [(1, True), ('1', True), (True, True), (None, False)]
    )
    def test_crowds(self, data: ToyData, value: Any, crowd: bool) -> None:
        data.content['annotations'][0]['iscrowd'] = value
        assert read(data).photos[0].objects[0].crowd == crowd
        assert not read(data, crowds_are_objects=True).photos[0].objects[0].crowd


def test_many_crowds_are_remarked(data: ToyData) -> None:
    assert read(data).crowd_hint() == ''
    data.content['annotations'][0]['iscrowd'] = 1
    assert '1 of 2 objects are crowds (iscrowd: 1)' in read(data).crowd_hint()


class TestEntries:
    @pytest.mark.parametrize(
        ('entry', 'key', 'note'),
        [
            ('images', 'id', 'left out 1 images without an id: 0.png'),
            ('images', 'file_name', 'left out 1 images without a file_name: 0'),
            ('images', 'width', '1 images without a width and height, taken from their files'),
            (
                'annotations',
                'image_id',
                'left out 1 annotations whose image_id is that of no image',
            ),
            ('annotations', 'category_id', 'left out 1 annotations of an unknown category id'),
            ('categories', 'name', 'left out 1 categories without an id or a name'),
        ],
    )
    @pytest.mark.parametrize('missing', [True, False])
    def test_a_missing_key_is_counted(
        self, data: ToyData, entry: str, key: str, note: str, missing: bool
    ) -> None:
        if missing:
            del data.content[entry][0][key]
        else:
            data.content[entry][0][key] = None
        assert note in notes(read(data))

    def test_entries_that_are_no_objects(self, data: ToyData) -> None:
        for entry in ('images', 'annotations', 'categories'):
            data.content[entry] += [None, 7, 'text', []]
        dataset = read(data)
        assert len(dataset.photos) == 2 and len(dataset.notes.lines()) == 3

    def test_the_group_of_roboflow_is_no_category(self, data: ToyData) -> None:
        data.content['categories'] = [
            {'id': 0, 'name': 'things', 'supercategory': 'none'},
            {'id': 7, 'name': 'box', 'supercategory': 'things'},
            {'id': 9, 'name': 'person', 'supercategory': 'person'},
        ]
        dataset = read(data)
        assert dataset.categories == ['box', 'person']
        assert '1 categories without objects that only group others: things' in notes(dataset)

    def test_a_byte_order_mark(self, data: ToyData) -> None:
        data.annotations.write_bytes(b'\xef\xbb\xbf' + json.dumps(data.content).encode())
        assert len(read_coco(data.annotations, data.images).photos) == 2

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            ({'version': '5', 'shapes': [], 'imagePath': 'a.png'}, 'labelme2coco.py'),
            ([{'id': 1, 'data': {}, 'annotations': []}], 'the JSON of Label Studio'),
            ([{'image_id': 1, 'bbox': [1, 2, 3, 4], 'score': 1}], 'COCO results'),
            ({'images': [], 'annotations': {}}, 'it lacks annotations, categories'),
        ],
    )
    def test_files_of_other_kinds_are_named(
        self, data: ToyData, content: Any, message: str
    ) -> None:
        data.annotations.write_text(json.dumps(content))
        with pytest.raises(DatasetError, match=message):
            read_coco(data.annotations, data.images)

    def test_a_folder_that_is_not_there(self, data: ToyData) -> None:
        with pytest.raises(DatasetError, match='no such folder'):
            read_coco(data.annotations, data.images / 'none')

    @pytest.mark.parametrize(('size', 'shape'), [((96, 128), (128, 96)), ((128, 96), (96, 128))])
    def test_a_photo_turned_by_its_exif_data_is_read_as_it_was_annotated(
        self, data: ToyData, size: tuple[int, int], shape: tuple[int, int]
    ) -> None:
        jpeg = cv2.imencode('.jpg', np.full((96, 128, 3), 80, np.uint8))[1].tobytes()
        exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
        segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
        (data.images / '0.png').write_bytes(jpeg[:2] + segment + jpeg[2:])
        data.content['images'][0] |= {'width': size[0], 'height': size[1]}
        dataset = read(data)
        assert dataset.photos[0].read(dataset.notes).shape[:2] == shape
        assert ('segmented as annotated: 0.png' in notes(dataset)) == (size == (128, 96))

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def test_any_value_in_any_place_is_used_or_counted(self, data: ToyData, draw: Any) -> None:
        values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(['size', 'counts', 'id']), inner, max_size=2)
            ),
            max_leaves=6,
        )
        content = json.loads(json.dumps(data.content))
        for _ in range(3):
            entry = draw.draw(st.sampled_from(['images', 'annotations', 'categories']))
            chosen = draw.draw(st.sampled_from(content[entry]))
            key = draw.draw(st.sampled_from([*chosen, 'complete_categories', 'supercategory']))
            chosen[key] = draw.draw(values)
        data.annotations.write_text(json.dumps(content))
        try:
            dataset = read_coco(data.annotations, data.images)
        except DatasetError:
            return
        used = sum(len(photo.objects) for photo in dataset.photos)
        assert used == 2 or dataset.notes.lines()


class TestClasses:
    NAMES = {0: 'person', 4: 'dining table', 7: 'tv'}

    @pytest.mark.parametrize('name', ['Dining Table', 'dining_table', ' DINING-TABLE '])
    def test_the_writing_makes_no_difference(self, name: str) -> None:
        match = match_classes([name, 'lamp'], self.NAMES)
        assert match.class_ids == {name: 4}
        assert match.unknown == ['lamp'] and match.unlabelled == ['person', 'tv']

    def test_a_category_is_renamed(self) -> None:
        match = match_classes(['people', 'TVs'], self.NAMES, {'People': 'person', 'tvs': 'TV'})
        assert match.class_ids == {'people': 0, 'TVs': 7}

    def test_several_categories_can_be_one_class(self) -> None:
        match = match_classes(['Person', 'person', 'tv'], self.NAMES, {'TV': 'person'})
        assert set(match.class_ids.values()) == {0}

    def test_only_some_classes(self) -> None:
        match = match_classes(['person', 'tv'], self.NAMES, only=['TV'])
        assert match.names == {7: 'tv'}

    def test_a_likely_counterpart_is_suggested(self) -> None:
        hints = match_classes(['persons', 'tv'], self.NAMES).hints()
        assert '--rename "persons=person"' in hints[-1]

    @pytest.mark.parametrize(
        ('rename', 'only', 'message'),
        [
            ({}, ['lamb'], 'no class "lamb"'),
            ({'cat': 'tv'}, [], 'has no category "cat"'),
            ({'lamp': 'persn'}, [], 'no class "persn". Did you mean person'),
            ({}, ['person'], 'no category is a class of the model'),
        ],
    )
    def test_unknown_names(self, rename: dict, only: list, message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            match_classes(['lamp', 'tv'], self.NAMES, rename, only)
