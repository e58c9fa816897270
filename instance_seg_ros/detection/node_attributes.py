# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the attributes of a text graph's node say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.text_graph import GraphNode

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([\w.+-]+)|([{}:\[\],;<>])|#[^\n]*')
_NUMBERS = {'int_val': np.int32, 'float_val': np.float32, 'int64_val': np.int64}
_DTYPES = {'DT_INT32': np.int32, 'DT_FLOAT': np.float32, 'DT_INT64': np.int64}

_Message = dict[str, list[Any]]


class NodeAttributes:
    """The attributes of one node, by name.

    Args:
        node: of a text graph.

    Raises:
        ValueError: its text is not protobuf's text format.

    """

    def __init__(self, node: GraphNode) -> None:
        message = _parse(node.text)
        self._values: dict[str, _Message] = {
            entry['key'][0]: entry['value'][0]
            for outer in message['node']
            for entry in outer.get('attr', [])
        }

    def __contains__(self, key: str) -> bool:
        """Whether there is an attribute of that name."""
        return key in self._values

    def text(self, key: str, default: str = '') -> str:
        """Return a text."""
        return str(self._first(key, 's', default))

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a truth value."""
        value = self._first(key, 'b', None)
        return default if value is None else value == 'true'

    def number(self, key: str, default: float) -> float:
        """Return a number, whole or not."""
        return float(self._first(key, 'f', self._first(key, 'i', default)))

    def integer(self, key: str, default: int) -> int:
        """Return a whole number."""
        return int(self.number(key, default))

    def integers(self, key: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers."""
        lists = self._values.get(key, {}).get('list')
        return [int(i) for i in lists[0].get('i', [])] if lists else default

    def tensor(self, key: str) -> NDArray[Any] | None:
        """Return a tensor whose numbers are listed, None where there is none."""
        tensors = self._values.get(key, {}).get('tensor')
        if not tensors:
            return None
        tensor = tensors[0]
        for name, dtype in _NUMBERS.items():
            if name in tensor:
                values = np.array([float(v) for v in tensor[name]]).astype(dtype)
                return _shaped(values, tensor)
        dtypes = tensor.get('dtype', [''])
        return np.zeros(0, _DTYPES[dtypes[0]]) if dtypes[0] in _DTYPES else None

    def _first(self, key: str, kind: str, default: Any) -> Any:
        return self._values.get(key, {}).get(kind, [default])[0]


_MOST_NUMBERS = 100_000_000


def _shaped(values: NDArray[Any], tensor: _Message) -> NDArray[Any]:
    shapes = tensor.get('tensor_shape', [])
    shape = [int(d['size'][0]) for s in shapes for d in s.get('dim', []) if 'size' in d]
    if not shape and len(values) > 1:
        return values
    count = math.prod(shape)
    if not 0 <= count <= _MOST_NUMBERS:
        raise ValueError(f'a tensor has {count} numbers: expected at most {_MOST_NUMBERS}')
    if len(values) == 1:  # one number stands for many equal ones
        values = np.repeat(values, count)
    return values.reshape(shape)


def _parse(text: str) -> _Message:
    tokens = ((m.group(1), m.group(2) or m.group(3)) for m in _TOKEN.finditer(text))
    found = ((quoted, bare) for quoted, bare in tokens if quoted is not None or bare is not None)
    return _message(iter(found))


def _message(tokens: Iterator[tuple[str | None, str | None]]) -> _Message:
    """Read fields up to the brace that closes the message."""
    fields: _Message = {}
    for _, name in tokens:
        if name in ('}', '>'):
            return fields
        if name in (',', ';'):
            continue
        quoted, bare = next(tokens, (None, None))
        if bare == ':':
            quoted, bare = next(tokens, (None, None))
        if bare == '{' or bare == '<':
            value: Any = _message(tokens)
        elif bare == '[':
            value = None
            fields.setdefault(str(name), []).extend(_list(tokens))
        elif quoted is None and bare is None:
            raise ValueError(f'the field {name} has no value')
        else:
            value = bare if quoted is None else quoted
        if value is not None:
            fields.setdefault(str(name), []).append(value)
    return fields


def _list(tokens: Iterator[tuple[str | None, str | None]]) -> Iterator[str]:
    for quoted, bare in tokens:
        if bare == ']':
            return
        if bare != ',':
            yield str(bare if quoted is None else quoted)


__all__ = ['NodeAttributes']
