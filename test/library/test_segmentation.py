# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The three functions for scripts, with the shipped model."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import ImageError, ModelError, Segmenter
from instance_seg_ros.models import find_model
from instance_seg_ros.segmentation import draw_instances, load_model, run_instance_segmentation

PHOTO = Path(__file__).parents[2] / 'demo' / 'photos' / 'astronaut.jpg'
LOW = 0.1  # a confidence at which the shipped model finds something in that photo


@pytest.fixture(scope='module')
def net() -> Segmenter:
    return load_model('person_mask_rcnn')


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the shipped frozen graph, text graph and labels, but no manifest."""
    shipped = find_model('person_mask_rcnn')
    shutil.copy(shipped.weights, tmp_path / 'people.pb')
    shutil.copy(shipped.text_graph, tmp_path / 'people.pbtxt')
    shutil.copy(shipped.labels, tmp_path / 'people_labels.txt')
    return tmp_path


def test_each_item_answers_to_the_known_keys(net: Segmenter, photo: np.ndarray) -> None:
    image, instances = run_instance_segmentation(photo, confidence_threshold=LOW, net=net)
    assert image is photo
    assert instances
    for item in instances:
        assert set(item) == {'class_id', 'class_name', 'confidence', 'bbox', 'mask'}
        assert (item['class_id'], item['class_name']) == (0, 'person')
        assert isinstance(item['confidence'], float) and LOW <= item['confidence'] <= 1
        x1, y1, x2, y2 = item['bbox']
        assert all(type(value) is int for value in item['bbox'])
        assert 0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512
        assert item['mask'].shape == (512, 512) and item['mask'].dtype == np.uint8
        assert set(np.unique(item['mask'])) <= {0, 1}
        assert dict(item)['bbox'] == item['bbox'] and item.get('nothing') is None
    confidences = [item['confidence'] for item in instances]
    assert confidences == sorted(confidences, reverse=True)


def test_the_items_are_what_the_segmenter_finds(net: Segmenter, photo: np.ndarray) -> None:
    _, items = run_instance_segmentation(photo, confidence_threshold=LOW, net=net)
    found = net(photo)
    assert len(items) == len(found)
    for i, item in enumerate(items):
        assert np.array_equal(item['mask'], found.full_mask(i))
        assert np.abs(np.array(item['bbox']) - found.boxes[i]).max() <= 1
    drawn = draw_instances(photo, items)
    assert np.array_equal(drawn, draw_instances(photo, found))


def test_a_mask_can_index_the_frame(net: Segmenter, photo: np.ndarray) -> None:
    image, instances = run_instance_segmentation(photo, confidence_threshold=LOW, net=net)
    red = image.copy()
    red[instances[0]['mask'] == 1] = (0, 0, 255)
    assert (red == (0, 0, 255)).all(2).sum() >= instances[0]['mask'].sum() > 0


def test_an_unknown_key_says_which_there_are(net: Segmenter, photo: np.ndarray) -> None:
    _, instances = run_instance_segmentation(photo, confidence_threshold=LOW, net=net)
    with pytest.raises(KeyError, match='score.*class_id.*confidence'):
        instances[0]['score']


@pytest.mark.parametrize('kind', [str, Path])
def test_a_path_gives_the_same_as_the_image(kind: type, net: Segmenter, photo: np.ndarray) -> None:
    image, of_path = run_instance_segmentation(kind(PHOTO), confidence_threshold=LOW, net=net)
    _, of_image = run_instance_segmentation(photo, confidence_threshold=LOW, net=net)
    assert np.array_equal(image, photo)
    assert [i['bbox'] for i in of_path] == [i['bbox'] for i in of_image]


def test_a_loop_of_three_lines_over_a_video(
    net: Segmenter, photo: np.ndarray, tmp_path: Path
) -> None:
    path = str(tmp_path / 'in.mp4')
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'mp4v'), 10, (256, 256))
    for _ in range(3):
        writer.write(cv2.resize(photo, (256, 256)))
    writer.release()
    shown = []

    capture = cv2.VideoCapture(path)
    while (frame := capture.read()[1]) is not None:
        shown.append(draw_instances(*run_instance_segmentation(frame, net=net)))

    assert [image.shape for image in shown] == [(256, 256, 3)] * 3


def test_the_thresholds_hold_for_the_call(net: Segmenter, photo: np.ndarray) -> None:
    _, loose = run_instance_segmentation(photo, 'auto', 0.02, 1.0, net=net)
    _, apart = run_instance_segmentation(photo, 'auto', 0.02, 0.05, net=net)
    assert 0 < len(apart) < len(loose)
    middle = loose[(len(loose) - 1) // 2]['confidence']  # of two the first
    _, sure = run_instance_segmentation(photo, 'auto', middle, 1.0, net=net)
    assert [i['bbox'] for i in sure] == [i['bbox'] for i in loose if i['confidence'] >= middle]
    assert len(sure) < len(loose)
    assert net.confidence_threshold == 0.5  # that of the net stays
    with pytest.raises(ValueError, match='confidence_threshold is 1.5'):
        run_instance_segmentation(photo, confidence_threshold=1.5, net=net)


# ---- models
def test_without_net_each_model_stays_loaded(files: Path, photo: np.ndarray) -> None:
    for name in ('people.pb', 'people.pbtxt', 'people_labels.txt'):
        shutil.copy(files / name, files / name.replace('people', 'other'))
    models = [files / 'people.pb', files / 'other.pb']

    def boxes() -> list:
        return [
            [item['bbox'] for item in run_instance_segmentation(photo, model, LOW)[1]]
            for model in models
        ]

    first = boxes()
    for file in files.iterdir():
        file.unlink()
    assert boxes() == first


def test_the_default_is_the_auto_rule(photo: np.ndarray) -> None:
    assert load_model().model_name == Segmenter().model_name
    image, _ = run_instance_segmentation(photo)
    assert image is photo


def test_a_frozen_graph_finds_what_belongs_to_it(files: Path) -> None:
    shipped = find_model('person_mask_rcnn')
    # By the manifest that names it: its labels file has another name.
    by_manifest = load_model(shipped.weights)
    assert by_manifest.class_names == {0: 'person'}
    assert by_manifest.manifest.input_max_side == shipped.input_max_side
    assert load_model(str(shipped.weights), shipped.text_graph).class_names == {0: 'person'}
    # By their names.
    assert load_model(files / 'people.pb').class_names == {0: 'person'}
    other_name = (files / 'people.pbtxt').rename(files / 'graph.txt')
    assert load_model(files / 'people.pb', other_name).class_names == {0: 'person'}
    # By a model's name.
    assert load_model('person_mask_rcnn').model_name == 'person_mask_rcnn'


def test_other_yaml_files_beside_the_weights_do_no_harm(files: Path) -> None:
    (files / 'settings.yaml').write_text('- not: a manifest\n')
    assert load_model(files / 'people.pb').class_names == {0: 'person'}


def test_a_model_of_90_classes_without_labels_has_those_of_coco(
    small_model: Path, tmp_path: Path
) -> None:
    for suffix in ('.pb', '.pbtxt'):
        shutil.copy(small_model.with_name(f'model{suffix}'), tmp_path / f'mine{suffix}')
    names = load_model(tmp_path / 'mine.pb').class_names
    assert (names[0], names[89], len(names)) == ('person', 'toothbrush', 80)


@pytest.mark.parametrize('missing', ['people.pb', 'people.pbtxt', 'people_labels.txt'])
def test_a_missing_model_file_is_named(files: Path, missing: str) -> None:
    (files / missing).unlink()
    with pytest.raises(ModelError, match=str(files / missing)):
        load_model(files / 'people.pb')


def test_a_text_graph_that_is_not_there_is_named(files: Path) -> None:
    with pytest.raises(ModelError, match='text graph .*nowhere.pbtxt is missing'):
        load_model(files / 'people.pb', files / 'nowhere.pbtxt')


# ---- image files
@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('missing.jpg', None, 'No such file'),
        ('empty.jpg', b'', 'is empty'),
        ('text.png', b'this is no image', 'is no image'),
    ],
)
def test_an_image_file_that_cannot_be_read_is_named(
    net: Segmenter, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=f'{name}.*{reason}'):
        run_instance_segmentation(path, net=net)


def test_a_folder_is_no_image(net: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='Is a directory'):
        run_instance_segmentation(tmp_path, net=net)


def test_an_image_of_another_kind_is_refused(net: Segmenter) -> None:
    with pytest.raises(ImageError, match='float32'):
        run_instance_segmentation(np.zeros((64, 64, 3), np.float32), net=net)
