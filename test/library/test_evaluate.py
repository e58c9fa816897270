# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""`instance-seg evaluate`: figures of a real network, compared with an independent evaluator."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('faster_coco_eval', reason='instance_seg_ros[evaluate] is not installed')
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instance_seg_ros import Segmenter
from instance_seg_ros.cli import main

# Each test loads a network.
pytestmark = pytest.mark.slow

PHOTOS = {'astronaut': 'left/one <b>&.png', 'coffee': 'two.png'}
LOWEST, MOST = 0.3, 20
DEMO = Path(__file__).parents[2] / 'demo' / 'photos'


@dataclass(frozen=True)
class OwnResults:
    """What a model finds in the photos."""

    model: Path
    classes: dict[int, str]
    photos: dict[str, bytes]
    rows: list[dict[str, Any]]


@pytest.fixture(scope='module')
def own_results(small_model: Path) -> OwnResults:
    segmenter = Segmenter(
        model=str(small_model), refiner='none', confidence_threshold=LOWEST, max_instances=MOST
    )
    photos, rows = {}, []
    for number, (photo, name) in enumerate(PHOTOS.items(), 1):
        image = cv2.resize(cv2.imread(str(DEMO / f'{photo}.jpg')), (160, 120))
        photos[name] = cv2.imencode('.png', image)[1].tobytes()
        ids = {class_id: class_id + 1 for class_id in segmenter.class_names}
        rows += segmenter(image).to_coco(number, ids)
    return OwnResults(small_model, segmenter.class_names, photos, rows)


class Annotated:
    """Two photos and, as their annotations, what the model itself finds in them."""

    def __init__(self, folder: Path, own: OwnResults) -> None:
        self.images, self.file, self.model = folder / 'images', folder / 'coco.json', own.model
        self.classes, self.results = own.classes, own.rows
        self.content: dict[str, Any] = {
            'images': [],
            'annotations': [],
            'categories': [{'id': i + 1, 'name': n.upper()} for i, n in own.classes.items()],
        }
        for number, (name, photo) in enumerate(own.photos.items(), 1):
            path = self.images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo)
            entry = {'id': number, 'file_name': f'export\\{name}', 'width': 160, 'height': 120}
            self.content['images'].append(entry)
        for number, row in enumerate(own.rows, 1):
            annotation = {key: value for key, value in row.items() if key != 'score'}
            annotation['bbox'] = list(row['bbox'])
            self.content['annotations'].append(annotation | {'id': number, 'iscrowd': 0})

    def evaluate(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        """Run the command and return the figures."""
        self.file.write_text(json.dumps(self.content))
        figures = self.file.with_name('figures.json')
        command = ['evaluate', '--annotations', self.file, '--images', self.images]
        command += ['--model', self.model, '--confidence-threshold', LOWEST, '--overwrite']
        command += ['--max-instances', MOST, '--trust-model']
        command += ['--json', figures, '--refiners', 'none', *arguments]
        assert main([str(each) for each in command]) == code
        return json.loads(figures.read_text()) if code < 2 else {}


@pytest.fixture
def annotated(tmp_path: Path, own_results: OwnResults) -> Annotated:
    return Annotated(tmp_path, own_results)


def test_what_the_model_finds_itself_is_perfect(annotated: Annotated) -> None:
    (run,) = annotated.evaluate('--operating-score', LOWEST)['runs']
    assert run['photos'] == 2 and run['precision'] == run['recall'] == 1
    for kind in ('box', 'mask', 'boundary'):
        assert run[kind]['AP'] == run[kind]['AP50'] == run[kind]['AR'] == pytest.approx(1)
        counts = [own['objects'] for own in run[kind]['classes'].values()]
        assert sum(counts) == len(annotated.results)


def test_the_figures_are_those_of_pycocotools(annotated: Annotated) -> None:
    """Another evaluator, which has read the file and the results on its own."""
    for i, annotation in enumerate(annotated.content['annotations']):
        side, inwards = 2 + i % 2, 1 + i % 7
        annotation['bbox'][side] -= inwards
        annotation['bbox'][side - 2] += inwards * (i % 3 > 0)
        annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
        x, y, w, h = annotation['bbox']
        if i % 2:
            annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        annotation['iscrowd'] = int(i == 3)
    del annotated.content['annotations'][::5]
    (run,) = annotated.evaluate()['runs']
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotated.file))
        for annotation in truth.dataset['annotations']:
            annotation['area'] = float(truth.annToMask(annotation).sum())
        found = truth.loadRes([dict(row) for row in annotated.results])
        for kind, name in (('bbox', 'box'), ('segm', 'mask')):
            other = COCOeval(truth, found, kind)
            if kind == 'segm':
                for row in found.anns.values():
                    row['area'] = float(truth.annToMask(row).sum())
            other.evaluate()
            other.accumulate()
            other.summarize()
            wanted = [None if value < 0 else value for value in other.stats[:6]]
            names = ['AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large']
            assert [run[name][key] for key in names] == pytest.approx(wanted)
            assert 0 < run[name]['AP'] < 1


def test_refiners_and_presets_side_by_side(annotated: Annotated, tmp_path: Path) -> None:
    manifest = annotated.model.read_text()
    slow = annotated.model.with_name('with_presets.yaml')
    slow.write_text(f'{manifest}\npresets:\n  fast: {{input_max_side: 96, proposals: 20}}\n')
    annotated.model = slow
    runs = annotated.evaluate('--presets', 'exact,fast', '--refiners', 'none,smooth')['runs']
    assert [(run['preset'], run['refiner']) for run in runs] == [
        ('exact', 'none'),
        ('exact', 'smooth'),
        ('fast', 'none'),
        ('fast', 'smooth'),
    ]
    # The boxes, and their time, are those of one pass of the network for each preset.
    assert runs[0]['box'] == runs[1]['box'] and runs[2]['box'] == runs[3]['box']
    for one, other in (runs[:2], runs[2:]):
        for stage in ('detect', 'masks'):
            assert one['milliseconds'][stage] == other['milliseconds'][stage]
    assert runs[2]['box']['AP'] < 1 and runs[1]['mask']['AP'] < 1 == runs[0]['mask']['AP']


def test_a_class_counts_where_all_its_objects_are_annotated(annotated: Annotated) -> None:
    of_one = [a for a in annotated.content['annotations'] if a['image_id'] == 1]
    annotated.content['annotations'].remove(of_one[0])
    assert annotated.evaluate()['runs'][0]['precision'] < 1
    annotated.content['images'][0]['complete_categories'] = []
    figures = annotated.evaluate()
    assert figures['runs'][0]['precision'] == figures['runs'][0]['box']['AP'] == 1
    left_out = f'left out {len(of_one) - 1} objects in photos where not all of their class'
    assert left_out in '\n'.join(figures['remarks'])


def test_objects_without_masks_count_by_their_boxes(annotated: Annotated) -> None:
    for annotation in annotated.content['annotations']:
        if annotation['image_id'] == 1:
            del annotation['segmentation']
    (run,) = annotated.evaluate()['runs']
    assert run['box']['AP'] == run['mask']['AP'] == 1
    objects = {
        kind: sum(own['objects'] for own in run[kind]['classes'].values())
        for kind in ('box', 'mask')
    }
    in_two = sum(a['image_id'] == 2 for a in annotated.content['annotations'])
    assert objects == {'box': len(annotated.results), 'mask': in_two}


def test_boxes_alone(annotated: Annotated) -> None:
    for annotation in annotated.content['annotations']:
        annotation['segmentation'] = []
    report = annotated.file.with_name('report.html')
    (run,) = annotated.evaluate('--report', report)['runs']
    assert run['box']['AP'] == 1 and 'mask' not in run and 'boundary' not in run
    assert 'Curves of the boxes' in report.read_text()


def test_without_boundaries(annotated: Annotated) -> None:
    (run,) = annotated.evaluate('--no-boundary')['runs']
    assert run['mask']['AP'] == 1 and 'boundary' not in run


def test_photos_without_objects_are_counted(annotated: Annotated) -> None:
    annotations = annotated.content['annotations']
    annotations[:] = [a for a in annotations if a['image_id'] == 1]
    figures = annotated.evaluate()
    assert figures['runs'][0]['precision'] < 1
    assert '1 photos without objects: what is found in them counts as wrong' in str(figures)


def test_crowds_alone_are_explained(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    for annotation in annotated.content['annotations']:
        annotation['iscrowd'] = 1
    annotated.evaluate(code=2)
    assert '--crowds objects' in capsys.readouterr().err
    assert annotated.evaluate('--crowds', 'objects')['runs'][0]['mask']['AP'] == 1


def test_where_every_annotation_is_left_out_the_reasons_are_given(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    for annotation in annotated.content['annotations']:
        annotation |= {'bbox': [0.02, 0.03, 0.6, 0.9], 'segmentation': []}
    first, second, *_ = annotated.content['annotations']
    first['bbox'][0] = float('nan')
    second['category_id'] = 9999
    count = len(annotated.results)
    annotated.evaluate(code=2)
    said = capsys.readouterr().err
    assert f'left out {count - 2} boxes that are empty (stray clicks): export' in said
    assert 'left out 1 boxes that are no numbers or outside their image: export' in said
    assert 'left out 1 annotations of an unknown category id: 9999' in said


def test_one_class_under_another_name(annotated: Annotated) -> None:
    for category in annotated.content['categories']:
        category['name'] = {'STOP SIGN': 'Zeichen'}.get(category['name'], category['name'])
    without = annotated.evaluate()
    assert any('Zeichen' in note for note in without['remarks'])
    assert 'stop sign' not in without['runs'][0]['box']['classes']
    (run,) = annotated.evaluate('--rename', 'zeichen=stop sign', '--classes', 'Stop-Sign')['runs']
    assert list(run['box']['classes']) == ['stop sign'] and run['box']['AP'] == 1


def test_a_photo_that_cannot_be_read_is_named(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    (annotated.images / 'two.png').write_bytes(b'\x89PNG\r\n')
    figures = annotated.evaluate(code=1)
    assert figures['runs'][0]['photos'] == 1 and figures['runs'][0]['box']['AP'] == 1
    named = 'left out 1 images that cannot be used: export\\two.png is damaged'
    assert named in capsys.readouterr().err


def test_objects_in_unreadable_photos_alone(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = annotated.content['annotations']
    annotations[:] = [a for a in annotations if a['image_id'] == 2]
    (annotated.images / 'two.png').write_bytes(b'no image')
    annotated.evaluate(code=2)
    assert 'no object to count is in a photo that can be used' in capsys.readouterr().err


def test_the_report_is_one_file_that_shows_the_mistakes(annotated: Annotated) -> None:
    annotations = annotated.content['annotations']
    first = annotations.pop(0)  # found, but no longer annotated
    added = {**annotations[0], 'id': 999, 'bbox': [1, 1, 30, 30], 'image_id': 1}
    added['segmentation'] = []
    annotations.append(added)  # annotated, but not there
    report = annotated.file.with_name('report.html')
    annotated.evaluate('--report', report, '--pictures', 3, '--refiners', 'none,smooth')
    text = report.read_text()
    assert 'src="http' not in text and '<script' not in text
    assert '<b>&.png' not in text and '&lt;b&gt;&amp;.png' in text
    assert re.search(r'Found, but not there: the highest scores \(\d of \d+\)', text)
    assert re.search(r'Missed: the largest \(\d of \d+\)', text)
    assert annotated.classes[first['category_id'] - 1] in text
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert 3 <= len(pictures) <= 9 and len(text) < 1_000_000
    for picture in pictures:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and 50 < max(image.shape) <= 300


def test_the_home_folder_that_the_shell_left_is_found(
    annotated: Annotated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    annotated.evaluate(
        '--report=~/report.html', '--images=~/images', f'--annotations=~/{annotated.file.name}'
    )
    assert (tmp_path / 'report.html').is_file() and not (tmp_path / '~').exists()


def test_the_report_names_a_photo_whose_name_is_no_utf_8(annotated: Annotated) -> None:
    name = os.fsdecode(b'\xdfd.png')
    (annotated.images / 'two.png').rename(annotated.images / name)
    annotated.content['images'][1]['file_name'] = name
    annotations = annotated.content['annotations']
    annotations[:] = [a for a in annotations if a['image_id'] == 1]
    report = annotated.file.with_name('report.html')
    annotated.evaluate('--report', report)
    assert '\\udcdfd.png' in report.read_text('utf-8')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--presets', 'exact,quick'], "--presets: speed_preset is 'quick'"),
        (['--refiners', 'sharp'], "refiner 'sharp'"),
        (['--classes', 'sheeep'], 'no class "sheeep". Did you mean sheep'),
        (['--images', 'no_such_folder'], 'no_such_folder: no such folder'),
        (['--annotations', 'none.json'], 'none.json: no such file'),
    ],
)
def test_bad_input_ends_before_the_work(
    annotated: Annotated, capsys: pytest.CaptureFixture[str], arguments: list, message: str
) -> None:
    annotated.evaluate(*arguments, code=2)
    assert message in capsys.readouterr().err


def test_nothing_is_overwritten_unasked(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    annotated.evaluate('--report', annotated.images / 'two.png', code=2)
    assert 'is read by this command' in capsys.readouterr().err


def test_no_file_of_the_model_is_overwritten(
    annotated: Annotated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refiner = tmp_path / 'refiner.onnx'
    refiner.write_text('mine')
    annotated.evaluate('--refiners', f'none,{refiner}', '--json', refiner, code=2)
    assert 'refiner.onnx: is read by this command' in capsys.readouterr().err
    folder = tmp_path / 'model'
    folder.mkdir()
    names = [f'model{end}' for end in ('.yaml', '.pb', '.pbtxt', '_labels.txt')]
    for path in [folder / name for name in names]:
        shutil.copy(annotated.model.with_name(path.name), path)
    for path in [folder / name for name in names]:
        before = path.read_bytes()
        annotated.evaluate('--model', folder / annotated.model.name, '--json', path, code=2)
        assert f'{path.name}: is read by this command' in capsys.readouterr().err
        assert path.read_bytes() == before


def test_a_pipe_is_not_replaced(
    annotated: Annotated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / 'pipe')
    for option in ('--report', '--json'):
        annotated.evaluate(option, tmp_path / 'pipe', code=2)
        assert 'pipe: is a device, a pipe or the like' in capsys.readouterr().err
        assert (tmp_path / 'pipe').is_fifo()


def test_without_the_extra_it_says_what_to_install(
    annotated: Annotated, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    annotated.evaluate(code=2)
    assert 'instance_seg_ros[evaluate]' in capsys.readouterr().err
