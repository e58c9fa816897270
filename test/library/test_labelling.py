# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found, as labels for annotation tools, read by other programs."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import run_main
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'
SETTINGS = ('--model', 'person_mask_rcnn', '--refiner', 'none')


def run(folder: Path, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, '-m', 'instance_seg_ros', *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 'Traceback' not in done.stderr
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, one without a person, and what was found in them."""
    folder = tmp_path_factory.mktemp('found')
    (folder / 'photos' / 'a b').mkdir(parents=True)
    for name, target in (('astronaut', 'a b/astronaut'), ('rocket', 'rocket')):
        image = cv2.resize(cv2.imread(str(PHOTOS / f'{name}.jpg')), (320, 256))
        cv2.imwrite(str(folder / f'photos/{target}.jpg'), image)
    run(folder, 'image', 'photos/**/*.jpg', '--json', 'found.json', *SETTINGS)
    return folder


@pytest.fixture(scope='module')
def mask(found: Path) -> np.ndarray:
    (row,) = json.loads((found / 'found.json').read_text())
    return coco_mask.decode(row['segmentation'])


def labels(found: Path, output: Path, *options: object, code: int = 0) -> str:
    given = ('labels', 'found.json', '--images', 'photos/**/*.jpg', '--output', output)
    return run(found, *given, *options, code=code)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.logical_and(a, b).sum() / np.logical_or(a, b).sum())


def test_a_coco_data_set_has_all_images_and_the_very_masks(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    labels(found, tmp_path)
    data = COCO(str(tmp_path / 'annotations.json'))
    assert {image['file_name'] for image in data.imgs.values()} == {
        'a b/astronaut.jpg',
        'rocket.jpg',
    }
    assert {(i['width'], i['height']) for i in data.imgs.values()} == {(320, 256)}
    (annotation,) = data.anns.values()
    np.testing.assert_array_equal(data.annToMask(annotation), mask)
    assert annotation['area'] == mask.sum()
    assert annotation['bbox'] == list(cv2.boundingRect(mask))
    assert data.cats[annotation['category_id']]['name'] == 'person'
    assert data.imgs[annotation['image_id']]['file_name'] == 'a b/astronaut.jpg'


def test_outlines_have_few_points_and_are_the_mask(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    labels(found, tmp_path, '--polygons')
    data = COCO(str(tmp_path / 'annotations.json'))
    (annotation,) = data.anns.values()
    assert iou(data.annToMask(annotation), mask) > 0.98
    assert 10 < sum(len(part) // 2 for part in annotation['segmentation']) < 130


@pytest.mark.parametrize('polygons', [False, True])
def test_datumaro_reads_it(found: Path, mask: np.ndarray, tmp_path: Path, polygons: bool) -> None:
    datumaro = pytest.importorskip('datumaro', reason='CVAT reads COCO by it: pip install datumaro')
    shutil.copytree(found / 'photos', tmp_path / 'images')
    (tmp_path / 'annotations').mkdir()
    labels(found, tmp_path, *(['--polygons'] if polygons else []))
    (tmp_path / 'annotations.json').rename(tmp_path / 'annotations/instances_default.json')
    data = datumaro.Dataset.import_from(str(tmp_path), 'coco_instances')
    assert {item.id for item in data} == {'a b/astronaut', 'rocket'}
    kind = datumaro.AnnotationType.polygon if polygons else datumaro.AnnotationType.mask
    (read,) = [each for item in data for each in item.annotations if each.type == kind]
    assert data.categories()[datumaro.AnnotationType.label][read.label].name == 'person'
    if polygons:
        assert read.get_area() == pytest.approx(mask.sum(), rel=0.02)
    else:
        np.testing.assert_array_equal(read.image, mask)


def test_fiftyones_importer_reads_it(
    found: Path, mask: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FIFTYONE_DISABLE_SERVICES', '1')  # its importer needs no database
    coco = pytest.importorskip('fiftyone.utils.coco', reason='pip install fiftyone')
    labels(found, tmp_path)
    importer = coco.COCODetectionDatasetImporter(
        data_path=str(found / 'photos'),
        labels_path=str(tmp_path / 'annotations.json'),
        label_types='segmentations',
    )
    importer.setup()
    by_name = {Path(path).name: read for path, _, read in importer}
    assert set(by_name) == {'astronaut.jpg', 'rocket.jpg'}
    assert not by_name['rocket.jpg'] or not by_name['rocket.jpg'].detections
    (read,) = by_name['astronaut.jpg'].detections
    assert (read.label, 0.5 < read.confidence < 1) == ('person', True)
    x, y, width, height = cv2.boundingRect(mask)
    expected = [x / 320, y / 256, width / 320, height / 256]
    np.testing.assert_allclose(read.bounding_box, expected, atol=1e-6)
    np.testing.assert_array_equal(read.mask, mask[y : y + height, x : x + width])


def unpacked(packed: list[int]) -> np.ndarray:
    """Read Label Studio's packing bit by bit: its values, in a row."""
    bits = ''.join(format(byte, '08b') for byte in packed)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, value_bits = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, length = take(1), take(sizes[take(2)]) + 1
        if repeated:
            values += [take(value_bits)] * length
        else:
            values += [take(value_bits) for _ in range(length)]
    assert len(values) == total
    return np.array(values)


def brush_results(found: Path, tmp_path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    labels(found, tmp_path, '--to', 'label-studio', '--image-address', '/d/?d=photos/')
    tasks = json.loads((tmp_path / 'tasks.json').read_text())
    (result,) = [each for task in tasks for each in task['predictions'][0]['result']]
    return tasks, result


def test_label_studio_gets_tasks_and_its_interface(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    tasks, result = brush_results(found, tmp_path)
    addresses = {task['data']['image'] for task in tasks}
    assert addresses == {'/d/?d=photos/a%20b/astronaut.jpg', '/d/?d=photos/rocket.jpg'}
    assert (result['original_width'], result['original_height']) == (320, 256)
    values = unpacked(result['value']['rle']).reshape(256, 320, 4)
    for channel in range(4):
        np.testing.assert_array_equal(values[..., channel], 255 * mask)
    interface = ElementTree.parse(tmp_path / 'label_config.xml').getroot()
    control, picture = interface.find('BrushLabels'), interface.find('Image')
    assert control is not None and picture is not None
    assert control.get('name') == result['from_name']
    assert picture.get('name') == result['to_name'] == control.get('toName')
    assert [label.get('value') for label in control] == result['value']['brushlabels']


def test_label_studios_own_code_reads_the_brush_masks(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    brush = pytest.importorskip(
        'label_studio_sdk.converter.brush', reason='pip install label-studio-sdk'
    )
    _, result = brush_results(found, tmp_path)
    values = brush.decode_rle(result['value']['rle']).reshape(256, 320, 4)
    np.testing.assert_array_equal(values[..., 3], 255 * mask)


def test_what_label_studio_exports_is_what_it_got(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    sdk = pytest.importorskip('label_studio_sdk.converter', reason='pip install label-studio-sdk')
    labels(found, tmp_path, '--to', 'label-studio', '--polygons')
    exported = [
        {
            'id': number,
            'data': task['data'],
            'annotations': [{'id': number, 'result': task['predictions'][0]['result']}],
        }
        for number, task in enumerate(json.loads((tmp_path / 'tasks.json').read_text()))
    ]
    (tmp_path / 'export.json').write_text(json.dumps(exported))
    converter = sdk.Converter(str(tmp_path / 'label_config.xml'), '.', download_resources=False)
    converter.convert(str(tmp_path / 'export.json'), str(tmp_path / 'coco'), 'COCO', is_dir=False)
    data = COCO(str(tmp_path / 'coco' / 'result.json'))
    (annotation,) = data.anns.values()
    assert iou(data.annToMask(annotation), mask) > 0.98
    assert data.cats[annotation['category_id']]['name'] == 'person'


def test_low_scores_are_left_out(found: Path, tmp_path: Path) -> None:
    assert '2 images, 0 labels' in labels(found, tmp_path, '--min-score', 1)


def test_files_that_do_not_fit_are_refused(found: Path, tmp_path: Path) -> None:
    said = run(found, 'labels', 'found.json', '--output', tmp_path, code=2)
    assert 'found.json: give its images, too: --images FOLDER' in said
    said = run(found, 'labels', 'found.json', '--images', 'photos/rocket.jpg', code=2)
    assert 'has instances of a b/astronaut.jpg, which is not among --images' in said
    (tmp_path / 'other.json').write_text('[{"image_id": 1, "category_id": 1}]')
    given = ('--images', 'photos/**/*.jpg', '--output', tmp_path)
    said = run(found, 'labels', tmp_path / 'other.json', *given, code=2)
    assert 'result 0 has no file_name: expected what "instance-seg image --json" writes' in said
    assert not (tmp_path / 'annotations.json').exists()


@pytest.mark.parametrize('kind', ['coco', 'label-studio'])
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'segmentation': None}, 'result 0: its segmentation is no mask (None)'),
        ({'segmentation': [[1, 2]]}, 'no polygon of three points'),
        ({'segmentation': {'counts': 'abc'}}, 'result 0: its segmentation is no mask'),
        ({'segmentation': {'size': [256, 320], 'counts': '0'}}, 'do not add up to the image'),
        ({'segmentation': {'size': [256, 320], 'counts': 5}}, 'its segmentation is no mask'),
        ({'segmentation': {'size': [256, 320], 'counts': 'ä'}}, 'its segmentation is no mask'),
        ({'segmentation': {'size': [25, 32], 'counts': '0'}}, 'was 32x25 pixels, and is 320x256'),
        ({'score': None}, 'result 0 has the score None, which is no number'),
        ({'score': 'high'}, "result 0 has the score 'high', which is no number"),
        ({'score': float('nan')}, 'result 0 has the score nan, which is no number'),
        ({'file_name': None}, 'result 0 has the file_name None, which is no text'),
        ({'file_name': ['rocket.jpg']}, "result 0 has the file_name ['rocket.jpg']"),
        ({'category_id': [1]}, 'result 0 has the category_id [1], which is no whole number'),
        ({'category_id': 'person'}, "result 0 has the category_id 'person'"),
        ({'category_name': None}, 'result 0 has the category_name None, which is no text'),
        ({'category_name': 7}, 'result 0 has the category_name 7, which is no text'),
    ],
)
def test_a_result_that_is_none_is_refused_by_its_number(
    found: Path, tmp_path: Path, change: dict[str, Any], expected: str, kind: str
) -> None:
    (row,) = json.loads((found / 'found.json').read_text())
    (tmp_path / 'odd.json').write_text(json.dumps([row | change, row]))
    images = ('--images', found / 'photos/**/*.jpg', '--output', tmp_path / 'out')
    done = run_main('labels', tmp_path / 'odd.json', *images, '--to', kind)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'instance-seg: error: {tmp_path}/odd.json: ') and expected in line
    assert not list((tmp_path / 'out').iterdir())


def test_deeply_nested_results_are_refused(found: Path, tmp_path: Path) -> None:
    (tmp_path / 'deep.json').write_text('[' * 200_000)
    done = run_main('labels', tmp_path / 'deep.json', '--images', found / 'photos')
    assert done.returncode == 2 and 'deep.json: is no JSON' in done.stderr


def test_polygons_plain_run_lengths_and_numbers_as_text_are_read(
    found: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    (row,) = json.loads((found / 'found.json').read_text())
    columns = mask.T.ravel()
    ends = [*(np.flatnonzero(np.diff(columns)) + 1).tolist(), columns.size]
    runs = [after - before for before, after in itertools.pairwise([0, *ends])]
    box = [[10, 20, 40, 20, 40, 60, 10, 60]]
    plain = {'size': [256, 320], 'counts': runs}
    others = {'segmentation': box, 'category_id': '1'}
    (tmp_path / 'r.json').write_text(json.dumps([row | {'segmentation': plain}, row | others]))
    images = ('--images', found / 'photos/**/*.jpg', '--output', tmp_path)
    assert '2 images, 2 labels' in run(found, 'labels', tmp_path / 'r.json', *images)
    data = COCO(str(tmp_path / 'annotations.json'))
    first, second = data.anns.values()
    np.testing.assert_array_equal(data.annToMask(first), mask)
    assert second['bbox'] == [10, 20, 30, 40]


def test_a_photo_whose_name_is_no_utf_8_has_an_address(found: Path, tmp_path: Path) -> None:
    (tmp_path / 'photos').mkdir()
    name = os.fsdecode(b'\xdfd.jpg')
    shutil.copy(found / 'photos/a b/astronaut.jpg', tmp_path / 'photos' / name)
    run(tmp_path, 'image', 'photos', '--json', 'found.json', *SETTINGS)
    run(tmp_path, 'labels', 'found.json', '--images', 'photos', '--to', 'label-studio')
    (task,) = json.loads((tmp_path / 'instance_seg_labels/tasks.json').read_text())
    assert task['data']['image'] == '/data/local-files/?d=%DFd.jpg'
    assert len(task['predictions'][0]['result']) == 1


def tree(found: Path, folder: Path, *names: str) -> None:
    """Write photos, those of a person under names that begin with a person's."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        person = Path(name).name.startswith('person')
        source = 'photos/a b/astronaut.jpg' if person else 'photos/rocket.jpg'
        shutil.copy(found / source, folder / name)


def names_in(folder: Path) -> set[str]:
    return {
        each['file_name']
        for each in json.loads((folder / 'annotations.json').read_text())['images']
    }


def test_the_images_are_those_that_were_segmented(found: Path, tmp_path: Path) -> None:
    tree(found, tmp_path, 'p/person.jpg', 'p/sub/rocket.jpg')
    run(tmp_path, 'image', 'p', '--json', 'flat.json', *SETTINGS)
    run(tmp_path, 'labels', 'flat.json', '--images', 'p', '--output', 'flat')
    assert names_in(tmp_path / 'flat') == {'person.jpg'}
    again = ('image', 'p', '--recursive', '--overwrite', '--json', 'deep.json', *SETTINGS)
    run(tmp_path, *again)
    run(tmp_path, 'labels', 'deep.json', '--images', 'p', '--recursive', '--output', 'deep')
    # Nothing was found in the folder within.
    assert names_in(tmp_path / 'deep') == {'person.jpg', 'sub/rocket.jpg'}


def test_folders_that_were_not_segmented_are_left_out(found: Path, tmp_path: Path) -> None:
    tree(found, tmp_path, 'x/person.jpg', 'y/rocket.jpg', 'x/deep/never.jpg')
    run(tmp_path, 'image', 'x', 'y', '--json', 'r.json', *SETTINGS)
    run(tmp_path, 'labels', 'r.json', '--images', 'x', 'y')
    assert names_in(tmp_path / 'instance_seg_labels') == {'x/person.jpg', 'y/rocket.jpg'}


def test_results_of_folders_in_folders_need_recursive(found: Path, tmp_path: Path) -> None:
    tree(found, tmp_path, 'p/rocket.jpg', 'p/sub/person.jpg')
    run(tmp_path, 'image', 'p', '--recursive', '--json', 'r.json', *SETTINGS)
    said = run(tmp_path, 'labels', 'r.json', '--images', 'p', code=2)
    assert 'has instances of sub/person.jpg, which is not among --images' in said
    assert 'and --recursive if it was given that' in said


def test_annotated_pictures_are_no_images(found: Path, tmp_path: Path) -> None:
    tree(found, tmp_path, 'p/person.jpg', 'p/sub/rocket.jpg')
    expected = {'person.jpg', 'sub/rocket.jpg'}
    run(tmp_path, 'image', 'p', '--recursive', '--output', 'p/out', '--json', 'r.json', *SETTINGS)
    given = ('labels', 'r.json', '--images', 'p', '--recursive')
    said = run(tmp_path, *given, '--output', 'unsaid')
    assert 'leave them out by --annotated p/out' in said
    said = run(tmp_path, *given, '--annotated', 'p/out', '--output', 'said')
    assert names_in(tmp_path / 'said') == expected and 'warning' not in said
    # Where the command writes them if not told otherwise, nothing is to be said.
    shutil.rmtree(tmp_path / 'p/out')
    run(tmp_path / 'p', 'image', '.', '--recursive', '--json', '../s.json', *SETTINGS)
    run(tmp_path / 'p', 'labels', '../s.json', '--images', '.', '--recursive', '--output', '../l')
    assert names_in(tmp_path / 'l') == expected


def test_an_image_too_small_to_be_segmented_is_left_out(found: Path, tmp_path: Path) -> None:
    tree(found, tmp_path, 'p/person.jpg', 'p/rocket.jpg')
    cv2.imwrite(str(tmp_path / 'p/small.png'), np.zeros((20, 20, 3), np.uint8))
    assert 'small.png' in run(tmp_path, 'image', 'p', '--json', 'r.json', *SETTINGS, code=1)
    said = run(tmp_path, 'labels', 'r.json', '--images', 'p', '--output', 'l', code=1)
    assert 'skipped p/small.png: image is 20x20 pixels: expected at least' in said
    assert names_in(tmp_path / 'l') == {'person.jpg', 'rocket.jpg'}


def test_nothing_is_overwritten_unasked(found: Path, tmp_path: Path) -> None:
    (tmp_path / 'annotations.json').write_text('corrected by hand')
    said = labels(found, tmp_path, code=2)
    assert 'annotations.json: exists' in said
    assert (tmp_path / 'annotations.json').read_text() == 'corrected by hand'
    labels(found, tmp_path, '--overwrite')
    COCO(str(tmp_path / 'annotations.json'))


def write_bag(path: Path, images: list[np.ndarray], stamps: list[int] | None = None) -> None:
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kind = 'sensor_msgs/msg/CompressedImage'
    with Writer(path, version=8) as writer:
        camera = writer.add_connection('/camera/image_raw/compressed', kind, typestore=store)
        for number, image in enumerate(images):
            stamp = store.types['builtin_interfaces/msg/Time'](
                stamps[number] if stamps else 7 + number, 5
            )
            header = store.types['std_msgs/msg/Header'](stamp, 'camera')
            jpeg = cv2.imencode('.jpg', image)[1].reshape(-1)
            message = store.types[kind](header, 'jpeg', jpeg)
            writer.write(camera, 10**18 + number * 10**8, store.serialize_cdr(message, kind))


def test_a_bag_becomes_images_and_labels(found: Path, tmp_path: Path) -> None:
    pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
    images = [
        cv2.imread(str(found / name))
        for name in ('photos/a b/astronaut.jpg', 'photos/rocket.jpg', 'photos/rocket.jpg')
    ]
    write_bag(tmp_path / 'drive', images)
    run(tmp_path, 'bag', 'drive', 'done', '--every', 2, '--keep-input', *SETTINGS)
    said = run(tmp_path, 'labels', 'done', '--output', 'labels')
    assert '2 images, 1 label: labels/annotations.json' in said
    data = COCO(str(tmp_path / 'labels/annotations.json'))
    written = sorted(path.name for path in (tmp_path / 'labels/images').iterdir())
    assert written == ['7_000000005.jpg', '9_000000005.jpg']
    assert sorted(image['file_name'] for image in data.imgs.values()) == written
    jpeg = (tmp_path / 'labels/images/7_000000005.jpg').read_bytes()
    assert jpeg == cv2.imencode('.jpg', images[0])[1].tobytes()  # the camera's own
    (annotation,) = data.anns.values()
    assert data.imgs[annotation['image_id']]['file_name'] == '7_000000005.jpg'
    assert 20_000 < data.annToMask(annotation).sum() < 50_000  # of the person


def test_images_of_one_stamp_have_their_masks_in_their_order(found: Path, tmp_path: Path) -> None:
    pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
    person = cv2.imread(str(found / 'photos/a b/astronaut.jpg'))
    rocket = cv2.imread(str(found / 'photos/rocket.jpg'))
    write_bag(tmp_path / 'drive', [person, rocket, person, rocket], [0, 0, 0, 0])
    run(tmp_path, 'bag', 'drive', 'done', '--keep-input', *SETTINGS)
    said = run(tmp_path, 'labels', 'done', '--output', 'labels')
    assert '4 images, 2 labels: labels/annotations.json' in said
    data = COCO(str(tmp_path / 'labels/annotations.json'))
    with_person = {data.imgs[each['image_id']]['file_name'] for each in data.anns.values()}
    assert with_person == {'0_000000005.jpg', '0_000000005_3.jpg'}
    for name in with_person:
        jpeg = (tmp_path / 'labels/images' / name).read_bytes()
        assert jpeg == cv2.imencode('.jpg', person)[1].tobytes()


def test_masks_that_may_be_of_several_images_are_left_out(found: Path, tmp_path: Path) -> None:
    pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
    images = [cv2.imread(str(found / 'photos/a b/astronaut.jpg'))] * 5
    write_bag(tmp_path / 'some', images, [0, 0, 0, 0, 8])
    run(tmp_path, 'bag', 'some', 'some_done', '--every', 2, '--keep-input', *SETTINGS)
    said = run(tmp_path, 'labels', 'some_done', '--output', 'labels')
    assert 'left out 2 mask messages' in said
    assert 'stamp 0.000000005 has 4 images, but 2 mask messages' in said
    assert '1 image, 1 label' in said
    assert [path.name for path in (tmp_path / 'labels/images').iterdir()] == ['8_000000005.jpg']
    write_bag(tmp_path / 'all', images, [0] * 5)
    run(tmp_path, 'bag', 'all', 'all_done', '--every', 2, '--keep-input', *SETTINGS)
    said = run(tmp_path, 'labels', 'all_done', '--output', 'none', code=2)
    assert 'stamp 0.000000005 has 5 images, but 3 mask messages' in said
    assert 'wrote it with --every, write it without' in said
    assert not (tmp_path / 'none/annotations.json').exists()


def test_a_bag_without_masks_is_refused(found: Path, tmp_path: Path) -> None:
    pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
    write_bag(tmp_path / 'drive', [cv2.imread(str(found / 'photos/rocket.jpg'))])
    said = run(tmp_path, 'labels', 'drive', code=2)
    assert 'has no topic of instance_seg_ros/msg/InstanceMaskArray' in said
