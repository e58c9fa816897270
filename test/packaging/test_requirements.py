# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The places that say what to install, and the container, agree with one another."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
# What `make test` installs, pinned: a file for each distribution.
PINS = [
    str(path.relative_to(REPOSITORY))
    for path in sorted((REPOSITORY / 'tools').glob('requirements*.txt'))
    if path.name != 'requirements-ros2.txt'
]
# The same library, with windows and without.
OPENCV = {'opencv-contrib-python', 'opencv-contrib-python-headless'}


def requirements(name: str) -> dict[str, Requirement]:
    lines = (REPOSITORY / name).read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {'opencv' if one.name in OPENCV else one.name.lower(): one for one in found}


def pip_requirements() -> dict[str, Requirement]:
    text = (REPOSITORY / 'setup.py').read_text()
    found = [Requirement(line) for line in re.findall(r"^ {8}'([\w-]+[<>=].*?)',", text, re.M)]
    return {'opencv' if one.name in OPENCV else one.name.lower(): one for one in found}


@pytest.mark.parametrize('name', ['opencv', 'onnxruntime', 'pycocotools'])
@pytest.mark.parametrize('pins', PINS)
def test_what_is_tested_is_what_users_get(name: str, pins: str) -> None:
    tested = str(requirements(pins)[name].specifier).removeprefix('==')
    users = [pip_requirements()[name]]
    if name != 'opencv':  # on a robot it is the system's
        users.append(requirements('requirements-ros.txt')[name])
    for allowed in users:
        assert allowed.specifier.contains(tested), f'{allowed} excludes the tested {tested}'


def test_the_lines_of_the_readme_pin_before_rosdep_installs() -> None:
    readme = (REPOSITORY / 'README.md').read_text()
    block = readme[: readme.index('ros2 launch')].rsplit('\n\n', 1)[1]
    steps = [
        'PIP_BREAK_SYSTEM_PACKAGES=1',
        'requirements-ros.txt',
        'rosdep install',
        'colcon build',
    ]
    places = [block.index(step) for step in steps]
    assert places == sorted(places)


def test_the_dockerfile_copies_files_that_exist() -> None:
    lines = (REPOSITORY / 'docker' / 'Dockerfile').read_text().replace('\\\n', ' ').splitlines()
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith('COPY ')]
    assert len(copied) >= 3
    for name in sum(copied, []):
        assert (REPOSITORY / name).exists(), name
    (entry_point,) = re.findall(
        r'^ENTRYPOINT \["/ros2_ws/src/instance_seg_ros/(.*)"\]', '\n'.join(lines), re.M
    )
    assert os.access(REPOSITORY / entry_point, os.X_OK)


def test_containers_share_memory_network_and_user_with_the_host() -> None:
    text = (REPOSITORY / 'docker' / 'compose.yaml').read_text()
    head, services = text.split('\nservices:\n')
    services = re.sub(r'^  # ', '  ', services, flags=re.M)  # the camera and RViz as well
    compose = yaml.safe_load(f'{head}\nservices:\n{services}')
    assert set(compose['services']) == {'instance_seg', 'camera', 'rviz'}
    for name, service in compose['services'].items():
        assert (service['network_mode'], service['ipc']) == ('host', 'host'), name
        assert service['user'] == '${USER_ID:-1000}:${GROUP_ID:-1000}', name
