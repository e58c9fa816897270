# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What parameter files and the command line give: rclpy is silent about all that no node declares.

Without this a misspelt parameter, or a file for a node of another name, starts with the defaults.
"""

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node

from instance_seg_ros.ros.qos import OVERRIDABLE
from instance_seg_ros.ros.settings import all_settings

PARAMETERS = 'ros__parameters'
OVERRIDES = 'qos_overrides.'  # declared together with the topic that they are for
MISSPELT = 0.8  # similarity of a name to one that the node has


class _Loader(yaml.SafeLoader):
    """Reads what rclpy reads: launch_ros writes Python's tuples, people tags of their own."""


for _tag in ('tag:yaml.org,2002:python/', '!'):
    _Loader.add_multi_constructor(_tag, lambda *_: None)


def check_given_parameters(node: Node, arguments: Sequence[str] | None) -> None:
    """Compare what is given with what the node has declared.

    A name that is close to one of the node's is misspelt. Any other is only warned of: a file with
    `/**` may be shared with other nodes. If it is, names that are close may be theirs as well.

    Args:
        node: after it has declared its parameters.
        arguments: of the command line; the process's own if None.

    Raises:
        ValueError: where no file has anything for this node, for a file for a node of its name in
            another namespace, and for a misspelt name.
    """
    options = list(pairwise(_ros_arguments(sys.argv if arguments is None else arguments)))
    files = [value for option, value in options if option == '--params-file']
    _check_files(node, files)
    for option, value in options:
        if option in ('-p', '--param'):
            other, _, name = value.partition(':=')[0].rpartition(':')
            # Launch systems hand the same words to several nodes.
            if not other or f'/{other}' == node.get_fully_qualified_name():
                _check_names(node, [name], 'command line')
            elif other == node.get_name():
                node.get_logger().warning(
                    f'command line: {other}:{name} is for /{other}, this node is '
                    f'{node.get_fully_qualified_name()}. Expected {name} alone'
                )


def _ros_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the words between --ros-args and --."""
    words = []
    within = False
    for word in arguments:
        if word in ('--ros-args', '--'):
            within = word == '--ros-args'
        elif within:
            words.append(word)
    return words


def _check_files(node: Node, paths: list[str]) -> None:
    name = node.get_fully_qualified_name()
    others: dict[str, list[str]] = {}  # files that have something, but only for others
    found = False
    for path in paths:
        sections = _read_sections(path)
        own = [(key, parameters) for key, parameters in sections if _matches(key, name)]
        for key, parameters in own:
            shared = '*' in key
            _check_names(node, list(_names(parameters, '')), path, shared)
        if sections and not own:
            others[path] = [key for key, _ in sections]
        found = found or bool(own)
    for path, keys in others.items():
        problem = (
            f'{path}: has parameters for {", ".join(keys)}, and this node is {name}. Write that '
            'name, or /** for a node of any name'
        )
        # Launch files add files of their own, so one that fits says nothing about the others.
        if not found or any(key.rpartition('/')[2] == node.get_name() for key in keys):
            raise ValueError(problem)
        node.get_logger().warning(f'{problem}, if they are for this one')


def _read_sections(path: str) -> list[tuple[str, Any]]:
    """Return the names of nodes in a file, each with its parameters."""
    # rclpy has read it before, so it is there and it is YAML.
    text = Path(path).read_text('utf-8')  # the loader is a SafeLoader
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 # nosec B506
    except (yaml.YAMLError, ValueError):  # a date that is none: rclpy takes it for a text
        return []
    return list(_sections(content, ''))


def _sections(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Find the names of nodes, which may be written as nested namespaces, and their parameters."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == PARAMETERS:
            yield name, value
        else:
            yield from _sections(value, f'{name}/{str(key).strip("/")}')


def _matches(key: str, name: str) -> bool:
    pattern = re.escape(key).replace(r'/\*\*', '(/[^/]+)*').replace(r'/\*', '/[^/]+')
    return re.fullmatch(pattern, name) is not None


def _names(parameters: Any, prefix: str) -> Iterator[str]:
    for key, value in parameters.items() if isinstance(parameters, dict) else ():
        if isinstance(value, dict):
            yield from _names(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _check_names(node: Node, names: list[str], source: str, shared: bool = False) -> None:
    """Report what the node does not have.

    Args:
        node: after it has declared its parameters.
        names: that are given.
        source: of them, for messages.
        shared: whether their section may be for other nodes as well. It is if the node has nothing
            like one of them.
    """
    unknown = {name: _similar(name) for name in names if not _is_known(node, name)}
    is_fatal = not shared or all(unknown.values())
    for name, meant in unknown.items():
        hint = f'. Did you mean {meant}?' if meant else ''
        if meant and is_fatal:
            raise ValueError(f'{source}: there is no parameter {name}{hint}')
        node.get_logger().warning(
            f'{source}: this node has no parameter {name}, which is ignored{hint or "."} '
            f'ros2 param list {node.get_fully_qualified_name()} names those that it has'
        )


def _is_known(node: Node, name: str) -> bool:
    start, word = _parts(name)
    return bool(node.has_parameter(name)) or (bool(start) and word in _policies())


def _similar(name: str) -> str:
    """Return the name that may be meant; empty where there is none."""
    start, word = _parts(name)
    names = _policies() if start else [setting.name for setting in all_settings()]
    similar = difflib.get_close_matches(word, names, 1, MISSPELT)
    return ('.'.join((start, similar[0])) if start else similar[0]) if similar else ''


def _parts(name: str) -> tuple[str, str]:
    """Return what goes before the part of a name that can be checked, and that part.

    That is the whole name, but of an override the policy: its topic may be another node's.
    """
    start, _, word = name.rpartition('.') if name.startswith(OVERRIDES) else ('', '', name)
    return start, word


def _policies() -> list[str]:
    return [kind.name.lower() for kind in OVERRIDABLE]
