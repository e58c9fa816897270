# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line in a process of its own, with the shipped model, on real photos."""

import contextlib
import io
import json
import os
import re
import signal
import struct
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
from pycocotools.coco import COCO

from instance_seg_ros import __version__
from instance_seg_ros.schema import settings_of
from instance_seg_ros.settings import ModelSettings, Settings

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'
SIZE = 320, 240  # of the videos
LIMIT = 600  # seconds; only ever reached by a failure, also on a loaded machine
LOW = ['--confidence-threshold', '0.1']  # the shipped model finds something in these photos
FAST = [*LOW, '--model', 'person_mask_rcnn', '--refiner', 'none']


def run(folder: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Run the command line in a folder; with options in a process of its own."""
    if not options:
        return run_main(*arguments, folder=folder)
    command = [sys.executable, '-m', 'instance_seg_ros', *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False, **options
    )


@pytest.fixture
def run_here(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Like run(tmp_path, ...), in this process."""
    return lambda *arguments: run_main(*arguments, folder=tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three real photos, one in a folder below."""
    folder = tmp_path / 'photos'
    (folder / 'below').mkdir(parents=True)
    for name, target in (
        ('astronaut', 'astronaut.png'),
        ('coffee', 'coffee.jpg'),
        ('chelsea', 'below/coffee.jpg'),
    ):
        image = cv2.resize(cv2.imread(str(PHOTOS / f'{name}.jpg')), (256, 256))
        cv2.imwrite(str(folder / target), image)
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A slow pan over a real photo: 12 frames at 12.5 per second."""
    return write_video(tmp_path / 'pan.mp4', 12)


def write_video(path: Path, frames: int) -> Path:
    photo = cv2.imread(str(PHOTOS / 'astronaut.jpg'))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 12.5, SIZE)
    for i in range(frames):
        x = i % 180
        writer.write(np.ascontiguousarray(photo[: SIZE[1], x : x + SIZE[0]]))
    writer.release()
    return path


def read_video(path: Path) -> tuple[float, list[np.ndarray]]:
    """Return frame rate and frames."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (frame := capture.read()[1]) is not None:
        frames.append(frame)
    return capture.get(cv2.CAP_PROP_FPS), frames


# ---- images
def test_an_image_is_annotated_and_its_instances_listed(photos: Path) -> None:
    done = run(photos, 'image', 'astronaut.png')
    assert done.returncode == 0, done.stderr
    before = cv2.imread(str(photos / 'astronaut.png'))
    after = cv2.imread(str(photos / 'instance_seg_output' / 'astronaut.png'))
    assert after.shape == before.shape
    assert (after != before).any()
    head, *rows, summary = done.stdout.splitlines()
    assert head.split()[:4] == ['image', '#', 'class', 'score']
    assert rows
    for number, row in enumerate(rows, 1):
        name, position, label, score, *box, area = row.split()
        assert (name, position, label) == ('astronaut.png', str(number), 'person')
        assert 0.5 <= float(score) <= 1 and int(area) > 0
        x1, y1, x2, y2 = map(int, box)
        assert 0 <= x1 < x2 <= 256 and 0 <= y1 < y2 <= 256
    assert summary.startswith(f'1 image, {len(rows)} instance')
    assert 'instance_seg_output' in summary


def test_a_folder_and_a_pattern_stand_for_the_images_in_them(photos: Path) -> None:
    folder = run(photos.parent, 'image', 'photos', '--output', 'a')
    assert folder.returncode == 0, folder.stderr
    assert files_in(photos.parent / 'a') == ['astronaut.png', 'coffee.jpg']
    pattern = run(photos.parent, 'image', 'photos/**/*.jpg', '--output', 'b')
    assert pattern.returncode == 0, pattern.stderr
    # Two files of one name do not overwrite each other.
    assert files_in(photos.parent / 'b') == ['below/coffee.jpg', 'coffee.jpg']
    assert '2 images' in pattern.stdout


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_every_common_format_is_read_and_written(photos: Path) -> None:
    photo = cv2.imread(str(photos / 'astronaut.png'))
    names = [
        f'photo{suffix}' for suffix in ('.JPG', '.bmp', '.jpeg', '.png', '.tif', '.tiff', '.webp')
    ]
    mixed = photos / 'mixed'
    mixed.mkdir()
    for name in names:
        cv2.imwrite(str(mixed / name), photo)
    cv2.imwrite(str(mixed / 'gray16.png'), cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY) * np.uint16(257))
    cv2.imwrite(str(mixed / 'transparent.png'), cv2.cvtColor(photo, cv2.COLOR_BGR2BGRA))
    (mixed / 'notes.txt').write_text('not an image, and not looked at')
    done = run(photos, 'image', 'mixed')
    assert done.returncode == 0, done.stderr
    written = sorted((photos / 'instance_seg_output').iterdir())
    assert [path.name for path in written] == sorted([*names, 'gray16.png', 'transparent.png'])
    for path in written:
        assert cv2.imread(str(path)).shape == photo.shape


def test_a_photo_is_turned_as_its_camera_says(photos: Path) -> None:
    photo = cv2.imread(str(PHOTOS / 'coffee.jpg'))[:200, :300]
    content = cv2.imencode('.jpg', photo)[1].tobytes()
    turned_by_90_degrees = struct.pack('<2sHIHHHIHHI', b'II', 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b'Exif\0\0' + turned_by_90_degrees
    segment = b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif
    (photos / 'turned.jpg').write_bytes(content[:2] + segment + content[2:])
    done = run(photos, 'image', 'turned.jpg')
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(photos / 'instance_seg_output' / 'turned.jpg')).shape == (300, 200, 3)


def test_the_json_file_is_read_by_pycocotools(photos: Path) -> None:
    people = ('--model', 'person_mask_rcnn')
    done = run(photos, 'image', '.', *LOW, *people, '--json', 'new/results.json', '--coarse')
    assert done.returncode == 0, done.stderr
    rows = json.loads((photos / 'new' / 'results.json').read_text())
    assert {row['file_name']: row['image_id'] for row in rows}['astronaut.png'] == 1
    assert {row['image_id'] for row in rows} <= {1, 2}
    listed = [line for line in done.stdout.splitlines() if ' person ' in line]
    assert len(rows) == len(listed) > 0
    for row in rows:
        assert (row['category_id'], row['category_name']) == (1, 'person')
        mask = coco_mask.decode(row['segmentation'])
        assert mask.shape == (256, 256) and mask.any()
        assert np.array(row['coarse_mask']).shape == (15, 15)
    truth = COCO()
    truth.dataset = {
        'images': [{'id': i, 'width': 256, 'height': 256} for i in (1, 2)],
        'categories': [{'id': 1, 'name': 'person'}],
        'annotations': [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes(str(photos / 'new' / 'results.json'))
    assert len(results.getAnnIds()) == len(rows)


def test_files_named_by_numbers_keep_them_as_image_ids(photos: Path) -> None:
    (photos / 'astronaut.png').rename(photos / '000000000139.png')
    (photos / 'coffee.jpg').unlink()
    done = run(photos, 'image', '.', *FAST, '--json', 'results.json')
    assert done.returncode == 0, done.stderr
    rows = json.loads((photos / 'results.json').read_text())
    assert {row['image_id'] for row in rows} == {139}


def test_numbers_too_large_for_a_table_are_no_image_ids(photos: Path) -> None:
    parquet = pytest.importorskip('pyarrow.parquet', reason='needs pyarrow')
    (photos / 'astronaut.png').rename(photos / '20261128114200123456789.png')
    (photos / 'coffee.jpg').rename(photos / '139.jpg')
    names = ('--json', 'r.json', '--csv', 'r.csv', '--parquet', 'r.parquet')
    done = run(photos, 'image', '.', *FAST, *names)
    assert done.returncode == 0, done.stderr
    rows = json.loads((photos / 'r.json').read_text())
    assert rows and {row['image_id'] for row in rows} <= {1, 2}
    table = parquet.read_table(photos / 'r.parquet').to_pylist()
    assert [row['image_id'] for row in table] == [row['image_id'] for row in rows]


def test_files_of_one_name_are_told_apart_in_the_json_file(photos: Path) -> None:
    cv2.imwrite(str(photos / 'below' / 'astronaut.png'), cv2.imread(str(photos / 'astronaut.png')))
    done = run(photos.parent, 'image', 'photos/**/astronaut.png', *FAST, '--json', 'results.json')
    assert done.returncode == 0, done.stderr
    rows = json.loads((photos.parent / 'results.json').read_text())
    assert {row['file_name'] for row in rows} == {'astronaut.png', 'below/astronaut.png'}


def test_unreadable_files_in_a_folder_are_skipped_and_reported(photos: Path) -> None:
    half = (photos / 'astronaut.png').read_bytes()[:20_000]
    (photos / 'broken.png').write_bytes(half)
    cv2.imwrite(str(photos / 'dot.png'), np.zeros((1, 1, 3), np.uint8))
    done = run(photos, 'image', '.')
    assert done.returncode == 1
    assert re.search(r'warning: skipped broken\.png: ', done.stderr)
    assert re.search(r'warning: skipped dot\.png: .*1x1', done.stderr)
    assert '2 of 4 images' in done.stderr.splitlines()[-1]
    assert files_in(photos / 'instance_seg_output') == ['astronaut.png', 'coffee.jpg']


@pytest.mark.slow
def test_the_settings_reach_the_segmenter(photos: Path) -> None:
    def count(*arguments: str) -> int:
        done = run(photos, 'image', 'astronaut.png', *FAST, '--overwrite', *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.count(' person ')

    every = count('--confidence-threshold', '0.02', '--nms-threshold', '1')
    assert count('--confidence-threshold', '0.02', '--nms-threshold', '0.05') < every
    assert count('--confidence-threshold', '1') == 0
    assert count('--confidence-threshold', '0.02', '--max-instances', '1') == 1
    assert (
        count(
            '--confidence-threshold',
            '0.02',
            '--nms-threshold',
            '1',
            '--classes',
            'person',
            '--num-threads',
            '1',
        )
        == every
    )


@pytest.mark.slow
def test_the_refiner_and_its_settings_reach_the_segmenter(photos: Path) -> None:
    tiny = pytest.importorskip('tiny_refiners')
    tiny.counting(photos / 'counting.onnx', 0.25)  # each pass adds that much, everywhere

    def area(*arguments: str) -> int:
        done = run(
            photos,
            'image',
            'astronaut.png',
            '--overwrite',
            '--json',
            'found.json',
            *LOW,
            '--mask-threshold',
            '0.45',
            *arguments,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads((photos / 'found.json').read_text())
        return sum(int(coco_mask.area(instance['segmentation'])) for instance in found)

    network = ['--refiner', 'counting.onnx', '--refine-providers', 'CPUExecutionProvider']
    assert area(*network) > area(*network, '--refine-passes', '1') > area('--refiner', 'smooth')
    assert area(*network, '--refine-budget-ms', '0.001') == area('--refiner', 'smooth')


# ---- videos
def test_a_video_keeps_its_frame_rate_and_length(video: Path) -> None:
    done = run(video.parent, 'video', video.name, *FAST, '--json', 'results.json')
    assert done.returncode == 0, done.stderr
    fps, frames = read_video(video.parent / 'instance_seg_output' / 'pan.mp4')
    assert fps == pytest.approx(12.5)
    assert [frame.shape for frame in frames] == [(SIZE[1], SIZE[0], 3)] * 12
    assert re.search(r'^12 frames, [\d.]+ frames/s; annotated in .*pan\.mp4$', done.stdout, re.M)
    rows = json.loads((video.parent / 'results.json').read_text())
    assert rows and {row['image_id'] for row in rows} <= set(range(12))
    table = done.stdout.splitlines()
    assert table[0].split()[:2] == ['class', 'instances']
    assert table[1].split()[:2] == ['person', str(len(rows))]
    assert table[1].split()[2] == str(len({row['image_id'] for row in rows}))


@pytest.mark.slow
def test_parallel_nets_change_nothing_in_the_results(video: Path) -> None:
    one, two = (video.parent / name for name in ('one.json', 'two.json'))
    assert run(video.parent, 'video', video.name, *FAST, '--json', one).returncode == 0
    more = ['--parallel-nets', '2', '--overwrite']
    done = run(video.parent, 'video', video.name, *FAST, '--json', two, *more)
    assert done.returncode == 0, done.stderr
    assert json.loads(one.read_text()) and two.read_text() == one.read_text()


def test_max_frames_ends_a_video_early(video: Path) -> None:
    done = run(video.parent, 'video', video.name, '--max-frames', '3')
    assert done.returncode == 0, done.stderr
    assert len(read_video(video.parent / 'instance_seg_output' / 'pan.mp4')[1]) == 3


def frames_are_written(output: Path) -> bool:
    """Return whether the file that will be this video has more than its first bytes."""
    parts = output.parent.glob('.instance-seg-*.part.*')
    return any(path.stat().st_size > 1000 for path in parts)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_an_interrupted_video_can_be_played(tmp_path: Path, number: signal.Signals) -> None:
    write_video(tmp_path / 'long.mp4', 1500)
    output = tmp_path / 'instance_seg_output' / 'long.mp4'
    command = [sys.executable, '-m', 'instance_seg_ros', 'video', 'long.mp4', '--json', 'r.json']
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    )
    try:
        while process.poll() is None and not frames_are_written(output):
            time.sleep(0.05)
        assert not output.exists()  # until it is whole
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert 'Traceback' not in stderr
    frames = read_video(output)[1]
    assert 0 < len(frames) < 1500
    assert 'annotated in' in stdout
    assert isinstance(json.loads((tmp_path / 'r.json').read_text()), list)


@pytest.mark.slow
def test_the_video_of_a_camera_plays_as_fast_as_things_happened(video: Path) -> None:
    # A file in place of the camera: OpenCV opens numbers, devices, URLs and paths alike.
    done = run(video.parent, 'camera', video, '--max-frames', '10')
    assert done.returncode == 0, done.stderr
    [output] = (video.parent / 'instance_seg_output').glob('camera_*.mp4')
    count = len(read_video(output)[1])
    rate = float(re.search(r'^10 frames, ([\d.]+) frames/s', done.stdout, re.M).group(1))
    assert count == pytest.approx(10 / rate * 12.5, rel=0.1, abs=5)  # of a busy machine, too


# ---- bad input: code 2 and one line
@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['image', 'nowhere.jpg'], 'nowhere.jpg: no such file or folder'),
        (['image', '*.xyz'], r'\*\.xyz: no image matches'),
        (['image', 'empty'], 'empty: no image in this folder'),
        (['image', 'text.png'], 'text.png: is damaged, or is no image'),
        (['image', 'dot.png'], 'dot.png: image is 1x1'),
        (['image', 'photo.png', '--output', 'text.png'], 'text.png: is a file'),
        (['image', 'photo.png', '--output', '.'], 'photo.png: is read by this command'),
        (['image', 'photo.png', '--json', 'empty'], 'empty: is a folder'),
        (['image', 'photo.png', '--coarse'], '--coarse .*--json'),
        (['image', 'photo.png', '--alpha', '2'], '--alpha is 2.0: expected a number from 0 to 1'),
        (['image', 'photo.png', '--show'], '--show: OpenCV can open no window'),
        (['image', 'photo.png', '--nms-threshold', '-1'], 'nms_threshold is -1.0'),
        (['image', 'photo.png', '--max-instances', '0'], 'max_instances is 0'),
        (['image', 'photo.png', '--classes', 'persn'], "class 'persn'; did you mean person"),
        (['image', 'photo.png', '--model', 'yolo'], "model 'yolo': not found"),
        (['image', 'photo.png', '--model-path', 'nowhere.pb'], 'nowhere.pb.* missing'),
        (['image', 'photo.png', '--refiner', 'magic'], "refiner 'magic'"),
        (['image', 'photo.png', '--refiner', 'nowhere.onnx'], 'refiner nowhere.onnx: No such file'),
        (['image', 'photo.png', '--refine-passes', '0'], 'refine_passes is 0'),
        (['video', 'nowhere.mp4'], 'nowhere.mp4: no such file'),
        (['video', 'text.png'], 'text.png: OpenCV can read no frame'),
        (['video', 'text.mp4'], 'text.mp4: OpenCV can read no frame'),
        (['camera', '97'], 'camera 97: there is no /dev/video97'),
    ],
)
def test_bad_input_is_reported_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    run_here: Callable[..., subprocess.CompletedProcess],
) -> None:
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.png').write_text('this is no image')
    (tmp_path / 'text.mp4').write_text('this is no video')
    cv2.imwrite(str(tmp_path / 'dot.png'), np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'photo.png'), np.zeros((64, 64, 3), np.uint8))
    done = run_here(*arguments)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if 'error' in line]
    assert len(errors) == 1 and errors[0] == done.stderr.splitlines()[-1]
    assert re.search(f'^instance-seg: error: .*{expected}', errors[0])
    assert 'Traceback' not in done.stderr
    assert done.stdout == ''


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['image'],
        ['image', 'x.png', '--alpha', 'much'],
        ['video', 'x.mp4', '--max-frames', '0'],
        ['image', 'x.png', '--engine', 'tensorflow'],
        ['sing'],
    ],
)
def test_a_bad_command_line_is_one_line_that_leads_to_the_help(
    arguments: list[str], run_here: Callable[..., subprocess.CompletedProcess]
) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r'instance-seg( \w+)?: error: .*\. See instance-seg( \w+)? --help', line)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['video', 'x.mp4', '--max-frames', '9' * 20], 'from 1 to 1000000000'),
        (['video', 'x.mp4', '--max-frames', '9' * 5000], 'from 1 to 1000000000'),
        (['camera', '--max-frames', '9' * 20], 'from 1 to 1000000000'),
        (['bag', 'in', 'out', '--every', '9' * 21], 'from 1 to 1000000000'),
        (['bag', 'in', 'out', '--jpeg-quality', '101'], 'from 1 to 100'),
        (['batch', 'x', '--output', 'y', '--retries', '9' * 30], 'from 0 to 1000000000'),
        (['batch', 'x', '--output', 'y', '--shard-size', '9' * 30], 'from 1 to 1000000000'),
        (['view', 'x', '--port', '65536'], 'from 0 to 65535'),
    ],
)
def test_numbers_without_end_are_refused(
    arguments: list[str], expected: str, run_here: Callable[..., subprocess.CompletedProcess]
) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"'{arguments[-1][:40]}" in line and f'expected a whole number {expected}.' in line
    assert len(line) < 200


def test_a_reader_that_goes_away_is_no_error(photos: Path) -> None:
    command = f'"{sys.executable}" -m instance_seg_ros image . | head -n 1'
    done = subprocess.run(
        command, shell=True, cwd=photos, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert 'Traceback' not in done.stderr and 'Exception' not in done.stderr


# ---- help
def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, '--version').stdout == f'instance-seg {__version__}\n'


@pytest.mark.parametrize('command', ['demo', 'image', 'video', 'camera'])
def test_help_describes_every_setting_with_its_default(tmp_path: Path, command: str) -> None:
    text = ' '.join(run(tmp_path, command, '--help').stdout.split('options:')[1].split())
    for setting in settings_of(ModelSettings, Settings):
        option = f'--{setting.name.replace("_", "-")}'
        if setting.name == 'parallel_nets' and command != 'video':
            assert option not in text
            continue
        described = text[text.index(f'{option}') :]
        assert setting.description.replace('-', '') in described.replace('-', ''), option
        if setting.kind in (int, float):
            default = f'({setting.default})'
            assert default in described.split(' --')[0], option


def run_code(code: str, folder: Path, **given: str) -> subprocess.CompletedProcess:
    """Run Python code in a new process, OpenBLAS as by default or as the environment says."""
    inherited = {k: v for k, v in os.environ.items() if k != 'OPENBLAS_NUM_THREADS'}
    return subprocess.run(
        [sys.executable, '-c', code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**inherited, **given},
    )


@pytest.mark.parametrize('arguments', [['--help'], ['image', '--help'], ['image', '--alpha', 'x']])
def test_help_and_bad_options_do_not_wait_for_opencv(arguments: list[str], tmp_path: Path) -> None:
    done = run_code(
        'import sys\n'
        "sys.modules['cv2'] = sys.modules['numpy'] = None  # importing them fails\n"
        'from instance_seg_ros.cli import main\n'
        f'sys.exit(main({arguments}))',
        tmp_path,
    )
    assert done.returncode == (0 if '--help' in arguments else 2), done.stderr
    assert 'Traceback' not in done.stderr


def test_no_thread_of_openblas_is_started_unless_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        'import os\n'
        'from instance_seg_ros.cli import main\n'
        "main(['models', 'list'])\n"
        "print(len(os.listdir('/proc/self/task')), os.environ['OPENBLAS_NUM_THREADS'])"
    )
    assert run_code(code, tmp_path).stdout.splitlines()[-1] == '1 1'
    asked_for = run_code(code, tmp_path, OPENBLAS_NUM_THREADS='2')
    assert asked_for.stdout.split()[-1] == '2'
