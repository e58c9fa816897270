# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The example scripts of the library, run as users run them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / 'examples'
PHOTOS = REPOSITORY / 'demo' / 'photos'


def run(folder: Path, name: str, *arguments: object) -> str:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.py')), ids=lambda path: path.stem)
def test_an_example_is_short_and_its_page_names_it(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 50
    assert f'({path.name})' in (EXAMPLES / 'README.md').read_text()


def test_a_person_is_picked_inside_of_the_mask(tmp_path: Path) -> None:
    said = run(tmp_path, 'pick_points.py', PHOTOS / 'astronaut.jpg')
    found = re.search(r'person: pick at \((\d+), (\d+)\), close at (-?\d+) degrees', said)
    assert found, said
    x, y, angle = map(int, found.groups())
    assert 60 < x < 260 and 150 < y < 480  # the middle of the suit
    assert abs((angle + 90) % 180 - 90) < 45  # the person stands: the gripper closes from the sides
    drawn = cv2.imread(str(tmp_path / 'pick_points.png'))
    assert tuple(drawn[y, x]) == (0, 255, 0)


def test_the_grasp_axis_lies_across_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from pick_points import grasp_angle, pick_point

    bar = np.zeros((100, 200), np.uint8)
    cv2.line(bar, (40, 20), (160, 80), 1, 15)  # 27 degrees
    assert np.degrees(grasp_angle(bar)) % 180 == pytest.approx(26.6 + 90, abs=1)
    x, y, depth = pick_point(bar)
    assert abs((y - 50) - (x - 100) / 2) < 3 and 6 < depth < 9
    cut_off = np.ones((50, 50), np.uint8)  # reaches beyond the image on all sides
    assert pick_point(cut_off)[:2] == (pytest.approx(24.5, abs=1), pytest.approx(24.5, abs=1))


def test_a_video_is_annotated(tmp_path: Path) -> None:
    photo = cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (256, 256))
    video = cv2.VideoWriter(
        str(tmp_path / 'in.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (256, 256)
    )
    for shift in (0, 4, 8):
        video.write(np.roll(photo, shift, axis=1))
    video.release()
    said = run(tmp_path, 'segment_video.py', 'in.mp4', 'out.mp4')
    assert said.splitlines() == [f'frame {number}: person' for number in range(3)]
    written = cv2.VideoCapture(str(tmp_path / 'out.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert cv2.absdiff(written.read()[1], photo).mean() > 5  # the overlay


def test_a_folder_becomes_a_coco_data_set(tmp_path: Path) -> None:
    run(tmp_path, 'masks_to_coco.py', PHOTOS, 'coco.json')
    data = COCO(str(tmp_path / 'coco.json'))
    assert len(data.getImgIds()) == len(list(PHOTOS.glob('*.jpg')))
    people = data.loadAnns(data.getAnnIds(catIds=data.getCatIds(catNms=['person'])))
    assert len(people) >= 3
    for person in people:
        mask = data.annToMask(person)
        image = data.loadImgs(person['image_id'])[0]
        assert mask.shape == (image['height'], image['width'])
        assert mask.sum() == person['area'] > 5000
    assert json.loads((tmp_path / 'coco.json').read_text())['categories']
