# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The bag that is written: all output messages, between those of the input where they are kept."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any

from rosbags.convert.converter import create_connections_converters
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from instance_seg_ros.bags.errors import BagError
from instance_seg_ros.bags.messages import OUTPUT_TYPES
from instance_seg_ros.bags.reader import BagReader, Window

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
# The newest one that Humble reads, too.
_VERSION = 8
_FOREVER = QosTime(2147483647, 4294967295)
# As the node publishes by default.
_QOS = Qos(
    QosHistory.KEEP_LAST,
    5,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    avoid_ros_namespace_conventions=False,
)

_Entry = tuple[Any, int, bytes]


def write_bag(
    path: Path,
    storage: str,
    typestore: Any,
    topics: dict[str, str],
    results: Iterable[tuple[str, int, bytes]],
    kept: tuple[BagReader, Window] | None = None,
) -> None:
    """Write a bag, complete with type definitions.

    Args:
        path: of the folder, which must not exist.
        storage: one of STORAGES.
        typestore: of make_typestore.
        topics: full name of each output's topic.
        results: output, timestamp in nanoseconds and serialized message.
        kept: the bag to copy, except for the topics of outputs.

    Raises:
        BagError: the bag that is copied is damaged, or the other cannot be written.
        OSError: it cannot be written.

    """
    try:
        with Writer(path, version=_VERSION, storage_plugin=STORAGES[storage]) as writer:
            _write(writer, typestore, topics, results, kept)
    except (BagError, OSError):
        raise
    except Exception as error:  # of the storage, such as a full disk in SQLite
        raise BagError(
            f'{path.name}: cannot be written ({type(error).__name__}: {error})'
        ) from error


def _write(
    writer: Writer,
    typestore: Any,
    topics: dict[str, str],
    results: Iterable[tuple[str, int, bytes]],
    kept: tuple[BagReader, Window] | None,
) -> None:
    connections = {
        output: writer.add_connection(
            topic, OUTPUT_TYPES[output], typestore=typestore, offered_qos_profiles=[_QOS]
        )
        for output, topic in topics.items()
    }
    ours = ((connections[output], timestamp, data) for output, timestamp, data in results)
    copied: Iterator[_Entry] = iter(())
    if kept is not None:
        copied = _copied(writer, typestore, set(topics.values()), *kept)
    # Where times are equal, an image comes before what was found in it.
    for connection, timestamp, data in merge(copied, ours, key=lambda entry: entry[1]):
        writer.write(connection, timestamp, data)


def _copied(
    writer: Writer, typestore: Any, without: set[str], reader: BagReader, window: Window
) -> Iterator[_Entry]:
    """Return the messages of the input, those of ROS 1 converted."""
    source = reader.any_reader
    connections = reader.connections_without(without)
    # ROS 1 names some fields otherwise: its types become those of ROS 2 where that has them.
    target = None if source.is2 else typestore
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the types that it converts
        targets, converters = create_connections_converters(connections, target, source, writer)
    messages = chain(
        reader.messages_before(window, connections), reader.raw_messages(connections, window)
    )
    return _converted(messages, targets, converters, reader)


def _converted(
    messages: Iterable[_Entry],
    targets: dict[tuple[int, object], Any],
    converters: dict[str, Callable[[bytes | memoryview], memoryview]],
    reader: BagReader,
) -> Iterator[_Entry]:
    for connection, timestamp, data in messages:
        try:
            converted = converters[connection.msgtype](data)
        except Exception as error:
            raise BagError(
                f'{reader.path}: a message of {connection.topic} ({connection.msgtype}) cannot be '
                f'copied ({error}). Leave --keep-input out'
            ) from None
        yield targets[connection.id, connection.owner], timestamp, bytes(converted)
