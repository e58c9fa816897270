# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the machine has, and what to do about what it lacks."""

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = {'kilted': (3, 14), 'jazzy': (3, 13)}  # of the wheels of each distribution
APT_COMMAND = 'sudo apt install g++ make python3-dev python3-venv'


class SetupError(RuntimeError):
    """The set-up cannot go on; the text says why and what to do."""


def has_ros2() -> bool:
    """Return whether a ROS 2 environment is sourced: then it is used in place of the wheels."""
    return bool(os.environ.get('ROS_DISTRO')) and shutil.which('ros2') is not None


def check_machine(distribution: str) -> None:
    """Raise SetupError if the environment, with this distribution's wheels, cannot be made here."""
    if not has_ros2():
        _check_platform()
        _check_python(distribution)
    _check_build_tools()


def _check_platform() -> None:
    system, processor = platform.system(), platform.machine()
    if (system, processor) == ('Linux', 'x86_64'):
        return
    raise SetupError(
        f'there are no ROS 2 wheels for {system} on {processor}, only for Linux on x86_64.\n'
        'Install ROS 2 (https://docs.ros.org), then:\n'
        '  source /opt/ros/<distribution>/setup.bash\n'
        'and run the same command again, or build the package in your own workspace:\n'
        '  rosdep install --from-paths src --ignore-src && colcon build\n'
        'The library and the command line work here without ROS: pip install .'
    )


def _check_python(distribution: str) -> None:
    version = sys.version_info[:2]
    newest = NEWEST_PYTHON[distribution]
    if OLDEST_PYTHON <= version <= newest:
        return
    raise SetupError(
        f'{sys.executable} is Python {version[0]}.{version[1]}; the wheels of ROS 2 '
        f'{distribution.capitalize()} are for Python 3.10 to {newest[0]}.{newest[1]}. '
        'Name another one: make PYTHON=python3.12 demo'
    )


def _check_build_tools() -> None:
    missing = []
    if shutil.which('g++') is None and not os.environ.get('CXX'):
        missing.append('a C++ compiler (g++)')
    headers = Path(sysconfig.get_paths()['include']) / 'Python.h'
    if not headers.is_file():
        missing.append(f'the Python headers ({headers})')
    if importlib.util.find_spec('venv') is None or importlib.util.find_spec('ensurepip') is None:
        missing.append(f'virtual environments for {sys.executable} (venv and ensurepip)')
    if missing:
        raise SetupError(
            'this machine lacks ' + ', '.join(missing) + f'.\nOn Debian and Ubuntu: {APT_COMMAND}'
        )
