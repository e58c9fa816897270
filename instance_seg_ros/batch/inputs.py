# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""From what the user names to a sorted list of images: files, addresses, images of bags."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.bags import BAG_SUFFIXES, HOW_TO_INSTALL
from instance_seg_ros.batch.errors import BatchError, MissingPackageError
from instance_seg_ros.batch.storage import filesystem_of, is_address
from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import FILE_FORMATS, LARGEST_FILE, SUFFIXES, decode_image, read_image
from instance_seg_ros.paths import given_path

_LIST_SUFFIXES = ('.txt', '.lst')


@dataclass(frozen=True)
class Item:
    """One image.

    Attributes:
        name: absolute path or address; of a bag's image with the topic and the time.
        bag, topic: where the image is in a bag.
        timestamp: nanoseconds, when it was recorded.
        nth: of the topic's images with this timestamp.
    """

    name: str
    bag: str = ''
    topic: str = ''
    timestamp: int = 0
    nth: int = 0


def list_items(sources: Sequence[str], topic: str | None = None) -> list[Item]:
    """Return all images, sorted by name, each once.

    Args:
        sources: files, folders with all below them, patterns, lists (.txt or .lst, one name a
            line, relative to the list), bags, and addresses of files, folders or patterns that
            fsspec knows, such as s3://bucket/photos.
        topic: of the images in bags; None takes the only one.

    Raises:
        BatchError: a source stands for no image.

    """
    found: set[Item] = set()
    for source in sources:
        some = False
        for item in _items_of(source, topic):
            some = True
            found.add(item)
        if not some:
            expected = ' '.join(SUFFIXES)
            raise BatchError(f'{source}: no image is there. Expected {expected}, a list or a bag')
    return sorted(found, key=lambda item: item.name)


class ItemReader:
    """Reads items; one for each worker, which keeps the last bag open."""

    def __init__(self) -> None:
        self._bag = ''
        self._bags = contextlib.ExitStack()
        self._reader: Any = None

    def read(self, item: Item) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3), BGR.

        Raises:
            ImageError: it cannot be read, or is no image; the message names it.
            OSError: the storage does not answer.

        """
        if item.bag:
            return self._read_from_bag(item)
        if not is_address(item.name):
            return read_image(item.name)
        data = _fetched(item.name)
        try:
            return decode_image(data, cv2.IMREAD_COLOR, FILE_FORMATS, LARGEST_FILE)
        except ImageError as error:
            raise ImageError(f'{item.name}: {error}') from None

    def _read_from_bag(self, item: Item) -> NDArray[np.uint8]:
        from instance_seg_ros.bags.errors import BagError
        from instance_seg_ros.bags.messages import to_bgr8
        from instance_seg_ros.bags.reader import Window

        try:
            if item.bag != self._bag:
                self._open(item.bag)
            window = Window(item.timestamp, item.timestamp + 1)
            image = next(self._reader.images(item.topic, window, 1, skip=item.nth), None)
            if image is None:
                raise ImageError('the bag has changed: this image is no longer in it')
            return to_bgr8(image.message, image.message_type)
        except MissingPackageError:  # no other image of a bag could be read, either
            raise
        except (BagError, BatchError, ImageError) as error:
            raise ImageError(f'{item.name}: {error}') from None

    def _open(self, bag: str) -> None:
        self._bag = ''
        self._bags.close()
        self._reader = self._bags.enter_context(_open_bag(bag))
        self._bag = bag


def _fetched(address: str) -> bytes:
    try:
        filesystem, path = filesystem_of(address)
        return bytes(filesystem.cat_file(path, end=LARGEST_FILE))
    except FileNotFoundError:
        raise ImageError(f'{address}: No such file. Expected an image file') from None
    except (OSError, MissingPackageError):  # tried again; or no other image could be read, either
        raise
    except BatchError as error:
        raise ImageError(str(error)) from None
    except Exception as error:  # each storage has errors of its own
        raise ImageError(f'{address}: {error or type(error).__name__}') from None


def _items_of(source: str, topic: str | None) -> Iterator[Item]:
    if is_address(source):
        return (Item(name) for name in _addresses(source))
    path = given_path(source)
    if _is_bag(path):
        return _bag_items(path.absolute(), topic)
    if path.is_dir():
        return _files(path.rglob('*'))
    if path.suffix.lower() in _LIST_SUFFIXES and path.is_file():
        return _listed(path)
    if path.exists():
        return iter([Item(str(path.absolute()))])
    return _files(Path(match) for match in glob.glob(str(path), recursive=True))


def _files(paths: Iterable[Path]) -> Iterator[Item]:
    return (
        Item(str(path.absolute()))
        for path in paths
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _listed(path: Path) -> Iterator[Item]:
    # Not looked for now: a list of millions would take hours. What is missing is reported later.
    # Names of files are bytes: those that are no UTF-8 are kept as they are.
    with path.open(encoding='utf-8-sig', errors='surrogateescape') as lines:
        for line in lines:
            name = line.strip()
            if not name or name.startswith('#'):
                continue
            yield Item(name if is_address(name) else str((path.parent / name).absolute()))


def _addresses(source: str) -> Iterator[str]:
    filesystem, path = filesystem_of(source)
    if glob.has_magic(path):
        names = filesystem.glob(path)
    elif filesystem.isdir(path):
        names = filesystem.find(path)
    else:
        names = [path] if filesystem.exists(path) else []
    for name in names:
        if name.lower().endswith(SUFFIXES):
            yield str(filesystem.unstrip_protocol(name))


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return (path / 'metadata.yaml').is_file()
    return path.suffix in BAG_SUFFIXES and path.is_file()


def _open_bag(path: str) -> Any:
    try:
        from instance_seg_ros.bags.errors import BagError
        from instance_seg_ros.bags.messages import make_typestore
        from instance_seg_ros.bags.reader import BagReader
    except ImportError as error:
        raise MissingPackageError(
            f'{path}: bags need two more packages ({error}): {HOW_TO_INSTALL}'
        ) from None
    try:
        return BagReader(Path(path), make_typestore())
    except BagError as error:
        raise BatchError(str(error)) from None


def _bag_items(path: Path, wanted: str | None) -> Iterator[Item]:
    from instance_seg_ros.bags.errors import BagError

    with _open_bag(str(path)) as reader:
        try:
            topic = reader.image_topic(wanted)
            window = reader.window(0.0, None)
            connections = [each for each in reader.any_reader.connections if each.topic == topic]
            last, nth = -1, 0
            for _, timestamp, _ in reader.raw_messages(connections, window):
                nth = nth + 1 if timestamp == last else 0
                last = timestamp
                name = f'{path}{topic}@{timestamp:020}.{nth}'
                yield Item(name, str(path), topic, timestamp, nth)
        except BagError as error:
            raise BatchError(str(error)) from None
