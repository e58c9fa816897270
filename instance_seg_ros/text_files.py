# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Text and YAML files of models, read in one way, with limits: they may come from anywhere."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from instance_seg_ros.errors import ModelError

_LARGEST_YAML = 256_000  # bytes
_DEEPEST_YAML = 20


def is_file(path: Path) -> bool:
    """Whether there is such a file; also False for what cannot be a file name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def read_text(
    path: Path, what: str, expected: str, largest: int, not_text: str = 'is not a UTF-8 text file'
) -> str:
    r"""Read a text file: UTF-8 with or without byte order mark, lines ended by \n, \r\n or \r.

    Args:
        path: the file.
        what: the file is, for messages.
        expected: what should be there, as a sentence.
        largest: bytes that it may have.
        not_text: what the message says of bytes that are no UTF-8.

    Returns:
        The text, lines ended by \n.

    Raises:
        ModelError: it is missing, too large or not such a file.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            kind = 'Is a directory' if stat.S_ISDIR(about.st_mode) else 'is no regular file'
            raise ModelError(f'{what} {path}: {kind}. {expected}')
        if about.st_size > largest:
            raise ModelError(
                f'{what} {path}: has {about.st_size} bytes, at most {largest} are read. {expected}'
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f'{what} {path}: {error.strerror}. {expected}') from None
    except ValueError:
        raise ModelError(f'{what} {str(path)!r}: has a null character in its name') from None
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError:
        raise ModelError(f'{what} {path}: {not_text}. {expected}') from None
    return text.replace('\r\n', '\n').replace('\r', '\n')


def read_yaml(path: Path, what: str, expected: str) -> Any:
    """Read a YAML file without aliases, of limited size and depth.

    Raises:
        ModelError: it is missing, or not such a file.
    """
    import yaml  # only those who load a model need it

    text = read_text(path, what, expected, _LARGEST_YAML)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ModelError(f'{what} {path}: has a YAML alias (*{event.anchor}). {expected}')
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ModelError(f'{what} {path}: is nested too deeply. {expected}')
        return yaml.safe_load(text)
    # Beside its own errors: a date or a number that there is not, a key that is a list.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(f'{what} {path}: is not YAML ({one_line(error)}). {expected}') from None


def shown(value: Any) -> str:
    """Return a value of a file for a message: cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python prints
        return 'a number of thousands of digits'
    return text if len(text) <= 80 else f'{text[:77]}...'


def one_line(error: object) -> str:
    """Return what a library raised, or a text of a file, for a message: printable, and cut."""
    text = ' '.join(str(error).split())[:300]
    return ''.join(letter if letter.isprintable() else '?' for letter in text)
