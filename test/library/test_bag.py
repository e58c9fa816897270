# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Bags in, bags out, by the command line, read by rosbags: no ROS anywhere."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import run_main

from instance_seg_ros import Instances, Segmenter, draw_instances

pytest.importorskip('rosbags.rosbag2', reason='it reads and writes bags')
pytest.importorskip('rosbags.image', reason='it converts the pixels of messages')

from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from instance_seg_ros.run_lengths import mask_from_rle_counts

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ('--model', 'person_mask_rcnn', '--refiner', 'none')
TOPIC = '/camera/image_raw'
DETECTIONS = '/instance_seg/detections'
MASKS = '/instance_seg/instance_masks'
DEBUG_IMAGE = '/instance_seg/debug_image'
DEBUG_JPEG = '/instance_seg/debug_image/compressed'
BEGIN, STEP = 1_700_000_000_000_000_000, 100_000_000  # nanoseconds
FRAMES = 5

ROS2 = get_typestore(Stores.ROS2_JAZZY)
ROS1 = get_typestore(Stores.ROS1_NOETIC)


@dataclass
class Entry:
    """A message that was read."""

    timestamp: int
    message: Any


@pytest.fixture(scope='module')
def images() -> list[np.ndarray]:
    photo = cv2.resize(cv2.imread(str(REPOSITORY / 'demo/photos/astronaut.jpg')), (240, 240))
    return [np.roll(photo, 5 * shift, axis=1) for shift in range(FRAMES)]


@pytest.fixture(scope='module')
def expected(images: list[np.ndarray]) -> list[Instances]:
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none')
    found = [segmenter(image) for image in images]
    assert all(len(instances) for instances in found)
    return found


def header(store: Any, number: int) -> Any:
    """Return a header whose stamp is not the time of recording."""
    stamp = store.types['builtin_interfaces/msg/Time'](500 + number, 1000 + number)
    fields = (number, stamp) if store is ROS1 else (stamp,)
    return store.types['std_msgs/msg/Header'](*fields, 'camera')


def image_message(store: Any, number: int, image: np.ndarray, encoding: str = 'bgr8') -> Any:
    height, width = image.shape[:2]
    return store.types['sensor_msgs/msg/Image'](
        header(store, number), height, width, encoding, 0, 3 * width, image.reshape(-1)
    )


def png_message(store: Any, number: int, image: np.ndarray) -> Any:
    data = cv2.imencode('.png', image)[1].reshape(-1)
    return store.types['sensor_msgs/msg/CompressedImage'](header(store, number), 'png', data)


def write_bag(
    path: Path,
    messages: list[Any],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    begin: int = BEGIN,
    kind: str = 'sensor_msgs/msg/Image',
) -> Path:
    writer = Writer(path, version=8, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    text = 'std_msgs/msg/String'
    with writer:
        camera = writer.add_connection(TOPIC, kind, typestore=ROS2)
        chatter = writer.add_connection('/chatter', text, typestore=ROS2)
        for number, message in enumerate(messages):
            time_of = begin + STEP * number
            writer.write(camera, time_of, bytes(ROS2.serialize_cdr(message, kind)))
            said = ROS2.types[text](f'after {number}')
            writer.write(chatter, time_of + STEP // 2, bytes(ROS2.serialize_cdr(said, text)))
    return path


def raw_bag(path: Path, images: list[np.ndarray], **options: Any) -> Path:
    messages = [image_message(ROS2, number, image) for number, image in enumerate(images)]
    return write_bag(path, messages, **options)


def command(*arguments: object) -> list[str]:
    return [sys.executable, '-m', 'instance_seg_ros', 'bag', *map(str, arguments), *SETTINGS]


def run(*arguments: object, code: int = 0) -> str:
    done = run_main('bag', *arguments, *SETTINGS)
    assert 'Traceback' not in done.stderr
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def read(path: Path) -> dict[str, list[Entry]]:
    """Return the messages of each topic; the types are those that the bag itself defines."""
    found: dict[str, list[Entry]] = {}
    with AnyReader([path]) as reader:
        for connection, timestamp, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append(Entry(timestamp, message))
    return found


def stamps(entries: list[Entry]) -> list[tuple[int, int]]:
    found = [entry.message.header.stamp for entry in entries]
    return [(stamp.sec, stamp.nanosec) for stamp in found]


def check_results(
    topics: dict[str, list[Entry]], expected: list[Instances], numbers: list[int] | None = None
) -> None:
    """Compare a bag's detections and masks with what the library finds in the same images."""
    numbers = list(range(len(expected))) if numbers is None else numbers
    for topic in (DETECTIONS, MASKS):
        assert stamps(topics[topic]) == [(500 + n, 1000 + n) for n in numbers]
        assert [entry.timestamp for entry in topics[topic]] == [BEGIN + STEP * n for n in numbers]
    for number, boxes, masks in zip(numbers, topics[DETECTIONS], topics[MASKS], strict=True):
        check_boxes(boxes.message.detections, expected[number])
        check_masks(masks.message, expected[number])


def check_boxes(detections: list[Any], instances: Instances) -> None:
    assert len(detections) == len(instances)
    for detection, box, score in zip(detections, instances.boxes, instances.scores, strict=True):
        x, y = detection.bbox.center.position.x, detection.bbox.center.position.y
        width, height = detection.bbox.size_x, detection.bbox.size_y
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        np.testing.assert_allclose(corners, box, rtol=1e-6)
        (result,) = detection.results
        assert (result.hypothesis.class_id, result.hypothesis.score) == ('0', float(score))
        assert detection.header.frame_id == 'camera'


def check_masks(message: Any, instances: Instances) -> None:
    assert (message.image_height, message.image_width) == instances.image_size
    assert len(message.masks) == len(instances)
    for index, mask in enumerate(message.masks):
        roi = mask.roi
        assert [roi.x_offset, roi.y_offset, roi.width, roi.height] == instances.rois[index].tolist()
        if mask.encoding == mask.RLE_CROP:
            pixels = mask_from_rle_counts(mask.rle_counts, roi.height, roi.width)
        else:
            pixels = mask.mask.data.reshape(roi.height, roi.width) // 255
        np.testing.assert_array_equal(pixels, instances.masks[index])
        assert (mask.class_name, mask.detection_index) == ('person', index)


# ---- what is read
@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_every_frame_of_a_rosbag2_bag_is_segmented_once(
    storage: StoragePlugin, tmp_path: Path, images: list, expected: list
) -> None:
    source = raw_bag(tmp_path / 'in', images, storage=storage)
    said = run(source, tmp_path / 'out')
    assert f'5 frames of {TOPIC}' in said
    topics = read(tmp_path / 'out')
    assert set(topics) == {DETECTIONS, MASKS, DEBUG_JPEG}
    check_results(topics, expected)


@pytest.mark.parametrize('debug', ['compressed', 'raw'])
def test_the_readers_of_foxglove_decode_every_topic_by_the_bags_own_definitions(
    debug: str, tmp_path: Path, images: list, expected: list
) -> None:
    decoder = pytest.importorskip('mcap_ros2.decoder', reason='pip install mcap-ros2-support')
    from mcap.reader import make_reader

    source = raw_bag(tmp_path / 'in', images[:2])
    run(source, tmp_path / 'out', '--keep-input', '--debug-image', debug)
    topics: dict[str, list[Entry]] = {}
    with (tmp_path / 'out' / 'out.mcap').open('rb') as file:
        reader = make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        for _, channel, stored, message in reader.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append(Entry(stored.log_time, message))
    drawn = DEBUG_IMAGE if debug == 'raw' else DEBUG_JPEG
    assert set(topics) == {TOPIC, '/chatter', DETECTIONS, MASKS, drawn}
    assert [entry.message.data for entry in topics['/chatter']] == ['after 0', 'after 1']
    check_boxes(topics[DETECTIONS][1].message.detections, expected[1])
    for array, instances in zip(topics[MASKS], expected, strict=False):
        assert [mask.class_name for mask in array.message.masks] == instances.class_names
        for mask, truth in zip(array.message.masks, instances.masks or [], strict=True):
            pixels = mask_from_rle_counts(mask.rle_counts, mask.roi.height, mask.roi.width)
            np.testing.assert_array_equal(pixels, truth)
    assert stamps(topics[drawn]) == stamps(topics[TOPIC])


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags(
    mode: CompressionMode, tmp_path: Path, images: list, expected: list
) -> None:
    source = raw_bag(tmp_path / 'in', images, storage=StoragePlugin.SQLITE3, compression=mode)
    run(source, tmp_path / 'out')
    check_results(read(tmp_path / 'out'), expected)


def test_a_single_mcap_file_with_compressed_images(
    tmp_path: Path, images: list, expected: list
) -> None:
    messages = [png_message(ROS2, number, image) for number, image in enumerate(images)]
    kind = 'sensor_msgs/msg/CompressedImage'
    source = write_bag(tmp_path / 'in', messages, kind=kind) / 'in.mcap'
    run(source, tmp_path / 'out', '--topic', TOPIC)
    check_results(read(tmp_path / 'out'), expected)


def test_a_bag_in_parts(tmp_path: Path, images: list, expected: list) -> None:
    source = split_bag(tmp_path, images)
    run(source, tmp_path / 'out', '--storage', 'sqlite3')
    check_results(read(tmp_path / 'out'), expected)


def split_bag(folder: Path, images: list[np.ndarray]) -> Path:
    """Write a bag of two files, as ros2 bag record --max-bag-size does."""
    import yaml

    messages = [image_message(ROS2, number, image) for number, image in enumerate(images)]
    source = write_bag(folder / 'in', messages[:2])
    rest = write_bag(folder / 'rest', messages[2:], begin=BEGIN + 2 * STEP)
    (rest / 'rest.mcap').rename(source / 'rest.mcap')
    whole, part = (
        yaml.safe_load((each / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
        for each in (source, rest)
    )
    whole['relative_file_paths'] += part['relative_file_paths']
    whole['files'] += part['files']
    whole['message_count'] += part['message_count']
    whole['duration']['nanoseconds'] = STEP * len(images)
    for mine, other in zip(
        whole['topics_with_message_count'], part['topics_with_message_count'], strict=True
    ):
        mine['message_count'] += other['message_count']
    text = yaml.safe_dump({'rosbag2_bagfile_information': whole})
    (source / 'metadata.yaml').write_text(text)
    return source


def test_a_ros_1_bag_with_its_messages(tmp_path: Path, images: list, expected: list) -> None:
    source = ros1_bag(tmp_path / 'in.bag', images)
    run(source, tmp_path / 'out', '--topic', TOPIC, '--keep-input')
    topics = read(tmp_path / 'out')
    check_results(topics, expected)
    # The input is there with the types of ROS 2, whose fields have other names.
    assert stamps(topics[TOPIC]) == stamps(topics[MASKS])
    kept = [entry.message.data.reshape(240, 240, 3) for entry in topics[TOPIC]]
    np.testing.assert_array_equal(kept, images)
    (info,) = topics['/camera/camera_info']
    assert info.message.k[0] == 7.5
    (odd,) = topics['/odd']
    assert odd.message.value == 11
    # A latched message from before --start is still needed.
    run(source, tmp_path / 'part', '--topic', TOPIC, '--keep-input', '--start', 0.25)
    part = read(tmp_path / 'part')
    check_results(part, expected, [3, 4])
    assert '/odd' not in part
    (info,) = part['/camera/camera_info']
    assert (info.message.k[0], info.timestamp) == (7.5, BEGIN + 5 * STEP // 2)


def ros1_bag(path: Path, images: list[np.ndarray]) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg('int32 value\n', 'my_robot/msg/Odd'))
    kinds = {
        TOPIC: 'sensor_msgs/msg/Image',
        '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
        '/odd': 'my_robot/msg/Odd',
    }
    types = store.types
    roi = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    numbers = np.full(9, 7.5)
    info = types[kinds['/camera/camera_info']](
        header(ROS1, 0),
        240,
        240,
        'plumb_bob',
        np.zeros(5),
        numbers,
        numbers,
        np.zeros(12),
        0,
        0,
        roi,
    )
    with Writer1(path) as writer:
        connections = {
            topic: writer.add_connection(
                topic, kind, typestore=store, latching=int(topic == '/camera/camera_info')
            )
            for topic, kind in kinds.items()
        }

        def write(topic: str, number: int, message: Any) -> None:
            data = bytes(store.serialize_ros1(message, kinds[topic]))
            writer.write(connections[topic], BEGIN + STEP * number, data)

        write('/camera/camera_info', 0, info)
        write('/odd', 1, types['my_robot/msg/Odd'](11))
        for number, image in enumerate(images):
            write(TOPIC, number, image_message(ROS1, number, image))
    return path


def test_what_is_missing_is_said(tmp_path: Path, images: list) -> None:
    source = raw_bag(tmp_path / 'in', images[:1])
    (tmp_path / 'rosbags.py').write_text("raise ImportError('there is no rosbags')")
    done = subprocess.run(
        command(source, tmp_path / 'out'),
        env=os.environ
        | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert 'pip install "rosbags<0.12" rosbags-image' in done.stderr, done.stderr


# ---- what is written
def test_the_input_is_kept_in_the_order_of_time(
    tmp_path: Path, images: list, expected: list
) -> None:
    source = raw_bag(tmp_path / 'in', images)
    run(source, tmp_path / 'out', '--keep-input', '--debug-image', 'raw')
    topics = read(tmp_path / 'out')
    check_results(topics, expected)
    given = read(source)
    for topic in (TOPIC, '/chatter'):
        assert [entry.timestamp for entry in topics[topic]] == [e.timestamp for e in given[topic]]
    assert [entry.message.data for entry in topics['/chatter']] == [
        f'after {number}' for number in range(FRAMES)
    ]
    for image, instances, entry in zip(images, expected, topics[DEBUG_IMAGE], strict=True):
        shown = entry.message.data.reshape(image.shape)
        np.testing.assert_array_equal(shown, draw_instances(image, instances))
    with AnyReader([tmp_path / 'out']) as reader:
        times = [timestamp for _, timestamp, _ in reader.messages()]
    assert times == sorted(times)


def test_masks_as_crops_under_another_name_without_pictures(
    tmp_path: Path, images: list, expected: list
) -> None:
    source = raw_bag(tmp_path / 'in', images)
    options = ('--mask-encoding', 'mono8', '--debug-image', 'none', '--name', '/front/seg')
    run(source, tmp_path / 'out', *options)
    topics = read(tmp_path / 'out')
    assert set(topics) == {'/front/seg/detections', '/front/seg/instance_masks'}
    for entry, instances in zip(topics['/front/seg/instance_masks'], expected, strict=True):
        assert all(mask.encoding == mask.MONO8_CROP for mask in entry.message.masks)
        check_masks(entry.message, instances)


def test_the_types_are_those_that_ros_is_built_with(tmp_path: Path, images: list) -> None:
    run(raw_bag(tmp_path / 'in', images[:1]), tmp_path / 'out')
    store = get_typestore(Stores.ROS2_JAZZY)
    for package in ('ros_overlay/vision_msgs', '.'):
        name = 'instance_seg_ros' if package == '.' else 'vision_msgs'
        types: dict[str, Any] = {}
        for path in sorted((REPOSITORY / package / 'msg').glob('*.msg')):
            types |= get_types_from_msg(path.read_text(), f'{name}/msg/{path.stem}')
        store.register(types)
    with AnyReader([tmp_path / 'out']) as reader:
        for connection in reader.connections:
            assert connection.digest == store.hash_rihs01(connection.msgtype)


# ---- parts of a bag
@pytest.mark.parametrize(
    ('options', 'numbers'),
    [
        (('--every', 2), [0, 2, 4]),
        (('--start', 0.15), [2, 3, 4]),
        (('--start', 0.1, '--duration', 0.2), [1, 2]),
        (('--start', 0.1, '--every', 3), [1, 4]),
    ],
)
def test_a_part_of_the_bag(
    options: tuple, numbers: list[int], tmp_path: Path, images: list, expected: list
) -> None:
    run(raw_bag(tmp_path / 'in', images), tmp_path / 'out', *options)
    check_results(read(tmp_path / 'out'), expected, numbers)


# ---- what cannot be used
def test_a_bad_frame_is_skipped_and_named(tmp_path: Path, images: list, expected: list) -> None:
    messages = [image_message(ROS2, number, image) for number, image in enumerate(images)]
    messages[1].data = messages[1].data[:-7]
    messages[4].encoding = 'weird'
    said = run(write_bag(tmp_path / 'in', messages), tmp_path / 'out', code=1)
    assert 'stamp 501.000001001: the image has 172793 bytes' in said
    assert "stamp 504.000001004: encoding 'weird' is not supported" in said
    check_results(read(tmp_path / 'out'), expected, [0, 2, 3])


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (('--topic', '/nowhere'), ['has no topic /nowhere', f'{TOPIC}  sensor_msgs/msg/Image']),
        (('--topic', '/chatter'), ['/chatter is std_msgs/msg/String: expected', TOPIC]),
        (('--start', '60'), ['--start 60', 's long']),
    ],
)
def test_a_topic_or_time_that_is_not_there(
    options: tuple, named: list[str], tmp_path: Path, images: list
) -> None:
    said = run(raw_bag(tmp_path / 'in', images[:1]), tmp_path / 'out', *options, code=2)
    assert all(text in said for text in named), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in']


def test_what_is_no_bag(tmp_path: Path, images: list) -> None:
    source = raw_bag(tmp_path / 'in', images)
    file = source / 'in.mcap'
    file.write_bytes(file.read_bytes()[:-100])
    assert f'{source}: cannot be read as a bag' in run(source, tmp_path / 'out', code=2)
    (source / 'metadata.yaml').unlink()
    assert 'has no metadata.yaml' in run(source, tmp_path / 'out', code=2)
    file.unlink()
    assert 'is no bag' in run(source, tmp_path / 'out', code=2)
    assert 'no such file or folder' in run(tmp_path / 'x', tmp_path / 'out', code=2)
    assert not (tmp_path / 'out').exists()


# ---- nothing is lost
def test_nothing_is_overwritten_but_a_bag_by_overwrite(
    tmp_path: Path, images: list, expected: list
) -> None:
    source, out = raw_bag(tmp_path / 'in', images), tmp_path / 'out'
    before = (source / 'in.mcap').read_bytes()
    assert 'is read by this command' in run(source, source, '--overwrite', code=2)
    assert 'is read by this command' in run(source, tmp_path, '--overwrite', code=2)
    assert 'would be inside' in run(source, source / 'out', code=2)
    assert 'without .mcap' in run(source, tmp_path / 'out.mcap', code=2)
    out.mkdir()
    (out / 'notes.txt').write_text('mine')
    assert 'out: exists' in run(source, out, code=2)
    assert 'is no rosbag2 bag' in run(source, out, '--overwrite', code=2)
    assert (out / 'notes.txt').read_text() == 'mine'
    (out / 'notes.txt').unlink()
    out.rmdir()
    raw_bag(out, images[:1])
    assert 'out: exists' in run(source, out, code=2)
    run(source, out, '--overwrite')
    check_results(read(out), expected)
    assert (source / 'in.mcap').read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


def test_a_killed_run_leaves_nothing_and_the_next_goes_on(
    tmp_path: Path, images: list, expected: list
) -> None:
    source, out = raw_bag(tmp_path / 'in', images * 16), tmp_path / 'out'
    process = subprocess.Popen(
        command(source, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journal = tmp_path / '.instance-seg-out.unfinished' / 'journal.sqlite-wal'
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < 100_000:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    said = run(source, out)
    assert 'were done before this command was ended' in said
    topics = read(out)
    assert len(topics[DETECTIONS]) == len(topics[MASKS]) == 16 * FRAMES
    check_results(topics, expected * 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


def test_two_runs_do_not_write_one_bag(tmp_path: Path, images: list) -> None:
    journal = tmp_path / '.instance-seg-out.unfinished' / 'journal.sqlite'
    journal.parent.mkdir()
    other = sqlite3.connect(journal)
    other.execute('BEGIN EXCLUSIVE')
    said = run(raw_bag(tmp_path / 'in', images[:1]), tmp_path / 'out', code=2)
    assert 'another run is writing the same bag' in said
    other.close()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_full_disk(storage: str, tmp_path: Path, images: list) -> None:
    noise = np.random.default_rng(1).integers(0, 256, images[0].shape, np.uint8)
    source = raw_bag(tmp_path / 'in', [noise] * 3)
    # No file may be larger: the journal fits, the bag with the input's messages does not.
    limit = 400_000
    done = subprocess.run(
        command(source, tmp_path / 'out', '--keep-input', '--storage', storage),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr, done.stderr
    assert 'cannot be written' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_other_settings_are_another_run(tmp_path: Path, images: list, expected: list) -> None:
    source, out = raw_bag(tmp_path / 'in', images), tmp_path / 'out'
    # Ended when all frames are done, before the bag is there: its place was taken meanwhile.
    broken = tmp_path / '.instance-seg-out.unfinished' / 'bag'
    broken.parent.mkdir()
    broken.write_text('in the way')
    assert 'cannot be written' in run(source, out, '--every', 2, code=2)
    broken.unlink()
    said = run(source, out)
    assert 'were done before' not in said
    check_results(read(out), expected)
