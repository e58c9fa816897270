# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""instance-seg batch: real worker processes, killed and lost, and results to the last bit."""

import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import ImageError, Segmenter
from instance_seg_ros.batch.inputs import ItemReader, list_items
from instance_seg_ros.cli import main

pytestmark = pytest.mark.slow

LIMIT = 120  # seconds; only ever reached by a failure
IMAGES = 12
SETTINGS = (
    '--refiner', 'none', '--confidence-threshold', '0.3', '--formats', 'coco', '--shard-size', '3',
)  # fmt: skip
# Ends every process that opens such a file, as a file that crashes OpenCV does.
CRASH = """
import os, sys

def look(event, arguments):
    if event == 'open' and str(arguments[0]).endswith('poison.png'):
        os.kill(os.getpid(), 9)

sys.addaudithook(look)
"""


# Opening such a file takes longer than anybody waits.
SLEEP = (
    CRASH.replace('poison', 'slow')
    .replace('os.kill(os.getpid(), 9)', 'print("reads it", flush=True); time.sleep(600)')
    .replace('import os', 'import os, time')
)


@pytest.fixture(scope='module')
def photos(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Path:
    """A folder of images, some below, one broken, one too small, one with a strange name."""
    folder = tmp_path_factory.mktemp('photos')
    (folder / 'below').mkdir()
    for i in range(IMAGES):
        image = np.roll(cv2.resize(photo, (160 + 8 * (i % 3), 128)), 10 * i, axis=1)
        cv2.imwrite(str(folder / ('below' if i % 2 else '.') / f'{i:02}.png'), image)
    cv2.imwrite(str(folder / 'small.png'), np.zeros((8, 8, 3), np.uint8))
    (folder / 'broken.jpg').write_bytes(b'\xff\xd8 no image')
    (folder / os.fsdecode(b'\xff\xfe.png')).write_bytes((folder / '00.png').read_bytes())
    (folder / 'notes.doc').write_text('no image')
    return folder


@pytest.fixture
def batch(small_model: Path) -> Iterator[Callable[..., int]]:
    """Run the command in this process, its workers in others; return the exit code."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> int:
        return main(['batch', '--model', str(small_model), *SETTINGS, *map(str, arguments)])

    yield call
    signal.signal(signal.SIGTERM, handler)


def start(model: Path, *arguments: object, **environment: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'instance_seg_ros', 'batch', *map(str, arguments)]
    return subprocess.Popen(
        [*command, '--model', str(model), *SETTINGS],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }


def lines(folder: Path, kind: str) -> list[dict]:
    files = sorted((folder / kind).iterdir())
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def wait_for_a_shard(folder: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while not list((folder / 'images').glob('0*.jsonl')):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Return the workers of a process."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(path.read_text('utf-8', 'replace').rpartition(')')[2].split()[1])
            spawned = b'spawn_main' in path.with_name('cmdline').read_bytes()
        except OSError:
            continue
        if parent == pid and spawned:
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope='module')
def expected(
    photos: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What one worker writes."""
    folder = tmp_path_factory.mktemp('one')
    process = start(small_model, photos, '--output', folder, '--workers', '1', '--retries', '0')
    assert 'left out' in process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1
    return results(folder)


def test_one_worker_finds_what_the_segmenter_finds(
    photos: Path, small_model: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in expected.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    images = {line['file_name']: line for line in lines(tmp_path, 'images')}
    assert len(images) == IMAGES + 3 and list(images) == sorted(images)
    assert [line['id'] for line in images.values()] == list(range(1, IMAGES + 4))
    errors = {Path(name).name: line['error'] for name, line in images.items() if line['error']}
    assert set(errors) == {'small.png', 'broken.jpg'}
    assert lines(tmp_path, 'failed') == [line for line in images.values() if line['error']]
    assert 'expected at least' in errors['small.png'] and 'JPEG' in errors['broken.jpg']
    found = lines(tmp_path, 'coco')
    segmenter = Segmenter(
        model=str(small_model), refiner='none', confidence_threshold=0.3, num_threads=1
    )
    name = str(photos / 'below' / '03.png')
    instances = segmenter(cv2.imread(name))
    here = [row for row in found if row['file_name'] == name]
    assert len(here) == len(instances) == images[name]['instances'] > 0
    assert [row['category_name'] for row in here] == instances.class_names
    assert [row['category_id'] for row in here] == [i + 1 for i in instances.class_ids]
    assert [row['image_id'] for row in here] == [images[name]['id']] * len(here)
    # Small images: with OpenCV before 4.13 the last digits depend on the images before.
    scores = [row['score'] for row in here]
    np.testing.assert_allclose(scores, instances.scores, rtol=1e-3)


def test_a_lost_worker_and_a_killed_run_change_no_bit(
    photos: Path, small_model: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    arguments = (small_model, photos, '--output', tmp_path, '--workers', '4', '--retries', '0')
    process = start(*arguments)
    wait_for_a_shard(tmp_path)
    lost = children(process.pid)
    os.kill(lost[0], signal.SIGKILL)
    while lost[0] in children(process.pid):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert len(results(tmp_path)) < len(expected)
    # The workers end with their parent.
    deadline = time.monotonic() + LIMIT
    while any(Path(f'/proc/{pid}/cmdline').exists() for pid in lost[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process = start(*arguments)
    deadline = time.monotonic() + LIMIT
    while not children(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert 'again and again' not in process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1  # of the images that cannot be used
    assert results(tmp_path) == expected


def test_an_image_that_ends_its_worker_is_left_out(
    photos: Path, small_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('a.png', 'poison.png', 'z.png'):
        (folder / name).write_bytes((photos / '00.png').read_bytes())
    (tmp_path / 'sitecustomize.py').write_text(CRASH)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get('PYTHONPATH'))))
    options = ('--output', tmp_path / 'out', '--workers', '1')
    process = start(small_model, folder, *options, PYTHONPATH=path)
    assert 'poison.png' in process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1
    a, poison, z = lines(tmp_path / 'out', 'images')
    assert poison['error'] and not poison['instances']
    assert a['instances'] == z['instances'] > 0
    assert results(tmp_path / 'out').keys() == {
        'plan.json', 'coco/000000.jsonl', 'images/000000.jsonl', 'failed/000000.jsonl',
    }  # fmt: skip


def test_no_image_is_blamed_for_what_the_user_stops(
    photos: Path, small_model: Path, tmp_path: Path
) -> None:
    image, site = tmp_path / 'photos' / 'slow.png', tmp_path / 'sitecustomize.py'
    image.parent.mkdir()
    image.write_bytes((photos / '00.png').read_bytes())
    site.write_text(SLEEP)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get('PYTHONPATH'))))
    arguments = (small_model, image.parent, '--output', tmp_path / 'out', '--workers', '1')
    for _ in range(3):
        process = start(*arguments, PYTHONPATH=path)
        assert any('reads it' in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert 'goes on with the rest' in process.communicate(timeout=LIMIT)[0]
    site.unlink()
    process = start(*arguments, PYTHONPATH=path)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    (result,) = lines(tmp_path / 'out', 'images')
    assert not result['error'] and result['instances'] > 0


def test_a_repaired_image_is_taken_in_and_other_settings_are_refused(
    photos: Path, batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / 'later.png'
    names = tmp_path / 'names.txt'
    names.write_text(f'# a list\n{photos / "00.png"}\n\nlater.png\n')
    command = (names, '--output', tmp_path / 'out', '--retries', '0')
    assert batch(*command) == 1
    assert 'later.png' in capsys.readouterr().err
    image.write_bytes((photos / '00.png').read_bytes())
    assert batch(*command) == 1  # all is done, and one image is left out as before
    assert 'out/failed lists them; --retry-failed' in capsys.readouterr().err
    assert batch(*command, '--retry-failed') == 0
    assert batch(*command) == 0 and not list((tmp_path / 'out' / 'failed').iterdir())
    first, second = lines(tmp_path / 'out', 'images')
    assert first['instances'] == second['instances'] > 0

    assert batch(*command, '--nms-threshold', '0.9') == 2
    assert 'other settings' in capsys.readouterr().err
    assert batch(*command, '--nms-threshold', '0.9', '--overwrite') == 0


def test_bad_lines_of_a_list_are_left_out_and_the_others_done(
    photos: Path, batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = os.fsencode(photos / '00.png')
    strange = os.path.join(os.fsencode(photos), b'\xff\xfe.png')
    bad = [b'/nowhere/stra\xdfe.jpg', b'nul\0l.jpg', b'foo://x/y.jpg']
    names = tmp_path / 'names.txt'
    names.write_bytes(b'\n'.join([good, *bad, strange]) + b'\n')
    command = (names, '--output', tmp_path / 'out', '--retries', '0', '--workers', '1')
    assert batch(*command) == 1
    assert 'Traceback' not in capsys.readouterr().err
    done = {os.fsencode(row['file_name']): row for row in lines(tmp_path / 'out', 'images')}
    assert done[good]['instances'] == done[strange]['instances'] > 0
    failed = {os.fsencode(row['file_name']): row for row in lines(tmp_path / 'out', 'failed')}
    assert failed.keys() == {bad[0], os.fsencode(tmp_path / os.fsdecode(bad[1])), bad[2]}
    assert all(row['error'] for row in failed.values())
    assert 'no name that a file can have' in failed[os.fsencode(tmp_path) + b'/' + bad[1]]['error']
    assert 'foo://x/y.jpg: ' in failed[bad[2]]['error']


@pytest.mark.parametrize(('limit', 'name'), [(500, 'plan.json'), (5_000, 'coco/000000.jsonl')])
def test_a_file_that_does_not_fit_is_named(
    photos: Path, small_model: Path, tmp_path: Path, limit: int, name: str
) -> None:
    command = [sys.executable, '-m', 'instance_seg_ros', 'batch', photos / '00.png', *SETTINGS]
    command += ['--model', small_model, '--output', tmp_path / 'out', '--workers', '1']

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=False, preexec_fn=full
    )
    assert done.returncode == 2
    assert f'{tmp_path}/out/{name}: cannot be written (File too large)' in done.stderr
    assert 'Traceback' not in done.stderr
    assert subprocess.run(command, timeout=LIMIT, check=False).returncode == 0


def test_photos_in_the_folders_of_results_are_done_and_stay(
    photos: Path, batch: Callable[..., int], tmp_path: Path
) -> None:
    mine = {}
    for name in ('images/cat.png', 'images/000000.png', 'images/00000000000009.png'):
        mine[tmp_path / name] = (photos / '00.png').read_bytes()
    mine[tmp_path / 'coco' / 'notes.jsonl'] = b'mine'
    mine[tmp_path / 'attempts' / 'notes.txt'] = b'mine'
    mine[tmp_path / 'images' / '000099.jsonl'] = b''  # of no shard
    for path, content in mine.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    command = (tmp_path / 'images', '--output', tmp_path, '--workers', '1')
    assert batch(*command) == 2
    (tmp_path / 'images' / '000099.jsonl').rename(tmp_path / 'images' / '0000099.jsonl')
    mine[tmp_path / 'images' / '0000099.jsonl'] = mine.pop(tmp_path / 'images' / '000099.jsonl')

    assert batch(*command) == 0
    shards = [json.loads(line) for line in (tmp_path / 'images' / '000000.jsonl').open()]
    assert [Path(line['file_name']).name for line in shards] == [
        '000000.png', '00000000000009.png', 'cat.png',
    ]  # fmt: skip
    assert all(line['instances'] for line in shards)
    assert batch(*command, '--nms-threshold', '0.9', '--overwrite') == 0
    assert {path: path.read_bytes() for path in mine} == mine


@pytest.mark.parametrize('name', ['coco/000000.jsonl', 'attempts/000007.json', 'plan.json'])
def test_files_that_are_named_as_results_are_not_replaced_unasked(
    photos: Path,
    batch: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    mine = tmp_path / 'out' / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text('[]')
    command = (photos / '00.png', '--output', tmp_path / 'out', '--workers', '1')
    assert batch(*command) == 2
    assert re.search(f'{name}: .*--overwrite', capsys.readouterr().err)
    assert mine.read_text() == '[]' and list(results(tmp_path / 'out')) == [name]

    # What the run reads stays in any case.
    mine.write_bytes((photos / '00.png').read_bytes())
    assert batch(mine, *command, '--overwrite') == 2
    assert f'{name}: is read by this command' in capsys.readouterr().err
    assert mine.read_bytes() == (photos / '00.png').read_bytes()

    assert batch(*command, '--overwrite') == 0
    assert lines(tmp_path / 'out', 'coco')
    assert not (tmp_path / 'out' / 'attempts' / '000007.json').exists()


@pytest.mark.parametrize('plan', ['[]', '7', '{"name": "mine"}', 'no JSON', '[' * 100_000])
def test_a_file_that_is_no_plan_is_named(
    photos: Path,
    batch: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plan: str,
) -> None:
    (tmp_path / 'plan.json').write_text(plan)
    assert batch(photos / '00.png', '--output', tmp_path) == 2
    assert f'{tmp_path}/plan.json: is no plan of a run. Give' in capsys.readouterr().err
    assert (tmp_path / 'plan.json').read_text() == plan


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['nothing'], 'no image is there'),
        (['.', '--ray-address', 'auto'], '--scheduler ray alone'),
        (['names.txt', '--model', 'none'], 'none'),
        (['names.txt', '--classes', 'unicorn'], 'unicorn'),
        (['names.txt', '--output', 'names.txt'], 'cannot be written to'),
    ],
)
def test_bad_input_is_said_in_one_line(
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'names.txt').write_text('a.png\n')
    handler = signal.getsignal(signal.SIGTERM)
    model = ['--model', str(small_model), '--output', 'out', *SETTINGS]
    try:
        assert main(['batch', *model, *arguments]) == 2
    finally:
        signal.signal(signal.SIGTERM, handler)
    error = capsys.readouterr().err
    assert expected in error and 'Traceback' not in error


@pytest.mark.skipif(importlib.util.find_spec('s3fs') is not None, reason='s3fs is installed')
def test_a_package_for_a_storage_that_is_missing_ends_the_run(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / 'names.txt'
    names.write_text('s3://bucket/a.jpg\ns3://bucket/b.jpg\n')
    for _ in range(4):  # nor does an image get the blame
        assert batch(names, '--output', tmp_path / 'out') == 2
        assert 's3fs' in capsys.readouterr().err
    assert not list((tmp_path / 'out').rglob('*.jsonl'))  # nothing counts as done


def test_addresses_are_read_and_written(
    photos: Path, batch: Callable[..., int], tmp_path: Path
) -> None:
    pytest.importorskip('fsspec', reason='it reads addresses')
    source = (photos / 'below').as_uri()
    assert batch(source, '--output', (tmp_path / 'out').as_uri(), '--workers', '1') == 0
    images = lines(tmp_path / 'out', 'images')
    assert len(images) == IMAGES // 2 and all(line['instances'] for line in images)
    assert images[0]['file_name'] == f'{source}/01.png'
    assert batch(source, '--output', (tmp_path / 'out').as_uri()) == 0


def test_a_table_has_what_the_lines_have(
    photos: Path, batch: Callable[..., int], tmp_path: Path
) -> None:
    parquet = pytest.importorskip('pyarrow.parquet', reason='it writes Parquet')
    options = ('--output', tmp_path, '--workers', '1', '--formats', 'parquet,coco')
    assert batch(photos / 'below', *options) == 0
    table = parquet.read_table(tmp_path / 'instances').to_pylist()
    rows = lines(tmp_path, 'coco')
    assert len(table) == len(rows) > 0
    for row, line in zip(table, rows, strict=True):
        assert row['image'] == line['file_name'] and row['score'] == line['score']
        assert [row['x1'], row['y1']] == line['bbox'][:2]
        assert row['mask_rle'].decode() == line['segmentation']['counts']


def test_ray_changes_no_bit(
    photos: Path, batch: Callable[..., int], expected: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip('ray.data', reason='needs Ray: pip install "instance_seg_ros[batch]"')
    options = ('--scheduler', 'ray', '--workers', '2', '--retries', '0')
    assert batch(photos, '--output', tmp_path, *options) == 1
    assert results(tmp_path) == expected


def write_bag(folder: Path, photo: np.ndarray, images: Sequence[tuple[int, int]]) -> Path:
    """Write a bag of images, each with a width and a time in nanoseconds."""
    pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kind = 'sensor_msgs/msg/CompressedImage'
    stamp = store.types['builtin_interfaces/msg/Time'](1, 2)
    header = store.types['std_msgs/msg/Header'](stamp, 'camera')
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/camera/compressed', kind, typestore=store)
        for width, timestamp in images:
            data = cv2.imencode('.png', cv2.resize(photo, (width, 200)))[1].reshape(-1)
            message = store.types[kind](header, 'png', data)
            writer.write(connection, timestamp, store.serialize_cdr(message, kind))
    return folder


def test_a_bag_that_changes_during_a_run_costs_only_its_own_images(
    photo: np.ndarray, tmp_path: Path
) -> None:
    bags = [
        write_bag(tmp_path / name, photo, [(240, 10), (248, 20)])
        for name in ('cut', 'gone', 'whole')
    ]
    items = list_items(map(str, bags), None)
    for bag in bags[:2]:
        shutil.rmtree(bag)
    write_bag(tmp_path / 'cut', photo, [(240, 10)])
    reader = ItemReader()
    widths = []
    for item in items:
        try:
            widths.append(reader.read(item).shape[1])
        except ImageError as error:
            assert str(error).startswith(item.name)
    assert widths == [240, 240, 248]


def test_the_images_of_a_bag_are_taken_each_once(
    photo: np.ndarray, batch: Callable[..., int], tmp_path: Path
) -> None:
    widths = (240, 248, 256)
    # Two images were recorded in the same nanosecond.
    write_bag(tmp_path / 'bag', photo, list(zip(widths, (10, 20, 20), strict=True)))
    options = ('--output', tmp_path / 'out', '--workers', '1')
    assert batch(tmp_path / 'bag', *options) == 0
    images = lines(tmp_path / 'out', 'images')
    assert [line['width'] for line in images] == list(widths)
    assert images[1]['file_name'] == f'{tmp_path}/bag/camera/compressed@00000000000000000020.0'
    assert all(line['instances'] for line in images)
