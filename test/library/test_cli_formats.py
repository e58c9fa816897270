# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Folders and patterns in, label maps, cut-outs and tables out, with the shipped model."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run_main
from pycocotools import mask as coco_mask

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'
OPTIONS = ('--refiner', 'none', '--num-threads', '1', '--confidence-threshold', '0.3')


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `instance-seg image ...` in tmp_path, in this process."""

    def call(*arguments: str) -> subprocess.CompletedProcess:
        return run_main('image', *arguments, *OPTIONS, folder=tmp_path)

    return call


def photo(path: Path, size: int = 128, people: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (size, size))
    image = cv2.hconcat([image] * people)
    path.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes())
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


# ---- what is found
def test_a_folder_is_searched_and_keeps_its_folders_below_the_output(
    tmp_path: Path, run: Callable
) -> None:
    for name in ('in/a/b/1.jpg', 'in/a/1.jpg', 'in/.hidden.jpg', 'in/.thumbnails/1.jpg'):
        photo(tmp_path / name)
    (tmp_path / 'in' / 'a' / 'loop').symlink_to('..')
    command = ('in', '--recursive', '--output', 'in/out')
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / 'in' / 'out') == ['a/1.jpg', 'a/b/1.jpg']
    assert 'links to folders are not followed; name such a folder itself: in/a/loop' in done.stderr
    # Neither a second run nor a pattern takes the results of the first for images.
    for source in (command, ('in/**/*.jpg', '--output', 'in/out')):
        assert run(*source, '--overwrite').returncode == 0
        assert files(tmp_path / 'in' / 'out') == ['a/1.jpg', 'a/b/1.jpg']
    done = run('in', '--output', 'elsewhere')
    assert done.returncode == 2 and 'no image in this folder' in done.stderr
    assert '--recursive also looks in the folders in it' in done.stderr


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        ('in/**/*.jpg', ['1.jpg', 'a/2.jpg', 'a/b/3.jpg']),
        ('in/**', ['1.jpg', 'a/2.jpg', 'a/b/3.jpg']),
        ('in/*/*.jpg', ['a/2.jpg']),
        ('in/a/[23].jpg', ['2.jpg']),
    ],
)
def test_a_pattern_keeps_the_folders_from_its_first_star_on(
    tmp_path: Path, run: Callable, pattern: str, expected: list[str]
) -> None:
    for name in ('in/1.jpg', 'in/a/2.jpg', 'in/a/b/3.jpg'):
        photo(tmp_path / name, 64)
    assert run(pattern, '--output', 'out').returncode == 0
    assert files(tmp_path / 'out') == expected


def test_a_pattern_that_matches_nothing_or_is_none_is_an_error(run: Callable) -> None:
    assert 'nowhere/**/*.jpg: no image matches this pattern' in run('nowhere/**/*.jpg').stderr
    assert 'a**b/*.jpg: ' in run('a**b/*.jpg').stderr


# ---- what is written
def test_label_maps_cutouts_and_tables_agree(tmp_path: Path, run: Callable) -> None:
    source = photo(tmp_path / 'in' / 'a' / 'cat,"1".jpg', 256, people=2)
    done = run(
        'in', '--recursive', '--output', 'out', '--label-maps', '--cutouts',
        '--csv', 'r.csv', '--json', 'r.json',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines, rows = table(tmp_path / 'r.csv'), json.loads((tmp_path / 'r.json').read_text())
    assert len(lines) == len(rows) > 1
    name = 'a/cat,"1".jpg'
    cutouts = [f'{line["instance"]}_{line["class_name"]}.png' for line in lines]
    written = [name, f'{name}.labels.png', *(f'{name}.cutouts/{each}' for each in cutouts)]
    assert files(tmp_path / 'out') == sorted(written)
    labels = cv2.imread(str(tmp_path / 'out' / f'{name}.labels.png'), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16 and labels.shape == (256, 512)
    image = cv2.imread(str(source))
    free = np.full(labels.shape, True)  # of masks with better scores, which lie on top
    for i, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        mask = coco_mask.decode(row['segmentation']) > 0
        assert np.array_equal(labels == i, mask & free)
        free &= ~mask
        assert line['image'] == row['file_name'] == name
        assert (int(line['instance']), int(line['class_id'])) == (i, row['category_id'] - 1)
        assert int(line['area']) == row['area'] == mask.sum()
        assert (line['width'], line['height'], line['track_id']) == ('512', '256', '')
        x, y, w, h = row['bbox']
        box = [float(line[each]) for each in ('x1', 'y1', 'x2', 'y2')]
        assert box == pytest.approx([x, y, x + w, y + h], abs=0.001)
        _check_cutout(tmp_path / 'out' / f'{name}.cutouts' / cutouts[i - 1], image, mask)


def _check_cutout(path: Path, image: np.ndarray, mask: np.ndarray) -> None:
    """A cut-out is cropped to the mask, opaque within and transparent without."""
    cutout = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    assert cutout.shape == (h, w, 4)
    inside, alpha = mask[y : y + h, x : x + w], cutout[..., 3]
    assert np.array_equal(alpha > 0, inside)
    assert not cutout[~inside].any()  # the background is not hidden but gone
    assert np.array_equal(cutout[inside][:, :3], image[y : y + h, x : x + w][inside])
    # Opaque but for the edge, which lies at the border of the image only where the object ends.
    edge = np.pad(mask, 1, mode='edge').astype(np.uint8)
    deep = cv2.erode(edge, np.ones((7, 7), np.uint8))[1:-1, 1:-1][y : y + h, x : x + w] > 0
    assert (alpha[deep] == 255).all()
    assert ((alpha > 0) & (alpha < 255)).any()


def test_a_parquet_file_has_the_columns_of_the_csv_file_and_the_masks(
    tmp_path: Path, run: Callable
) -> None:
    parquet = pytest.importorskip('pyarrow.parquet', reason='needs pyarrow')
    photo(tmp_path / 'in' / os.fsdecode(b'stra\xdfe.jpg'))
    photo(tmp_path / 'in' / '2.jpg')
    done = run('in', '--parquet', 'r.parquet', '--csv', 'r.csv', '--json', 'r.json')
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(tmp_path / 'r.parquet').to_pylist()
    masks = [row.pop('mask_rle') for row in rows]
    as_text = [{k: '' if v is None else str(v) for k, v in row.items()} for row in rows]
    assert as_text == table(tmp_path / 'r.csv')
    assert {row['image'] for row in rows} == {'2.jpg', 'stra\\udcdfe.jpg'}
    expected = [row['segmentation'] for row in json.loads((tmp_path / 'r.json').read_text())]
    for mask, row, segmentation in zip(masks, rows, expected, strict=True):
        size = [row['height'], row['width']]
        assert {'size': size, 'counts': mask.decode()} == segmentation


def test_names_stay_apart_whatever_they_are(tmp_path: Path, run: Callable) -> None:
    names = [b'n' * 246 + b'.jpg', b'n' * 245 + b'm.jpg', b'new\nline.jpg', b'\xdf.jpg', b'X.jpg']
    names += [b'x.jpg', b'x.png', b'x.jpg.png', 'é'.encode() * 120 + b'.jpg']
    for name in names:
        photo(tmp_path / 'in' / os.fsdecode(name))
    done = run('in', '--output', 'out', '--label-maps', '--cutouts', '--csv', 'r.csv')
    assert done.returncode == 0, done.stderr
    written = os.listdir(os.fsencode(tmp_path / 'out'))
    assert len(written) == 3 * len(names) and set(names) <= set(written)
    assert {line['image'] for line in table(tmp_path / 'r.csv')} == {
        name.decode('utf-8', 'surrogateescape').encode('utf-8', 'backslashreplace').decode()
        for name in names
    }


# ---- nothing is overwritten
@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (('in/1.jpg', '--cutouts', '--output', 'mine', '--overwrite'), 'has notes.txt, which is'),
        (('in/1.jpg', '--cutouts', '--output', 'old'), 'old/1.jpg.cutouts: exists.*--overwrite'),
        (('in/1.jpg', '--label-maps', '--csv', 'r.csv', '--output', 'old'), 'labels.png: exists'),
        (('in', '--recursive', '--cutouts', '--output', 'out'), 'would be written in this folder'),
        (
            ('old/1.jpg.cutouts/1_x.png', 'old/1.jpg', '--output', 'old', '--cutouts'),
            'is read by this command|which is not from this command',
        ),
        (('in/1.jpg', '--csv', 'in/1.jpg', '--overwrite'), 'is read by this command'),
        (('in/1.jpg', '--csv', 'r', '--json', 'r'), '--csv and --json would both be written to r'),
        (('in/1.jpg', '--csv', 'in'), '--csv in: is a folder'),
        (('in/1.jpg', '--csv', '-'), 'only --json can go to standard output'),
        (('in/1.jpg', '--label-maps'), '--label-maps numbers the instances'),
        (('in/1.jpg', '--csv', '/proc/nowhere/r.csv'), '/proc/nowhere: cannot be written'),
    ],
)
def test_targets_are_checked_before_the_work(
    tmp_path: Path, run: Callable, arguments: tuple[str, ...], told: str
) -> None:
    for name in ('in/1.jpg', 'in/1.jpg.cutouts/2.jpg', 'old/1.jpg', 'old/1.jpg.cutouts/1_x.png'):
        photo(tmp_path / name)
    (tmp_path / 'old' / '1.jpg').rename(tmp_path / 'old' / '2.jpg')
    photo(tmp_path / 'old' / '1.jpg.labels.png')
    (tmp_path / 'mine' / '1.jpg.cutouts').mkdir(parents=True)
    (tmp_path / 'mine' / '1.jpg.cutouts' / 'notes.txt').write_text('mine')
    if 'old/1.jpg' in arguments:
        (tmp_path / 'old' / '2.jpg').rename(tmp_path / 'old' / '1.jpg')
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    done = run(*arguments)
    assert done.returncode == 2
    assert re.search(told, done.stderr), done.stderr
    assert 'model ' not in done.stderr  # none was loaded
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_overwrite_replaces_a_folder_of_cutouts_as_a_whole(tmp_path: Path, run: Callable) -> None:
    photo(tmp_path / '1.jpg')
    old = photo(tmp_path / 'out' / '1.jpg.cutouts' / '77_unicorn.png')
    assert run('1.jpg', '--cutouts', '--output', 'out', '--overwrite').returncode == 0
    assert not old.exists() and (old.parent / '1_person.png').exists()
    # Where nothing is found, nothing of an older run is left, either.
    done = run('1.jpg', '--cutouts', '--output', 'out', '--overwrite', '--classes', 'cat')
    assert done.returncode == 0
    assert files(tmp_path / 'out') == ['1.jpg']


# ---- ended early
@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_files(tmp_path: Path, run: Callable) -> None:
    for i in range(16):
        photo(tmp_path / 'in' / f'{i:02}.jpg', 200)
    command = ['in', '--label-maps', '--cutouts', '--csv', 'r.csv', '--json', 'r.json']
    process = subprocess.Popen(
        [sys.executable, '-m', 'instance_seg_ros', 'image', *command, '--output', 'out', *OPTIONS],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    out, deadline = tmp_path / 'out', time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob('[!.]*.cutouts'))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'r.csv').exists() and not (tmp_path / 'r.json').exists()
    first = {path: path.stat().st_mtime_ns for path in out.glob('[!.]*.jpg')}
    assert 4 <= len(first) < 16
    done = run(*command, '--output', 'out')
    assert done.returncode == 0, done.stderr
    assert f'{len(first)} of 16 images were done before' in done.stdout
    assert {path: path.stat().st_mtime_ns for path in first} == first
    again = [each.replace('r.', 's.') for each in command]
    assert run(*again, '--output', 'whole').returncode == 0
    for suffix in ('csv', 'json'):
        content = (tmp_path / f's.{suffix}').read_bytes()
        assert (tmp_path / f'r.{suffix}').read_bytes() == content
    assert files(out) == files(tmp_path / 'whole')
    assert all((out / n).read_bytes() == (tmp_path / 'whole' / n).read_bytes() for n in files(out))


def test_the_reader_of_the_json_that_goes_away_is_told_of(tmp_path: Path) -> None:
    for i in range(3):
        photo(tmp_path / 'in' / f'{i}.jpg')
    command = f'"{sys.executable}" -m instance_seg_ros image in --json - {" ".join(OPTIONS)}'
    done = subprocess.run(
        ['bash', '-c', f'{command} | head -c 5; exit ${{PIPESTATUS[0]}}'],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (141, '[{"im')
    assert 'error: standard output: its reader has gone' in done.stderr
    assert 'Traceback' not in done.stderr
    done = subprocess.run(
        ['bash', '-c', f'{command} --output b >&-'],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and '--json -: standard output is closed' in done.stderr
