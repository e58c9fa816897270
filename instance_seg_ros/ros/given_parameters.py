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
    `/**` may be shared with other nodes.

    Args:
        node: after it has declared its parameters.
        arguments: of the command line; the process's own if None.

    Raises:
        ValueError: for a file that has nothing for this node, and for a misspelt name.
    """
    words = _ros_arguments(sys.argv if arguments is None else arguments)
    for option, value in pairwise(words):
        if option == '--params-file':
            _check_file(node, value)
        elif option in ('-p', '--param'):
            _check_names(node, [value.partition(':=')[0].rpartition(':')[2]], 'command line')


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


def _check_file(node: Node, path: str) -> None:
    # rclpy has read it before, so it is there and it is YAML.
    text = Path(path).read_text('utf-8')  # the loader is a SafeLoader
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 # nosec B506
    except (yaml.YAMLError, ValueError):  # a date that is none: rclpy takes it for a text
        return
    sections = list(_sections(content, ''))
    name = node.get_fully_qualified_name()
    own = [parameters for key, parameters in sections if _matches(key, name)]
    if sections and not own:
        others = ', '.join(key for key, _ in sections)
        raise ValueError(
            f'{path}: has parameters for {others}, and this node is {name}. Write that name, or '
            '/** for a node of any name'
        )
    for parameters in own:
        _check_names(node, list(_names(parameters, '')), path)


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


def _check_names(node: Node, names: list[str], source: str) -> None:
    settings = [setting.name for setting in all_settings()]
    policies = [kind.name.lower() for kind in OVERRIDABLE]
    for name in names:
        # Of an override the policy alone can be checked: its topic may be another node's.
        start, _, word = name.rpartition('.') if name.startswith(OVERRIDES) else ('', '', name)
        if node.has_parameter(name) or (start and word in policies):
            continue
        similar = difflib.get_close_matches(word, policies if start else settings, 1, MISSPELT)
        if similar:
            meant = f'{start}.{similar[0]}' if start else similar[0]
            raise ValueError(f'{source}: there is no parameter {name}. Did you mean {meant}?')
        node.get_logger().warning(
            f'{source}: this node has no parameter {name}, which is ignored. '
            f'ros2 param list {node.get_fully_qualified_name()} names those that it has'
        )
