# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A bag that is read: a rosbag2 folder or a file of it, a ROS 1 file or a folder of its parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import ConnectionExtRosbag1, QosDurability

from instance_seg_ros.bags import BAG_SUFFIXES
from instance_seg_ros.bags.errors import BagError
from instance_seg_ros.bags.messages import IMAGE_TYPES, OUTPUT_TYPES
from instance_seg_ros.output_names import MASKS
from instance_seg_ros.text_files import one_line

_STORAGE_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
_NANOSECONDS = 1e9
_MOST_LISTED = 100  # topics


@dataclass(frozen=True)
class Window:
    """The part of a bag that is read: nanoseconds, by the times at which it was recorded."""

    start: int
    stop: int


@dataclass(frozen=True)
class BagImage:
    """An image message and when it was recorded, in nanoseconds."""

    timestamp: int
    message: Any
    message_type: str


class BagReader:
    """Reads a bag; a context manager.

    Args:
        path: of a rosbag2 folder, an .mcap, .db3 or .bag file, or a folder of .bag files.
        typestore: of make_typestore, for bags that have no type definitions of their own.

    Raises:
        BagError: it is no bag, is incomplete or damaged, or has another format.

    """

    def __init__(self, path: Path, typestore: Any) -> None:
        self.path = path
        self.files = bag_files(path)
        parts = self.files if self.files[0].suffix == '.bag' else [path]
        # rosbags raises whatever a damaged file makes its parsers raise.
        try:
            self._reader = AnyReader(parts, default_typestore=typestore)
            self._reader.open()
        except Exception as error:
            raise BagError(
                f'{path}: cannot be read as a bag ({one_line(error)}). If its recording was cut '
                'off: "ros2 bag reindex", "mcap recover" or, with ROS 1, "rosbag reindex" repair it'
            ) from None

    def __enter__(self) -> BagReader:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def any_reader(self) -> AnyReader:
        """The reader of rosbags, for what copies messages."""
        return self._reader

    @property
    def topics(self) -> dict[str, str]:
        """Topic to message type, by name; several types are joined by " and "."""
        types: dict[str, set[str]] = {}
        for connection in self._reader.connections:
            types.setdefault(connection.topic, set()).add(connection.msgtype)
        return {topic: ' and '.join(sorted(types[topic])) for topic in sorted(types)}

    def image_topic(self, wanted: str | None, not_below: str | None = None) -> str:
        """Return the name of the topic to read.

        Args:
            wanted: by the user; None takes the only topic of images.
            not_below: topics below this name are taken only if ``wanted`` names them.

        Raises:
            BagError: there is no such topic, it has no images, or there are several; with a list
                of all topics.

        """
        topics = self.topics
        if wanted is None:
            images = [topic for topic, kind in topics.items() if kind in IMAGE_TYPES]
            if not_below is not None:
                images = [topic for topic in images if not topic.startswith(not_below)]
            if len(images) == 1:
                return images[0]
            what = 'several topics of images' if images else 'no topic of images'
            raise BagError(f'{self.path}: has {what}: give --topic. {self._listed()}')
        found = next((name for name in (wanted, f'/{wanted}') if name in topics), None)
        if found is None:
            raise BagError(f'{self.path}: has no topic {wanted}. {self._listed()}')
        if topics[found] not in IMAGE_TYPES:
            raise BagError(
                f'{self.path}: {found} is {topics[found]}: expected {" or ".join(IMAGE_TYPES)}. '
                f'{self._listed()}'
            )
        return found

    def masks_topic(self, wanted: str | None) -> str:
        """Return the name of the topic of InstanceMaskArrays; as image_topic."""
        topics, kind = self.topics, OUTPUT_TYPES[MASKS]
        found = [topic for topic, each in topics.items() if each == kind]
        if wanted is not None:
            found = [topic for topic in found if topic in (wanted, f'/{wanted}')]
        if len(found) == 1:
            return found[0]
        what = 'several topics' if found else 'no topic' if wanted is None else f'no {wanted}'
        raise BagError(f'{self.path}: has {what} of {kind}: see --masks-topic. {self._listed()}')

    def _listed(self) -> str:
        topics = list(self.topics.items())
        lines = [
            f'\n  {one_line(topic)}  {one_line(kind)}' for topic, kind in topics[:_MOST_LISTED]
        ]
        lines += [f'\n  and {len(topics) - _MOST_LISTED} more'] * (len(topics) > _MOST_LISTED)
        return f'Its topics are:{"".join(lines)}' if lines else 'It has no topics'

    def window(self, start: float, duration: float | None) -> Window:
        """Return the part that begins some seconds after the beginning.

        Raises:
            BagError: the bag is not so long, or empty.

        """
        if not self._reader.message_count:
            raise BagError(f'{self.path}: has no messages')
        first, end = self._reader.start_time, self._reader.end_time
        begin = first + round(start * _NANOSECONDS)
        if begin >= end:
            raise BagError(
                f'--start {start:g}: {self.path} is {(end - first) / _NANOSECONDS:.1f} s long'
            )
        if duration is None:
            return Window(begin, end)
        return Window(begin, min(end, begin + max(1, round(duration * _NANOSECONDS))))

    def count(self, topic: str, window: Window, every: int) -> int:
        """Return how many images of a topic there are: for parts of a bag an estimate."""
        messages = sum(c.msgcount for c in self._connections([topic]))
        share = (window.stop - window.start) / max(1, self._reader.duration)
        return -(-round(messages * min(share, 1.0)) // every)

    def images(self, topic: str, window: Window, every: int, skip: int = 0) -> Iterator[BagImage]:
        """Yield the images of a topic, or every n-th, each once, as they were recorded.

        Args:
            topic: of images.
            window: the part of the bag.
            every: 1 for all.
            skip: of those that would be yielded, how many are left out at the beginning.

        Raises:
            BagError: the bag is damaged.

        """
        messages = self.raw_messages(self._connections([topic]), window)
        for connection, timestamp, data in islice(messages, skip * every, None, every):
            try:
                message = self._reader.deserialize(data, connection.msgtype)
            except Exception as error:
                raise self._damaged(timestamp, error) from None
            yield BagImage(timestamp, message, connection.msgtype)

    def raw_messages(
        self, connections: Collection[Any], window: Window
    ) -> Iterator[tuple[Any, int, bytes]]:
        """Yield connection, timestamp and serialized message of some connections.

        Raises:
            BagError: the bag is damaged.

        """
        if not connections:  # rosbags would take none for all
            return
        timestamp = window.start
        messages = self._reader.messages(connections, window.start, window.stop)
        while True:
            try:
                connection, timestamp, data = next(messages)
            except StopIteration:
                return
            except Exception as error:
                raise self._damaged(timestamp, error) from None
            yield connection, timestamp, data

    def messages_before(self, window: Window, connections: Collection[Any]) -> Iterator[Any]:
        """Yield the latched messages from before a window, such as /tf_static, at its beginning."""
        before = Window(self._reader.start_time, window.start)
        latched = [c for c in connections if _is_latched(c)]
        if before.start < before.stop:
            for connection, _, data in self.raw_messages(latched, before):
                yield connection, window.start, data

    def connections_without(self, topics: Collection[str]) -> list[Any]:
        """Return rosbags' connections of all topics but these."""
        return [c for c in self._reader.connections if c.topic not in topics]

    def _connections(self, topics: Collection[str]) -> list[Any]:
        return [c for c in self._reader.connections if c.topic in topics]

    def _damaged(self, timestamp: int, error: Exception) -> BagError:
        seconds = (timestamp - self._reader.start_time) / _NANOSECONDS
        return BagError(
            f'{self.path}: is damaged {seconds:.3f} s after its beginning '
            f'({type(error).__name__}: {one_line(error)}). --duration can end before that'
        )


def _is_latched(connection: Any) -> bool:
    extension = connection.ext
    if isinstance(extension, ConnectionExtRosbag1):
        return bool(extension.latching)
    qualities = extension.offered_qos_profiles
    return any(each.durability == QosDurability.TRANSIENT_LOCAL for each in qualities)


def bag_files(path: Path) -> list[Path]:
    """Return the files of a bag, without opening them; metadata.yaml first where it is.

    Raises:
        BagError: it is no bag, or an incomplete one.

    """
    if not path.exists():
        raise BagError(f'{path}: no such file or folder. Expected a bag')
    if path.is_file():
        if path.suffix not in BAG_SUFFIXES:
            raise BagError(
                f'{path}: expected the folder of a rosbag2 bag, or an .mcap, .db3 or .bag file'
            )
        return [path]
    stored = sorted(each for each in path.iterdir() if each.name.endswith(_STORAGE_SUFFIXES))
    if (path / 'metadata.yaml').is_file():
        return [path / 'metadata.yaml', *stored]
    parts = sorted(path.glob('*.bag'))
    if parts:
        return parts
    if stored:
        raise BagError(
            f'{path}: has no metadata.yaml: its recording was cut off. "ros2 bag reindex {path}" '
            f'writes it; or name one file, such as {stored[0]}'
        )
    raise BagError(f'{path}: is no bag: it has neither metadata.yaml nor .bag files')
