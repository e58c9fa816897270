# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Settings from a file: the parameter file of the node, or plain names and values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from instance_seg_ros.errors import ModelError
from instance_seg_ros.output_names import NODE_NAME
from instance_seg_ros.ros.settings import all_settings  # it imports nothing of ROS
from instance_seg_ros.schema import Setting
from instance_seg_ros.text_files import read_yaml

_PARAMETERS = 'ros__parameters'
_OF_EVERY_NODE = ('use_sim_time', 'start_type_description_service')
_OVERRIDES = 'qos_overrides.'
_NAMED = 5  # parameters that a message lists


class Config(NamedTuple):
    """What a file says to a command.

    Attributes:
        values: by the name of the option, as in ``argparse.Namespace``.
        left_out: parameters of the node that the command has no option for.
    """

    values: dict[str, Any]
    left_out: list[str]


def read_config(path: Path, settings: Sequence[Setting], others: Mapping[str, str]) -> Config:
    """Read a file of settings.

    Args:
        path: of the file.
        settings: that the command has as options.
        others: other parameters of the node that it has as options: parameter to option.

    Raises:
        ValueError: the file cannot be used; the message says what is wrong in it.

    """
    try:
        content = read_yaml(path, 'config file', 'Expected parameters as in config/seg.yaml')
    except ModelError as error:
        raise ValueError(str(error)) from None
    values: dict[str, Any] = {}
    left_out, unknown = [], []
    own = {each.name: each for each in settings}
    known = {each.name: each for each in all_settings()}
    for name, value in _flat(_parameters(content, path), ''):
        try:
            if name in own:
                values[name] = own[name].convert(value)
            elif name in others:
                values[others[name]] = known[name].convert(value)
            elif name in known or name in _OF_EVERY_NODE or name.startswith(_OVERRIDES):
                left_out.append(name)
            else:
                unknown.append(name)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
    if unknown:
        raise ValueError(f'{path}: there is no parameter {_with_hints(unknown, list(known))}')
    return Config(values, left_out)


def described(path: Path, left_out: Sequence[str]) -> str:
    """Return one line about the parameters that a command has no option for."""
    more = f' and {len(left_out) - _NAMED} more' if len(left_out) > _NAMED else ''
    return (
        f'{path}: left out, as this command has no such options: '
        f'{", ".join(left_out[:_NAMED])}{more}'
    )


def _parameters(content: Any, path: Path) -> dict[str, Any]:
    """Return the parameters for our node: those of /** and then those of its own name."""
    if not isinstance(content, dict):
        raise ValueError(f'{path}: has no parameters. Expected names and values')
    sections = list(_sections(content, ''))
    if not sections:
        return content
    general = [values for name, values in sections if name.rpartition('/')[2] in ('**', '*')]
    special = {name: values for name, values in sections if name.rpartition('/')[2] == NODE_NAME}
    if len(special) > 1:
        raise ValueError(
            f'{path}: has parameters for {" and ".join(special)}. Leave one of them in a copy'
        )
    if not general and not special:
        raise ValueError(
            f'{path}: has parameters for {", ".join(name for name, _ in sections)} alone. '
            f'Expected /** or {NODE_NAME}'
        )
    merged: dict[str, Any] = {}
    for values in (*general, *special.values()):
        if values is not None and not isinstance(values, dict):
            raise ValueError(f'{path}: {_PARAMETERS} has no names and values')
        merged |= values or {}
    return merged


def _sections(content: dict[Any, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Find the names of nodes, which may be written as nested namespaces."""
    for key, value in content.items():
        if key == _PARAMETERS:
            yield name, value
        elif isinstance(value, dict):
            yield from _sections(value, f'{name}/{str(key).strip("/")}')


def _flat(parameters: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _with_hints(unknown: Sequence[str], known: Sequence[str]) -> str:
    texts = []
    for name in unknown:
        similar = difflib.get_close_matches(name, known, 1)
        texts.append(f'{name} (did you mean {similar[0]}?)' if similar else name)
    return ', '.join(texts)
