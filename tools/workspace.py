# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Builds the package, and vision_msgs where the environment lacks it, with colcon."""

import os
import shutil
import subprocess
from pathlib import Path

from machine import SetupError, has_ros2
from stamp import digest, is_current, write_stamp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'instance_seg_ros'
# Their contents decide about a new build.
BUILT_FROM = ['CMakeLists.txt', 'package.xml', 'msg', 'srv', 'scripts', 'ros_overlay']
# Of these only the list of files matters: the installed ones are links to them.
LINKED = [PACKAGE, 'config', 'demo', 'launch', 'models']


def build_workspace(workspace: Path, virtualenv: Path, environment_digest: str) -> None:
    """Build into `workspace`, or do nothing where what is built is current.

    Args:
        workspace: folder for build, install and log.
        virtualenv: the environment that builds it.
        environment_digest: from make_virtualenv; a new environment is a new build.

    Raises:
        SetupError: if the build fails.
    """
    wanted = _wanted(workspace, environment_digest)
    stamp = workspace / 'stamp'
    if is_current(stamp, wanted):
        return
    if not is_current(workspace / 'environment', environment_digest):
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(parents=True)
        write_stamp(workspace / 'environment', environment_digest)
    # Links to files that are gone would stay.
    shutil.rmtree(workspace / 'install' / PACKAGE, ignore_errors=True)
    shutil.rmtree(workspace / 'src', ignore_errors=True)
    _link_sources(workspace / 'src', virtualenv)
    print('Building the ROS packages: once, about a minute ...', flush=True)
    _colcon_build(workspace, virtualenv)
    write_stamp(stamp, wanted)


def _wanted(workspace: Path, environment_digest: str) -> str:
    names = [str(path.relative_to(ROOT)) for folder in LINKED for path in _files(ROOT / folder)]
    sources = [path for name in BUILT_FROM for path in _files(ROOT / name)]
    return digest(
        [*sources, Path(__file__)], [*names, environment_digest, str(workspace.resolve())]
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(
        found for found in path.rglob('*') if found.is_file() and '__pycache__' not in found.parts
    )


def _link_sources(src: Path, virtualenv: Path) -> None:
    # CMake refuses to export a target whose include folder lies inside the source folder, and
    # numpy's lies in .venv: so the sources are seen through links, from a folder without .venv.
    package = src / PACKAGE
    package.mkdir(parents=True)
    for name in ['CMakeLists.txt', 'package.xml', 'msg', 'srv', 'scripts', *LINKED]:
        (package / name).symlink_to(ROOT / name)
    if not _has_vision_msgs(_build_environment(virtualenv)):
        (src / 'vision_msgs').symlink_to(ROOT / 'ros_overlay' / 'vision_msgs')


def _colcon_build(workspace: Path, virtualenv: Path) -> None:
    command = [
        'colcon',
        '--log-base',
        str(workspace / 'log'),
        'build',
        '--symlink-install',
        '--build-base',
        str(workspace / 'build'),
        '--install-base',
        str(workspace / 'install'),
        '--base-paths',
        str(workspace / 'src'),
        '--cmake-args',
        f'-DPython3_EXECUTABLE={virtualenv.resolve()}/bin/python',
        '-DBUILD_TESTING=OFF',
        '--no-warn-unused-cli',
    ]
    log = workspace / 'build.log'
    with log.open('w') as output:
        result = subprocess.run(
            command,
            cwd=workspace,
            env=_build_environment(virtualenv),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if result.returncode != 0:
        print('\n'.join(log.read_text('utf-8', 'replace').splitlines()[-40:]))
        raise SetupError(f'the build failed, see above; the whole of it is in {log}')


def _build_environment(virtualenv: Path) -> dict[str, str]:
    folder = str(virtualenv.resolve())
    environment = dict(os.environ, VIRTUAL_ENV=folder)
    environment['PATH'] = f'{folder}/bin{os.pathsep}{environment.get("PATH", "")}'
    if not has_ros2():
        # colcon does not take a virtual environment for a place where packages are installed.
        environment['AMENT_PREFIX_PATH'] = environment['CMAKE_PREFIX_PATH'] = folder
        environment.pop('PYTHONPATH', None)
    return environment


def _has_vision_msgs(environment: dict[str, str]) -> bool:
    prefixes = environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any(
        (Path(prefix) / 'share' / 'vision_msgs' / 'package.xml').is_file()
        for prefix in prefixes
        if prefix
    )
