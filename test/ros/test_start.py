# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the node says at its start: of what it was given, and of what runs."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from ament_index_python.packages import get_package_prefix
from rclpy.utilities import get_rmw_implementation_identifier
from ros_harness import CALL_TIMEOUT, Camera, NodeProcess

from instance_seg_ros.ros.compatibility import large_images_environment


@pytest.fixture
def start_with(
    start_node: Callable[..., NodeProcess], tmp_path: Path
) -> Callable[[str, str], NodeProcess]:
    """A function that starts a node in a namespace with the text of a parameter file."""

    def start(namespace: str, text: str) -> NodeProcess:
        file = tmp_path / 'params.yaml'
        file.write_text(text)
        return start_node(namespace, ['--params-file', str(file)])

    return start


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        (
            '/**:\n  ros__parameters:\n    confidence_treshold: 0.3\n',
            ['params.yaml', 'confidence_treshold', 'Did you mean confidence_threshold?'],
        ),
        (
            'detector:\n  ros__parameters:\n    confidence_threshold: 0.3\n',
            ['params.yaml', '/detector', 'this node is /refused/instance_seg'],
        ),
        (
            'instance_seg:\n  ros__parameters:\n    confidence_threshold: 0.3\n',
            ['params.yaml', '/instance_seg', 'this node is /refused/instance_seg'],
        ),
        (
            '/**:\n  ros__parameters:\n    confidence_threshold: high\n',
            ['confidence_threshold', 'high', 'a number from 0 to 1'],
        ),
    ],
)
def test_a_file_that_cannot_be_meant_is_named(start_with, text: str, named: list[str]) -> None:
    process = start_with('refused', text)
    assert process.wait() == 1
    assert [part for part in named if part not in process.output] == []
    assert 'Traceback' not in process.output


def test_a_file_that_is_not_there_is_named(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('refused', ['--params-file', '/no/such/file.yaml'])
    assert process.wait() == 1
    assert '/no/such/file.yaml' in process.output and 'Traceback' not in process.output


def test_a_misspelt_parameter_of_the_command_line_is_named(
    start_node: Callable[..., NodeProcess],
) -> None:
    process = start_node('refused', max_instancs=3)
    assert process.wait() == 1
    assert 'max_instancs. Did you mean max_instances?' in process.output


def test_parameters_of_the_command_line_for_other_nodes_are_theirs(
    start_node: Callable[..., NodeProcess],
) -> None:
    camera = Camera('others', start_node('others', ['-p', 'camera:image_topic:=/camera/image']))
    assert 'image_topic' not in camera.process.output
    camera.close()


def test_a_parameter_with_the_name_of_a_node_in_a_namespace_is_no_secret(
    start_node: Callable[..., NodeProcess],
) -> None:
    process = start_node('robot', ['-p', 'instance_seg:max_instances:=7'])
    camera = Camera('robot', process)
    expected = 'instance_seg:max_instances is for /instance_seg, this node is /robot/instance_seg'
    assert expected in process.output
    camera.close()


@pytest.mark.parametrize('owner', ['', 'instance_seg:'])
def test_a_misspelt_parameter_of_this_node_is_named_with_and_without_its_name(
    owner: str, start_node: Callable[..., NodeProcess]
) -> None:
    process = start_node('', ['-p', f'{owner}max_instancs:=3'])
    assert process.wait() == 1
    assert 'max_instancs. Did you mean max_instances?' in process.output


@pytest.mark.parametrize(
    'section', ['/**', '/*/instance_seg', '/given/instance_seg', 'given:\n  instance_seg']
)
def test_every_form_of_the_nodes_name_is_known(start_with, section: str) -> None:
    indent = '    ' if '\n' in section else '  '
    process = start_with(
        'given', f'{section}:\n{indent}ros__parameters:\n{indent}  max_instances: 7\n'
    )
    camera = Camera('given', process)
    assert 'ignored' not in process.output
    camera.close()


def test_parameters_of_others_in_a_shared_file_are_only_warned_of(start_with) -> None:
    process = start_with(
        'shared',
        '/**:\n  ros__parameters:\n    robot_radius: 0.3\n    max_instances: 7\n'
        '    qos_overrides:\n      /shared/image:\n        subscription:\n          depth: 3\n',
    )
    camera = Camera('shared', process)
    assert camera.parameters('max_instances') == {'max_instances': 7}
    (warning,) = re.findall('.*WARN.*', process.output)
    assert 'robot_radius' in warning and 'params.yaml' in warning
    camera.close()


def test_an_empty_list_means_none(start_with, photo) -> None:
    process = start_with(
        'empty', '/**:\n  ros__parameters:\n    classes: []\n    image_topics: []\n'
    )
    camera = Camera('empty', process)
    camera.subscribe('detections')
    assert camera.ask(camera.image(photo))['detections'].detections
    camera.close()


def test_one_line_says_what_runs(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node(
        'running', model='person_mask_rcnn', engine='opencv', refiner='smooth', num_threads=1
    )
    camera = Camera('running', process)
    (line,) = [line for line in process.output.splitlines() if 'engine opencv' in line]
    for part in (
        'model person_mask_rcnn',
        'refiner smooth',
        f'OpenCV {cv2.__version__}',
        '1 threads',
        get_rmw_implementation_identifier(),
        '='.join(*large_images_environment().items()),
    ):
        assert part in line
    camera.close()


def test_a_name_like_ours_in_a_file_that_others_share_is_only_warned_of(start_with) -> None:
    process = start_with(
        'like', '/**:\n  ros__parameters:\n    frame_id: base\n    image_topic: /camera/image\n'
    )
    camera = Camera('like', process)
    assert 'image_topic, which is ignored. Did you mean image_topics?' in process.output
    camera.close()


def test_a_file_for_others_beside_our_own_is_fine(
    tmp_path: Path, start_node: Callable[..., NodeProcess]
) -> None:
    arguments = []
    for name, parameter in (('/two/instance_seg', 'max_instances'), ('/camera', 'rate')):
        file = tmp_path / f'{parameter}.yaml'
        file.write_text(f'{name}:\n  ros__parameters:\n    {parameter}: 7\n')
        arguments += ['--params-file', str(file)]
    camera = Camera('two', start_node('two', arguments))
    assert camera.parameters('max_instances') == {'max_instances': 7}
    (warning,) = re.findall('.*WARN.*', camera.process.output)
    assert 'rate.yaml: has parameters for /camera' in warning
    camera.close()


def test_a_file_for_a_node_of_our_name_elsewhere_is_refused_beside_another(
    tmp_path: Path, start_node: Callable[..., NodeProcess]
) -> None:
    # As launch does it: the user's file, then one with the arguments that were given.
    arguments = []
    for name, section in (('mine', '/front/instance_seg'), ('given', '/**')):
        file = tmp_path / f'{name}.yaml'
        file.write_text(f'{section}:\n  ros__parameters:\n    max_instances: 7\n')
        arguments += ['--params-file', str(file)]
    process = start_node('rear', arguments)
    assert process.wait() == 1
    assert 'mine.yaml: has parameters for /front/instance_seg' in process.output


def test_a_namespace_that_is_too_long_is_named(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('n' * 230)
    assert process.wait() == 1
    (line,) = process.output.splitlines()
    assert 'length should not exceed' in line and '-r __ns:=/NAME' in line


@pytest.mark.parametrize(
    ('words', 'code', 'output', 'error'),
    [
        (
            ['-p', 'max_instances:=3'],
            2,
            '',
            'instance_seg_node: -p max_instances:=3: expected after --ros-args\n',
        ),
        (['--ros-args', '-p', 'tracking:=true', '--', 'fast'], 2, '', 'fast: expected after'),
        (['--help'], 0, 'usage: instance_seg_node [--ros-args', ''),
        (['-h', '--ros-args', '-p', 'tracking:=true'], 0, 'usage: instance_seg_node', ''),
    ],
)
def test_words_that_are_not_for_ros_are_answered(
    words: list[str], code: int, output: str, error: str
) -> None:
    node = Path(get_package_prefix('instance_seg_ros'), 'lib/instance_seg_ros/instance_seg_node')
    done = subprocess.run([node, *words], capture_output=True, text=True, timeout=CALL_TIMEOUT)
    assert done.returncode == code
    assert done.stdout.startswith(output) and error in done.stderr
    assert bool(done.stdout) == bool(output) and bool(done.stderr) == bool(error)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({'HOME': '/proc/nowhere', 'ROS_LOG_DIR': ''}, 'Set ROS_LOG_DIR to a folder'),
        ({'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}, 'LC_ALL=C.UTF-8'),
    ],
)
def test_an_environment_that_cannot_work_is_named(
    start_node: Callable[..., NodeProcess],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    expected: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    process = start_node('odd', model='/modèles/ä.yaml')
    assert process.wait() == 1
    assert expected in process.output and 'Traceback' not in process.output
