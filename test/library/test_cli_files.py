# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line and the files of its user: never over one of them, never half of one."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run_main
from image_files import JPEG_2000

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'
MODELS = PHOTOS.parents[1] / 'models'
FAST = ('--model', 'person_mask_rcnn', '--refiner', 'none', '--num-threads', '1')


def start(folder: Path, *arguments: object, **options: object) -> subprocess.Popen:
    command = [sys.executable, '-m', 'instance_seg_ros', *map(str, arguments), *FAST]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors='replace',
        **options,
    )


def run(folder: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Run the command line; with options in a process of its own."""
    if not options:
        done = run_main(*arguments, *FAST, folder=folder)
    else:
        process = start(folder, *arguments, **options)
        stdout, stderr = process.communicate(timeout=120)
        done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    assert 'Traceback' not in done.stderr
    return done


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def results(folder: Path) -> list[Path]:
    """The images under their final names."""
    return sorted(folder.glob('[!.]*.jpg'))


def photo(path: Path, size: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (size, size))
    path.write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
    return path


def own_model(folder: Path) -> Path:
    """Write a model of the user, and return its manifest."""
    folder.mkdir()
    names = {'weights': 'own.pb', 'text_graph': 'own.pbtxt', 'labels': 'labels.txt'}
    for name, shipped in (
        ('own.pb', 'person_mask_rcnn.pb'),
        ('own.pbtxt', 'person_mask_rcnn.pbtxt'),
        ('labels.txt', 'person_labels.txt'),
    ):
        shutil.copy(MODELS / shipped, folder / name)
    lines = [f'{key}: {value}' for key, value in ({'name': 'own'} | names).items()]
    (folder / 'own.yaml').write_text('\n'.join(lines))
    return folder / 'own.yaml'


def clip(path: Path, frames: int = 40, rate: float = 25.0, size: tuple = (320, 240)) -> Path:
    image = cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), size)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), rate, size)
    for shift in range(frames):
        writer.write(np.roll(image, 3 * shift, axis=1))
    writer.release()
    return path


def frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    return count


# ---- places
@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is below the one that commands run in."""
    folder = tmp_path / 'home'
    folder.mkdir()
    monkeypatch.setenv('HOME', str(folder))
    return folder


def test_the_home_folder_that_the_shell_left_is_found(tmp_path: Path, home: Path) -> None:
    photo(tmp_path / '1.jpg')
    (home / 'seg.yaml').write_text('tiles: 1x1')
    names = ('--json=~/r/r.json', '--csv=~/r/r.csv', '--config=~/seg.yaml', '--output=~/out')
    done = run(tmp_path, 'image', '1.jpg', *names)
    assert done.returncode == 0, done.stderr
    assert {'out/1.jpg', 'r/r.csv', 'r/r.json'} <= set(files(home))
    done = run_main(
        'labels', '~/r/r.json', '--images', '1.jpg', '--output', '~/labels', folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (home / 'labels' / 'annotations.json').is_file()
    own_model(home / 'm')
    done = run_main('models', 'convert', '~/m/own.yaml', '--output=~/parts', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (home / 'parts' / 'boxes.onnx').is_file()
    assert sorted(each.name for each in tmp_path.iterdir()) == ['1.jpg', 'home']


def test_ways_around_do_not_lead_out_of_the_output_folder(tmp_path: Path) -> None:
    photo(tmp_path / 'a' / '1.jpg')
    source = photo(tmp_path / 'b' / '2.jpg')
    before = source.read_bytes()
    done = run(tmp_path, 'image', 'a/1.jpg', 'a/../b/2.jpg', 'b/2.jpg', '--output', 'out')
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == ['a/1.jpg', 'b/2.jpg', 'out/a/1.jpg', 'out/b/2.jpg']
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ('sources', 'options', 'expected'),
    [
        (('x/1.jpg', 'x/x/1.jpg'), ('--output', '.'), 'x/1.jpg: is read by this command'),
        (('p', 'p.png'), (), 'p and p.png would both be written|p.png and p would both'),
        (('x/1.jpg',), ('--json', 'x/1.jpg', '--overwrite'), 'x/1.jpg: is read by this command'),
        (('x/1.jpg',), ('--json', 'notes.txt'), 'notes.txt: exists'),
        (('x/1.jpg',), ('--output', 'taken'), 'taken/1.jpg: exists.*--overwrite'),
        (('x/1.jpg',), ('--json', 'out/1.jpg', '--output', 'out'), 'would both be written'),
        (('x/1.jpg',), ('--output', '/proc/nowhere'), '/proc/nowhere: cannot be written'),
        (('x/1.jpg',), ('--json', '/proc/nowhere/r.json'), '/proc/nowhere: cannot be written'),
    ],
)
def test_nothing_is_overwritten_and_the_work_not_begun(
    tmp_path: Path, sources: tuple, options: tuple, expected: str
) -> None:
    for name in ('x/1.jpg', 'x/x/1.jpg', 'p', 'p.png', 'taken/1.jpg'):
        photo(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('mine')
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    done = run(tmp_path, 'image', *sources, *options)
    assert done.returncode == 2
    assert re.search(expected, done.stderr), done.stderr
    assert 'model ' not in done.stderr  # none was loaded
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.parametrize(
    ('model', 'target'),
    [
        (('--model', 'm/own.yaml'), 'm/own.yaml'),
        (('--model', 'm/own.yaml'), 'm/own.pb'),
        (('--model', 'm/own.yaml'), 'm/own.pbtxt'),
        (('--model', 'm/own.yaml'), 'm/labels.txt'),
        (('--model', 'm/own.yaml'), 'm/own_onnx/boxes.onnx'),
        (('--model-path', 'm/own.pb'), 'm/own.yaml'),
        (('--model-path', 'm/own.pb'), 'm/own.pbtxt'),
        (('--precision', 'int8', '--model', 'm/own.yaml'), 'm/own_int8.json'),
        (('--config', 'm/seg.yaml'), 'm/seg.yaml'),
        (('--refiner', 'm/refiner.onnx'), 'm/refiner.onnx'),
    ],
)
def test_no_file_of_the_model_is_overwritten(
    tmp_path: Path, model: tuple[str, ...], target: str
) -> None:
    photo(tmp_path / '1.jpg')
    own = own_model(tmp_path / 'm')
    (own.parent / 'own_onnx').mkdir()
    for name in ('own_onnx/boxes.onnx', 'own_int8.json', 'refiner.onnx'):
        (own.parent / name).write_text('mine')
    (own.parent / 'seg.yaml').write_text('tiles: 1x1')
    before = (tmp_path / target).read_bytes()
    done = run_main('image', '1.jpg', '--json', target, '--overwrite', *model, folder=tmp_path)
    assert done.returncode == 2
    assert f'{target}: is read by this command' in done.stderr
    assert (tmp_path / target).read_bytes() == before


@pytest.mark.parametrize('option', ['--csv', '--json'])
def test_a_pipe_is_refused_before_the_work(tmp_path: Path, option: str) -> None:
    photo(tmp_path / '1.jpg')
    os.mkfifo(tmp_path / 'pipe')
    done = run(tmp_path, 'image', '1.jpg', option, 'pipe', '--overwrite')
    assert done.returncode == 2
    assert f'pipe: is a device, a pipe or the like; {option} can be written' in done.stderr
    assert 'model ' not in done.stderr
    assert (tmp_path / 'pipe').is_fifo() and not (tmp_path / 'instance_seg_output').exists()


def test_overwrite_replaces_results_alone(tmp_path: Path) -> None:
    photo(tmp_path / '1.jpg')
    assert run(tmp_path, 'image', '1.jpg', '--json', 'r.json').returncode == 0
    result = tmp_path / 'instance_seg_output' / '1.jpg'
    result.write_text('old')
    (tmp_path / 'r.json').write_text('old')
    assert run(tmp_path, 'image', '1.jpg', '--json', 'r.json').returncode == 2
    assert result.read_text() == 'old'
    done = run(tmp_path, 'image', '1.jpg', '--json', 'r.json', '--overwrite')
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(result)).shape == (64, 64, 3)
    assert isinstance(json.loads((tmp_path / 'r.json').read_text()), list)


def test_files_of_other_formats_are_named(tmp_path: Path) -> None:
    photo(tmp_path / 'in' / '1.jpg')
    for name in ('a.HEIC', 'b.gif', 'c.avif', 'notes.txt'):
        (tmp_path / 'in' / name).write_text('x')
    done = run(tmp_path, 'image', 'in')
    assert done.returncode == 0
    assert 'left out, as their formats are not read: a.HEIC, b.gif, c.avif' in done.stderr
    (tmp_path / 'in' / '1.jpg').unlink()
    done = run(tmp_path, 'image', 'in')
    assert done.returncode == 2 and 'no image in this folder; left out' in done.stderr


def test_a_picture_that_would_end_the_process_is_skipped(tmp_path: Path) -> None:
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / '1.jpg').write_bytes(JPEG_2000)
    photo(tmp_path / 'in' / '2.jpg')
    done = run(tmp_path, 'image', 'in')
    assert done.returncode == 1
    assert 'skipped in/1.jpg: is a JPEG 2000 file' in done.stderr
    assert files(tmp_path / 'instance_seg_output') == ['2.jpg']


# ---- printed
def test_quiet_and_results_on_stdout(tmp_path: Path) -> None:
    photo(tmp_path / '1.jpg', 256)
    done = run(tmp_path, 'image', '1.jpg', '--json', '-', '--confidence-threshold', '0.1')
    rows = json.loads(done.stdout)
    assert rows and rows[0]['file_name'] == '1.jpg'
    assert '1 image' in done.stderr
    done = run(tmp_path, 'image', '1.jpg', '--quiet', '--overwrite')
    assert (done.returncode, done.stdout) == (0, '')
    assert 'image' not in done.stderr


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'utf-8'])
def test_any_file_name_can_be_printed(tmp_path: Path, encoding: str) -> None:
    for name in (b'stra\xdfe.jpg', 'Straße.jpg'.encode(), '照片.jpg'.encode(), b'new\nline.jpg'):
        photo(tmp_path / 'in' / os.fsdecode(name))
    environment = dict(os.environ, PYTHONIOENCODING=encoding)
    done = run(tmp_path, 'image', 'in', '--json', 'r.json', env=environment)
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(tmp_path / 'instance_seg_output')) == 4


def test_a_file_name_does_not_command_the_terminal(tmp_path: Path) -> None:
    photo(tmp_path / 'in' / 'a\x1b[31mred\r\nb.jpg')
    (tmp_path / 'in' / 'no\x1b[2Jimage.jpg').write_bytes(b'no image')
    done = run(tmp_path, 'image', 'in', '--confidence-threshold', '0.9999')
    assert not re.search(r'[\x00-\x09\x0b-\x1f]', done.stdout + done.stderr)
    assert r'a\x1b[31mred\r\nb.jpg' in done.stdout and r'no\x1b[2Jimage.jpg' in done.stderr


def test_a_video_may_have_any_name(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b'\xdf:%d')
    os.mkdir(folder)
    name = os.path.join(folder, b'a:\xdf%03d.avi')
    clip(tmp_path / 'x.avi', 4).rename(os.fsdecode(name))
    done = run(tmp_path, 'video', os.fsdecode(name), '--output', os.fsdecode(folder))
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(folder)) == [b'a:\xdf%03d.avi', b'a:\xdf%03d.mp4']


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('words', [('image', '1.jpg', *FAST), ('completion', 'bash')])
def test_a_full_standard_output_is_an_error(
    tmp_path: Path, words: tuple[str, ...], unbuffered: str
) -> None:
    if words[0] == 'completion':
        pytest.importorskip('shtab', reason='it writes completions')
    photo(tmp_path / '1.jpg')
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-m', 'instance_seg_ros', *words],
            cwd=tmp_path,
            env=dict(os.environ, PYTHONUNBUFFERED=unbuffered),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert 'standard output: No space left on device' in done.stderr
    assert 'Traceback' not in done.stderr and 'Exception' not in done.stderr


def test_a_working_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    photo(tmp_path / '1.jpg')
    (tmp_path / 'gone').mkdir()
    command = [sys.executable, '-m', 'instance_seg_ros', 'image', tmp_path / '1.jpg', *FAST]
    words = ['sh', '-c', 'rmdir ../gone; exec "$@"', 'sh', *map(str, command)]
    done = subprocess.run(words, cwd=tmp_path / 'gone', capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(
        'error: the working folder was removed. Change to a folder that exists\n'
    )


# ---- killed, and started again
def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    for i in range(30):
        photo(tmp_path / 'in' / f'{i:02}.jpg', 256)
    command = (
        'image',
        'in',
        '--output',
        'out',
        '--json',
        'r.json',
        '--confidence-threshold',
        '0.1',
    )
    out = tmp_path / 'out'
    process = start(tmp_path, *command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(results(out)) < 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = {path: path.stat().st_mtime_ns for path in results(out)}
    assert 5 <= len(first) < 30
    assert all(cv2.imread(str(path)).shape == (256, 256, 3) for path in first)
    assert not (tmp_path / 'r.json').exists()
    # Other settings would give other images: not a word of going on.
    done = run(tmp_path, *command, '--alpha', '1')
    assert done.returncode == 2 and 'exists' in done.stderr
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert f'{len(first)} of 30 images were done before' in done.stdout
    assert len(results(out)) == 30
    assert {path: path.stat().st_mtime_ns for path in first} == first
    rows = json.loads((tmp_path / 'r.json').read_text())
    assert {row['image_id'] for row in rows} == set(range(30))
    assert files(out) == [f'{i:02}.jpg' for i in range(30)]
    again = run(tmp_path, *command)
    assert again.returncode == 2 and 'exists' in again.stderr


def test_an_interrupted_run_has_its_results_and_goes_on(tmp_path: Path) -> None:
    for i in range(30):
        photo(tmp_path / 'in' / f'{i:02}.jpg', 256)
    command = (
        'image',
        'in',
        '--output',
        'out',
        '--json',
        'r.json',
        '--confidence-threshold',
        '0.1',
    )
    process = start(tmp_path, *command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(results(tmp_path / 'out')) < 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and 'Traceback' not in stderr
    assert json.loads((tmp_path / 'r.json').read_text())
    # An image that was changed meanwhile is done once more.
    photo(tmp_path / 'in' / '00.jpg', 200)
    done = run(tmp_path, *command)
    assert done.returncode == 2 and 'out/00.jpg: exists' in done.stderr
    (tmp_path / 'out' / '00.jpg').unlink()
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / 'r.json').read_text())) >= 29


INTERRUPTED_IMPORT = """
import sys

def tell(event, arguments):
    if event == 'import' and arguments[0] == 'onnxruntime.capi.onnxruntime_pybind11_state':
        print('importing', flush=True)

sys.addaudithook(tell)
from instance_seg_ros.cli import main
sys.exit(main(sys.argv[1:]))
"""


# With each of these, the import failed, went on or aborted in its own way.
@pytest.mark.parametrize('delay', [0, 0.005, 0.01, 0.02])
def test_an_interrupt_while_onnxruntime_is_imported_ends_the_command(
    tmp_path: Path, delay: float
) -> None:
    pytest.importorskip('onnxruntime', reason='learned refiners need it')
    command = [sys.executable, '-c', INTERRUPTED_IMPORT, 'image', str(PHOTOS / 'astronaut.jpg')]
    process = subprocess.Popen(
        [*command, '--model', 'person_mask_rcnn', '--refiner', 'gan', '--num-threads', '1'],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == 'importing\n'
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and said.endswith('interrupted\n'), said


# ---- videos
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_an_ended_video_goes_on_to_the_same_files(tmp_path: Path, number: signal.Signals) -> None:
    clip(tmp_path / 'clip.avi', 30)
    command = ('video', 'clip.avi', '--track', '--confidence-threshold', '0.1', '--csv')
    process = start(tmp_path, *command, 'r.csv', '--output', 'out')
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        path.read_bytes().count(b'\n') > 5 for path in (tmp_path / 'out').glob('.*.jsonl')
    ):
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate()
    output = tmp_path / 'out' / 'clip.mp4'
    if number == signal.SIGKILL:
        assert not output.exists() and not (tmp_path / 'r.csv').exists()
    else:  # both are whole, and no file that is in the way of the next run
        assert 0 < frame_count(output) < 30 and (tmp_path / 'r.csv').exists()
    done = run(tmp_path, *command, 'r.csv', '--output', 'out')
    assert done.returncode == 0, done.stderr
    assert re.search('[1-9][0-9]* frames? were done before', done.stdout)
    assert run(tmp_path, *command, 's.csv', '--output', 'whole').returncode == 0
    assert (tmp_path / 'r.csv').read_bytes() == (tmp_path / 's.csv').read_bytes()
    assert output.read_bytes() == (tmp_path / 'whole' / 'clip.mp4').read_bytes()
    assert files(tmp_path / 'out') == ['clip.mp4']


def begin_and_kill(folder: Path, *command: str) -> None:
    """Kill a command that writes to the folder out once it has noted a frame there."""
    process = start(folder, *command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        path.stat().st_size for path in (folder / 'out').glob('.*.jsonl')
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_video_leaves_nothing_to_a_run_with_other_settings(tmp_path: Path) -> None:
    clip(tmp_path / 'clip.avi', 30)
    begin_and_kill(tmp_path, 'video', 'clip.avi', '--output', 'out')
    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out', '--max-frames', '3')
    assert done.returncode == 0, done.stderr
    assert 'were done before' not in done.stdout
    assert frame_count(tmp_path / 'out' / 'clip.mp4') == 3


def test_a_killed_video_leaves_nothing_to_a_run_with_another_model(tmp_path: Path) -> None:
    for suffix in ('.pb', '.pbtxt'):
        shutil.copy(MODELS / f'person_mask_rcnn{suffix}', tmp_path / f'my{suffix}')
    labels = tmp_path / 'my_labels.txt'
    labels.write_text('person\n')
    clip(tmp_path / 'clip.avi', 30)
    command = ('video', 'clip.avi', '--output', 'out', '--model-path', 'my.pb')
    begin_and_kill(tmp_path, *command)
    labels.write_text('human\n')  # by the same names, another model
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert 'were done before' not in done.stdout


@pytest.mark.parametrize(
    ('rate', 'written'), [(0.1, 1.0), (0.5, 1.0), (12.5, 12.5), (480.0, 480.0)]
)
def test_a_video_lasts_as_long_as_its_source(tmp_path: Path, rate: float, written: float) -> None:
    clip(tmp_path / 'clip.avi', 5, rate)
    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out')
    assert done.returncode == 0, done.stderr
    capture = cv2.VideoCapture(str(tmp_path / 'out' / 'clip.mp4'))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(written, rel=0.01)
    seconds = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    assert seconds == pytest.approx(5 / rate, rel=0.02)


@pytest.mark.parametrize('limit', [4_000, 20_480, 60_000])
def test_a_video_that_does_not_fit_holds_what_fits_and_is_an_error(
    tmp_path: Path, limit: int
) -> None:
    clip(tmp_path / 'clip.avi')

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out', preexec_fn=full)
    assert done.returncode == 2
    assert re.search('out/clip.mp4: .*(disk is full|is the disk full)', done.stderr)
    output = tmp_path / 'out' / 'clip.mp4'
    if output.exists():
        count = frame_count(output)
        assert 0 < count < 40 and f'holds the first {count} of 40 frames' in done.stderr
    notes = [name for name in files(tmp_path / 'out') if name != 'clip.mp4']
    # With a video that can be played, what the same command needs to know of it.
    assert all(re.fullmatch(r'\.instance-seg-[0-9a-f]{16}\.jsonl', name) for name in notes)
    assert len(notes) <= 1 and (output.exists() or not notes)
    # Once there is room, the same command goes on, and nothing else is left.
    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out')
    assert done.returncode == 0, done.stderr
    assert frame_count(output) == 40 and files(tmp_path / 'out') == ['clip.mp4']


def test_a_video_that_did_not_fit_is_not_segmented_again(tmp_path: Path) -> None:
    clip(tmp_path / 'clip.avi')
    command = ('video', 'clip.avi', '--csv', 'r.csv', '--output', 'out')

    def full() -> None:  # for the video, not for the journal of its frames
        resource.setrlimit(resource.RLIMIT_FSIZE, (204_800, 204_800))

    done = run(tmp_path, *command, preexec_fn=full)
    assert done.returncode == 2
    count = frame_count(tmp_path / 'out' / 'clip.mp4')
    assert 0 < count < 40 and f'holds the first {count} of 40 frames' in done.stderr
    done = run(tmp_path, *command, preexec_fn=full)
    assert done.returncode == 2 and 'clip.mp4: cannot be written to its end' in done.stderr
    assert frame_count(tmp_path / 'out' / 'clip.mp4') == count
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert '40 frames were done before' in done.stdout
    assert run(tmp_path, *command[:-1], 'whole', '--overwrite').returncode == 0
    whole = (tmp_path / 'whole' / 'clip.mp4').read_bytes()
    assert (tmp_path / 'out' / 'clip.mp4').read_bytes() == whole
    assert files(tmp_path / 'out') == ['clip.mp4']


def test_a_video_that_exists_is_not_torn_by_a_full_disk(tmp_path: Path) -> None:
    clip(tmp_path / 'clip.avi', 4)
    assert run(tmp_path, 'video', 'clip.avi', '--output', 'out').returncode == 0
    before = (tmp_path / 'out' / 'clip.mp4').read_bytes()
    clip(tmp_path / 'clip.avi')

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out', '--overwrite', preexec_fn=full)
    assert done.returncode == 2
    assert (tmp_path / 'out' / 'clip.mp4').read_bytes() == before


def test_a_size_that_no_codec_takes_is_reported_before_the_work(tmp_path: Path) -> None:
    clip(tmp_path / 'wide.avi', 2, size=(8192, 64))
    done = run(tmp_path, 'video', 'wide.avi', '--output', 'out')
    assert done.returncode == 2
    assert '8192x64' in done.stderr and 'model ' not in done.stderr
    assert files(tmp_path / 'out') == []


# What OpenCV has for videos where it is built without FFmpeg.
NO_FFMPEG = {'OPENCV_VIDEOIO_PRIORITY_FFMPEG': '0'}


def test_frames_are_counted_without_ffmpeg(tmp_path: Path) -> None:
    clip(tmp_path / 'clip.avi', 7)
    code = (
        'import cv2; from pathlib import Path; from instance_seg_ros.cli.video import frames_in\n'
        'assert cv2.CAP_FFMPEG not in cv2.videoio_registry.getBackends()\n'
        'print(frames_in(Path("clip.avi")))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=os.environ | NO_FFMPEG,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == '7\n'


def test_an_opencv_that_writes_no_mpeg_4_is_reported_before_the_work(tmp_path: Path) -> None:
    clip(tmp_path / 'clip.avi', 2)
    done = run(tmp_path, 'video', 'clip.avi', '--output', 'out', env=os.environ | NO_FFMPEG)
    assert done.returncode == 2
    assert 'out/clip.mp4: ' in done.stderr and 'this OpenCV cannot write MPEG-4' in done.stderr
    assert 'model ' not in done.stderr and files(tmp_path / 'out') == []
