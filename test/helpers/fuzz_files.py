# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Damaged and hostile files of every kind that the package reads, each the same for its number.

    tools/run python test/helpers/fuzz_files.py image 1234 --keep case.bin

prints what becomes of one file; fuzz_children.py reads each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import image_files
import numpy as np

REPOSITORY = Path(__file__).parents[2]
MODELS = REPOSITORY / 'models'
NUMBERS = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
TOKENS = (
    '{', '}', '[', ']', '"', "'", ':', '\n', '\0', '\ufeff', '\x1b[31m', '# ', '- ', '&a', '*a',
    '!!python/object:x ', 'node {\n', 'item { id: 1 name: "x" }\n', 'nan', '.inf', '1e999', '~',
    '-1', '0', '2147483648', '9' * 30, '9' * 5000, 'x' * 300, '\u0000', '💥', '../../etc/passwd',
    '/dev/zero', 'name: ', 'attr { key: "k" value { i: 1 } }\n', '1:1:1', '2001-99-99', '? ',
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the file; others of its folder are whole.
        bases: whole files, or text, to start from.
        read: reads a file as the package does.
        expected: the errors that may end it; any other is a finding.
        share: of all cases.
    """

    name: str
    bases: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    expected: Callable[[], tuple[type[Exception], ...]]
    share: int
    is_text: bool = False
    names_file: bool = True


# ---- how each kind is read
def _model_error() -> tuple[type[Exception], ...]:
    from instance_seg_ros import ModelError

    return (ModelError,)


def _image_error() -> tuple[type[Exception], ...]:
    from instance_seg_ros import ImageError

    return (ImageError,)


def _bag_errors() -> tuple[type[Exception], ...]:
    from instance_seg_ros.bags.errors import BagError

    return (BagError, *_image_error())


def _read_image(path: Path) -> object:
    from instance_seg_ros.images import read_image

    return read_image(path)


def _read_manifest(path: Path) -> object:
    from instance_seg_ros import find_model

    return find_model(str(path))


def _read_text_graph(path: Path) -> object:
    from instance_seg_ros.detection.text_graph import read_text_graph, split

    return split(read_text_graph(path), path)


def _read_weights(path: Path) -> object:
    from instance_seg_ros.detection.net_loader import NetLoader

    return NetLoader(path, path.parent / 'person_mask_rcnn.pbtxt').nodes


def _convert(path: Path) -> object:
    from instance_seg_ros.detection.onnx_convert import convert

    return convert(path.parent / 'person_mask_rcnn.pb', path)


def _load_model(path: Path) -> object:
    """Go the whole way: the trial in a process of its own, then the networks."""
    from instance_seg_ros import load_model

    return load_model(path.parent / 'person_mask_rcnn.pb', path.parent / 'person_mask_rcnn.pbtxt')


def _load_refiner(path: Path) -> object:
    from instance_seg_ros.refinement.loader import load_refiner

    return load_refiner(str(path))


def _read_labels(path: Path) -> object:
    from instance_seg_ros.class_names import read_class_names

    return read_class_names(path, 3)


def _read_bag(path: Path) -> object:
    from rosbags.typesys import Stores, get_typestore

    from instance_seg_ros.bags.messages import to_bgr8
    from instance_seg_ros.bags.reader import BagReader
    from instance_seg_ros.errors import ImageError

    with BagReader(path, get_typestore(Stores.ROS2_JAZZY)) as bag:
        topic = bag.image_topic(None)
        for found in bag.images(topic, bag.window(0, None), 1):
            try:
                to_bgr8(found.message, found.message_type)
            except ImageError:  # a damaged image is left out
                continue
    return topic


def _read_bag_folder(path: Path) -> object:
    return _read_bag(path.parent)


# ---- whole files to start from
def _images() -> list[bytes]:
    deep = image_files.photo().astype(np.uint16) * 257
    return [
        image_files.encoded('.jpg'),
        image_files.saved('JPEG', progressive=True),
        image_files.saved('JPEG', 'L'),
        image_files.saved('JPEG', 'CMYK'),
        image_files.encoded('.png'),
        image_files.encoded('.png', deep),
        image_files.saved('PNG', 'P'),
        image_files.saved('PNG', '1'),
        image_files.saved('PNG', 'LA'),
        image_files.animated('PNG'),
        image_files.encoded('.webp'),
        image_files.saved('WEBP', 'RGBA', lossless=True),
        image_files.animated('WEBP'),
        image_files.encoded('.bmp'),
        image_files.saved('BMP', 'P'),
        image_files.encoded('.tiff'),
        image_files.encoded('.tiff', deep),
        image_files.saved('TIFF', compression='tiff_lzw'),
        image_files.saved('TIFF', compression='tiff_adobe_deflate'),
        image_files.saved('TIFF', compression='packbits'),
        image_files.saved('TIFF', 'P'),
        image_files.JPEG_2000,
        b'GIF89a' + bytes(40),
        b'\x76\x2f\x31\x01' + bytes(60),
    ]


def _file(name: str) -> Callable[[], list[bytes]]:
    return lambda: [(MODELS / name).read_bytes()]


def _labels() -> list[bytes]:
    return [
        b'cup\nfork\nplate\n',
        b'cup\n-\n\n',
        b"item { id: 1 name: 'cup' }\nitem { id: 2 name: 'fork' display_name: \"f\" }\n",
        (MODELS / 'coco_labels.txt').read_bytes(),
    ]


def _refiners() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        import tiny_refiners

        path = Path(folder, 'tiny.onnx')
        traits = {'context': '0.3', 'passes': '64,128', 'threshold': '0.5'}
        tiny_refiners.unchanged(path, metadata=traits)
        first = path.read_bytes()
        tiny_refiners.red_things(path)
        return [first, path.read_bytes()]


def _bag(storage: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        folder = _written_bag(storage)
        return [next(folder.glob(f'*.{storage}')).read_bytes()]

    return make


def _metadata() -> list[bytes]:
    return [(_written_bag('mcap') / 'metadata.yaml').read_bytes()]


@cache
def _written_bag(storage: str) -> Path:
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    path = Path(tempfile.mkdtemp(), 'bag')
    store = get_typestore(Stores.ROS1_NOETIC if storage == 'bag' else Stores.ROS2_JAZZY)
    types, kind = store.types, 'sensor_msgs/msg/Image'
    pixels = cv2.resize(image_files.photo(), (40, 40)).reshape(-1)
    if storage == 'bag':
        path.mkdir()
        writer: Any = Writer1(path / 'bag.bag')
    else:
        writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper().replace(
            'DB3', 'SQLITE3')])  # fmt: skip
    with writer:
        camera = writer.add_connection('/image', kind, typestore=store)
        for number in range(3):
            stamp = types['builtin_interfaces/msg/Time'](number, 0)
            fields = (number, stamp) if storage == 'bag' else (stamp,)
            header = types['std_msgs/msg/Header'](*fields, 'camera')
            message = types[kind](header, 40, 40, 'bgr8', 0, 120, pixels)
            data = (store.serialize_ros1 if storage == 'bag' else store.serialize_cdr)(
                message, kind
            )
            writer.write(camera, number * 10**8, bytes(data))
    return path


BESIDE = {
    'person_mask_rcnn.pb': _file('person_mask_rcnn.pb'),
    'person_mask_rcnn.pbtxt': _file('person_mask_rcnn.pbtxt'),
    'person_labels.txt': _file('person_labels.txt'),  # of the manifest
    'person_mask_rcnn_labels.txt': _file('person_labels.txt'),  # of files without one
}
PB, PBTXT = 'person_mask_rcnn.pb', 'person_mask_rcnn.pbtxt'
KINDS = {
    'image': Kind('case.jpg', _images, _read_image, _image_error, 400),
    'manifest': Kind(
        'person_mask_rcnn.yaml', _file('person_mask_rcnn.yaml'), _read_manifest, _model_error,
        120, is_text=True,
    ),
    'text graph': Kind(PBTXT, _file(PBTXT), _read_text_graph, _model_error, 100, is_text=True),
    'labels': Kind('labels.txt', _labels, _read_labels, _model_error, 120, is_text=True),
    'weights': Kind(PB, _file(PB), _read_weights, _model_error, 80),
    'conversion': Kind(PBTXT, _file(PBTXT), _convert, _model_error, 40, is_text=True),
    'model': Kind(PB, _file(PB), _load_model, _model_error, 4),
    'graph of a model': Kind(PBTXT, _file(PBTXT), _load_model, _model_error, 4, is_text=True),
    'refiner': Kind('case.onnx', _refiners, _load_refiner, _model_error, 8),
    'mcap': Kind('case.mcap', _bag('mcap'), _read_bag, _bag_errors, 40),
    'db3': Kind('case.db3', _bag('db3'), _read_bag, _bag_errors, 30),
    'bag': Kind('case.bag', _bag('bag'), _read_bag, _bag_errors, 30),
    'metadata.yaml': Kind(
        'metadata.yaml', _metadata, _read_bag_folder, _bag_errors, 24,
        is_text=True, names_file=False,
    ),
}  # fmt: skip


# ---- cases
def write_case(kind: str, number: int, folder: Path) -> Path:
    """Write the case of a number into an empty folder, with what belongs beside it."""
    about = KINDS[kind]
    choose = random.Random(f'{kind} {number}')
    base = choose.choice(_bases(kind))
    damage = _damaged_text if about.is_text and choose.random() < 0.7 else _damaged_bytes
    content = damage(base, choose)
    if base.startswith(b'\x89PNG') and choose.random() < 0.5:
        content = image_files.with_right_checks(content)
    if about.name.startswith('person_mask_rcnn'):
        for name, bases in BESIDE.items():
            (folder / name).write_bytes(bases()[0])
    if about.name == 'metadata.yaml':
        bag = next(_written_bag('mcap').glob('*.mcap'))
        (folder / bag.name).write_bytes(bag.read_bytes())
    path = folder / about.name
    path.write_bytes(content)
    return path


@cache
def _bases(kind: str) -> list[bytes]:
    return KINDS[kind].bases()


def _damaged_bytes(base: bytes, choose: random.Random) -> bytes:
    data = bytearray(base)
    # Damage near the beginning hits headers, where most goes wrong.
    reach = choose.choice((64, 512, len(data)))
    for _ in range(choose.choice((0, 1, 1, 2, 4, 16))):
        if not data:
            break
        at = choose.randrange(min(reach, len(data)))
        way = choose.randrange(7)
        if way == 0:
            data[at] ^= 1 << choose.randrange(8)
        elif way == 1:
            data[at] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        elif way == 2:
            size = choose.choice((2, 4, 8))
            value = choose.choice(NUMBERS) % (1 << 8 * size)
            order = choose.choice(('little', 'big'))
            data[at : at + size] = value.to_bytes(size, order)
        elif way == 3:
            del data[at : at + choose.choice((1, 2, 4, 64, 4096))]
        elif way == 4:
            data[at:at] = choose.randbytes(choose.choice((1, 4, 64)))
        elif way == 5:
            source = choose.randrange(len(data))
            length = choose.choice((4, 32, 256))
            data[at:at] = data[source : source + length]
        else:
            data[at : at + 8] = struct.pack('<d', choose.choice((0.0, -1.0, 1e308, float('nan'))))
    if choose.random() < 0.15:
        del data[choose.randrange(len(data) + 1) :]
    return bytes(data)


def _damaged_text(base: bytes, choose: random.Random) -> bytes:
    lines = base.decode('utf-8').splitlines(keepends=True) or ['']
    for _ in range(choose.choice((1, 1, 2, 3, 8))):
        at = choose.randrange(len(lines))
        way = choose.randrange(8)
        if way == 0:
            lines[at] = ''
        elif way == 1:
            lines[at] *= choose.choice((2, 2, 50, 5000))
        elif way == 2:
            other = choose.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif way in (3, 4):
            lines[at] = _with_other_number(lines[at], choose)
        else:
            place = choose.randrange(len(lines[at]) + 1)
            token = choose.choice(TOKENS) * choose.choice((1, 1, 1, 2, 500))
            lines[at] = lines[at][:place] + token + lines[at][place:]
    if choose.random() < 0.1:
        del lines[choose.randrange(len(lines)) :]
    return ''.join(lines).encode('utf-8')


def _with_other_number(line: str, choose: random.Random) -> str:
    words = line.split(' ')
    places = [i for i, word in enumerate(words) if any(c.isdigit() for c in word)]
    if places:
        words[choose.choice(places)] = f'{choose.choice(NUMBERS)}\n'
    return ' '.join(words)


# ---- what becomes of a case
def outcome_of(kind: str, path: Path) -> dict[str, str]:
    """Read a file and say what became of it; for a process of its own."""
    about = KINDS[kind]
    try:
        about.read(path)
    except about.expected() as error:
        return {'outcome': 'refused', 'text': _problem_of(str(error), path, about)}
    except Exception as error:
        return {'outcome': 'raised', 'text': f'{type(error).__name__}: {error}'[:500]}
    return {'outcome': 'read', 'text': ''}


def _problem_of(message: str, path: Path, about: Kind) -> str:
    """Return what is wrong with an error message; empty if nothing is."""
    if about.names_file and path.name not in message and path.parent.name not in message:
        return f'the message does not name the file: {message[:300]}'
    if len(message) > 1500:
        return f'the message has {len(message)} characters: {message[:200]}'
    if any(ord(letter) < 32 and letter != '\n' for letter in message):
        return f'the message has control characters: {message[:300]!r}'
    return ''


def main() -> None:
    parser = argparse.ArgumentParser(description='one damaged file')
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('number', type=int)
    parser.add_argument('--keep', type=Path, help='a copy of the file')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_case(arguments.kind, arguments.number, Path(folder))
        if arguments.keep:
            arguments.keep.write_bytes(path.read_bytes())
        print(json.dumps(outcome_of(arguments.kind, path)))


if __name__ == '__main__':
    main()
