# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Makes the virtual environment with everything that the package, its build and its tests need."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from machine import SetupError, has_ros2
from stamp import digest, is_current, write_stamp

TOOLS = Path(__file__).resolve().parent
# Marks an environment as made here: no other one is ever deleted.
MARKER = 'made-by-instance-seg-ros'
STAMP = 'instance-seg-ros.stamp'
DISTRIBUTIONS = ('kilted', 'jazzy')  # those of which PyPI has wheels
# Read by tools/run: the wheels do not say of which distribution they are.
DISTRIBUTION = 'ros-distribution'

# The wheels' CMake files name the Python of the machine on which they were built.
BUILD_MACHINE_NUMPY = re.compile(r'/opt/python/cp[^/;"]+/lib/[^;"]*?/numpy/_?core/include')
BUILD_MACHINE_PYTHON = re.compile(r'/opt/python/cp[^/;"]+/include/python3\.\d+t?')


def make_virtualenv(folder: Path, distribution: str) -> str:
    """
    Make the environment, or leave it as it is where nothing has changed.

    Args:
        folder: where it is, or will be.
        distribution: one of DISTRIBUTIONS, whose wheels are installed where no ROS 2 is.

    Returns:
        A digest of what the environment holds; it changes when the environment does.

    Raises:
        SetupError: if the folder holds something else, or pip fails.
    """
    wanted = _wanted(folder, distribution)
    if is_current(folder / STAMP, wanted):
        return wanted
    _remove_old(folder)
    source = 'beside ROS 2' if has_ros2() else f'with wheels of ROS 2 {distribution.capitalize()}'
    print(f'Making {folder} {source}: once, a minute or two ...', flush=True)
    arguments = ['--system-site-packages'] if has_ros2() else []
    _run([_interpreter(), '-m', 'venv', *arguments, str(folder)])
    (folder / MARKER).touch()
    if not has_ros2():
        (folder / DISTRIBUTION).write_text(distribution + '\n', 'utf-8')
    _install(folder, distribution)
    write_stamp(folder / STAMP, wanted)
    return wanted


def _wanted(folder: Path, distribution: str) -> str:
    # The path counts: an environment does not survive being moved.
    return digest(
        [requirements_file(distribution), Path(__file__)],
        [sys.base_prefix, sys.version, str(folder.resolve()), str(has_ros2())],
    )


def _interpreter() -> str:
    """Return the Python of the machine, also while the environment itself is activated."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    return str(Path(sys.base_prefix, 'bin', 'python{}.{}'.format(*sys.version_info)))


def requirements_file(distribution: str) -> Path:
    """Return the file with what is to be installed here."""
    return TOOLS / f'requirements-{"ros2" if has_ros2() else distribution}.txt'


def _remove_old(folder: Path) -> None:
    if not folder.exists():
        return
    if not (folder / MARKER).exists():
        raise SetupError(
            f'{folder} was not made by this Makefile, so it is left alone. Remove it, or name '
            'another folder: make VENV=.venv-instance-seg demo'
        )
    shutil.rmtree(folder)


def _install(folder: Path, distribution: str) -> None:
    python = str(folder / 'bin' / 'python')
    pip = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if has_ros2():
        # numpy stays the one that the environment's compiled packages were built for.
        numpy_version = _ask(python, 'import numpy; print(numpy.__version__)')
        _run([*pip, '-r', str(requirements_file(distribution)), f'numpy=={numpy_version}'])
        return
    # The list is complete, so pip need not resolve anything.
    _run([*pip, '--no-deps', '-r', str(requirements_file(distribution))])
    _point_cmake_files_here(folder, python)


def _point_cmake_files_here(folder: Path, python: str) -> None:
    include = _ask(python, 'import sysconfig; print(sysconfig.get_paths()["include"])')
    numpy_include = _ask(python, 'import numpy; print(numpy.get_include())')
    for path in (folder / 'share').rglob('*.cmake'):
        text = path.read_text('utf-8')
        fixed = BUILD_MACHINE_NUMPY.sub(numpy_include, text)
        fixed = BUILD_MACHINE_PYTHON.sub(include, fixed)
        if fixed != text:
            path.write_text(fixed, 'utf-8')


def _ask(python: str, code: str) -> str:
    return subprocess.run(
        [python, '-c', code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _run(command: list[str]) -> None:
    if subprocess.run(command).returncode != 0:
        raise SetupError(
            f'this command failed, see above: {" ".join(command)}\n'
            'The first run needs a network connection, or a pip configuration that has the wheels.'
        )
