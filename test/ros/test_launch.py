# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The launch files, by the real `ros2 launch` where it is installed."""

import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Time
from ros_harness import BEST_EFFORT, TIMEOUT, Camera, NodeProcess
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from instance_seg_ros.ros.settings import all_settings

pytest.importorskip('launch_ros', reason='launch is not installed: it has no wheels')
if shutil.which('ros2') is None:
    pytest.skip('the command ros2 is not installed: it has no wheels', allow_module_level=True)

SHARE = Path(get_package_share_directory('instance_seg_ros'))
LAUNCH_FILE = SHARE / 'launch' / 'seg.launch.py'
DEMO_FILE = SHARE / 'launch' / 'demo.launch.py'
TRANSPORT_VARIABLES = (
    'FASTDDS_BUILTIN_TRANSPORTS',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
)
# What users write to have the node in their own robot's namespace, under a topic of their own.
INCLUDING_FILE = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetRemap

def generate_launch_description():
    return LaunchDescription([GroupAction([
        PushRosNamespace('including'),
        SetRemap('~/detections', 'objects/detections'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource({launch_file!r}),
            launch_arguments={{'image_topic': 'front/image'}}.items()),
    ])])
"""
# What users write to have launch start and stop the node's work.
MANAGING_FILE = """
from launch import LaunchDescription
from launch.actions import EmitEvent, IncludeLaunchDescription, RegisterEventHandler
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState, matches_node_name
from lifecycle_msgs.msg import Transition

def change(transition):
    return EmitEvent(event=ChangeState(
        lifecycle_node_matcher=matches_node_name('/managed/instance_seg'),
        transition_id=transition))

def generate_launch_description():
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource({launch_file!r}),
            launch_arguments={{'namespace': 'managed', 'autostart': 'false'}}.items()),
        RegisterEventHandler(OnStateTransition(
            goal_state='inactive', start_state='configuring',
            entities=[change(Transition.TRANSITION_ACTIVATE)])),
        change(Transition.TRANSITION_CONFIGURE),
    ])
"""

# In place of RViz, which needs a screen: says what its topics become.
RVIZ = """#!{python}
import re, sys
from pathlib import Path
import rclpy

rclpy.init(args=sys.argv)
node = rclpy.create_node('rviz')
config = Path(sys.argv[sys.argv.index('-d') + 1]).read_text()
for topic in re.findall(r'Value: (/instance_seg/\\S+)', config):
    print('shows', node.resolve_topic_name(topic), flush=True)
print('all shown', flush=True)
"""


class LaunchProcess(NodeProcess):
    """What `ros2 launch` starts; `environment` replaces the test's own."""

    def __init__(
        self, log: Path, arguments: list[str], environment: dict[str, str] | None = None
    ) -> None:
        self._start(log, ['ros2', 'launch', *arguments], environment or os.environ)

    def wait_for(self, pattern: str) -> str:
        """Wait until something is printed; return its first group."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            found = re.search(pattern, self.output)
            if found is not None:
                return found.group(1)
            assert time.monotonic() < deadline and self.process.poll() is None, self.output
            time.sleep(0.05)

    def kill(self) -> None:
        """End launch, which ends what it has started; by force only where that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                super().kill()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., LaunchProcess]]:
    """A function that launches; what it has started is ended with the test."""
    started: list[LaunchProcess] = []

    def start(*arguments: Any, environment: dict[str, str] | None = None) -> LaunchProcess:
        started.append(
            LaunchProcess(
                tmp_path / f'log{len(started)}.txt',
                [str(argument) for argument in arguments],
                environment,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope='module')
def seg_launch() -> ModuleType:
    """The launch file as a module."""
    spec = importlib.util.spec_from_file_location('seg_launch', LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_parameter_is_an_argument(seg_launch) -> None:
    assert [setting.name for setting in seg_launch.PARAMETERS] == [
        *(setting.name for setting in all_settings()),
        'use_sim_time',
    ]


def test_no_argument_has_a_default_of_its_own_for_a_parameter(seg_launch) -> None:
    from launch.actions import DeclareLaunchArgument

    arguments = {
        entity.name: entity
        for entity in seg_launch.generate_launch_description().entities
        if isinstance(entity, DeclareLaunchArgument)
    }
    assert all(argument.description for argument in arguments.values())
    for setting in seg_launch.PARAMETERS:
        default = arguments[setting.name].default_value
        assert [part.text for part in default] in ([''], []), setting.name


def test_the_launched_node_has_the_arguments(launch, photo) -> None:
    process = launch(
        'instance_seg_ros',
        LAUNCH_FILE.name,
        'namespace:=launched',
        'image_topic:=front/image',
        'node_name:=seg',
        'confidence_threshold:=1',
        "classes:=['person']",
        'max_instances:=7',
        'model:=person_mask_rcnn',
        'mask_encoding:=rle',
        'output_reliability:=reliable',
    )
    camera = Camera('launched', process, topic='front/image', node_name='seg')
    camera.subscribe('detections')
    image = camera.image(photo)
    answer = camera.ask(image)['detections']
    # Nothing scores 1.
    assert answer.header == image.header and not answer.detections
    camera.close()
    assert process.stop(signal.SIGINT) == 0
    assert 'finished cleanly' in process.output


def test_parameters_that_are_not_given_are_those_of_the_file(launch, tmp_path) -> None:
    params_file = tmp_path / 'params.yaml'
    params_file.write_text(
        '/**:\n  ros__parameters:\n    max_instances: 3\n    nms_threshold: 0.25\n'
    )
    process = launch(
        'instance_seg_ros',
        LAUNCH_FILE.name,
        'namespace:=params',
        f'params_file:={params_file}',
        'max_instances:=9',
    )
    camera = Camera('params', process)
    assert camera.parameters('max_instances', 'nms_threshold', 'mask_threshold') == {
        'max_instances': 9,
        'nms_threshold': 0.25,
        'mask_threshold': 0.5,
    }
    camera.close()


def test_a_wrong_choice_is_refused_before_anything_starts(launch) -> None:
    process = launch('instance_seg_ros', LAUNCH_FILE.name, 'image_transport:=theora')
    assert process.wait() != 0
    assert 'image_transport' in process.output and 'compressed' in process.output
    assert 'process started' not in process.output


@pytest.mark.parametrize(
    ('argument', 'expected'),
    [
        ('confidence_threshold:=high', 'a number from 0 to 1'),
        ('max_instances:=2.5', 'a whole number'),
        ('autostart:=perhaps', 'True or False'),
        ('use_sim_time:=2', 'True or False'),
        ('rviz:=maybe', 'True or False'),
        ('respawn:=sometimes', 'True or False'),
        ('params_file:=/no/such/file.yaml', 'there is no such file'),
    ],
)
def test_what_is_not_understood_is_named_before_anything_starts(
    launch, argument: str, expected: str
) -> None:
    process = launch('instance_seg_ros', LAUNCH_FILE.name, argument)
    assert process.wait() == 1
    name, _, value = argument.partition(':=')
    assert f"{name} is '{value}': " in process.output and expected in process.output
    assert 'process started' not in process.output


@pytest.mark.parametrize('file', [LAUNCH_FILE.name, DEMO_FILE.name])
def test_a_misspelt_argument_is_warned_of(launch, file: str) -> None:
    # Beside it one that is like none: it may be that of a file that includes this one.
    process = launch(
        'instance_seg_ros', file, 'confidence_treshold:=0.9', 'robot:=one', 'rviz:=false'
    )
    process.wait_for('(ready): images from')
    (warning,) = [line for line in process.output.splitlines() if 'no such argument' in line]
    assert 'WARNING' in warning
    assert 'confidence_treshold: no such argument. Did you mean confidence_threshold?' in warning


def test_arguments_are_understood_as_people_write_them(launch) -> None:
    process = launch(
        'instance_seg_ros',
        LAUNCH_FILE.name,
        'namespace:=understood',
        'classes:=person',
        'use_sim_time:=True',
        'autostart:=1',
        'low_memory:=yes',
        'confidence_threshold:=1',
    )
    camera = Camera('understood', process)
    expected = {
        'classes': ['person'],
        'use_sim_time': True,
        'autostart': True,
        'low_memory': True,
        'confidence_threshold': 1.0,
    }
    assert camera.parameters(*expected) == expected
    camera.close()


def test_a_node_that_dies_at_start_ends_the_launch_with_an_error(launch, tmp_path) -> None:
    params_file = tmp_path / 'params.yaml'
    params_file.write_text('/**:\n  ros__parameters:\n    confidence_treshold: 0.3\n')
    process = launch('instance_seg_ros', DEMO_FILE.name, f'params_file:={params_file}')
    camera = process.wait_for(r'\[sample_camera-\d+\]: process started with pid \[(\d+)\]')
    assert process.wait() == 1
    assert 'Did you mean confidence_threshold?' in process.output
    assert not Path('/proc', camera).exists()


@pytest.mark.skipif(shutil.which('rviz2') is not None, reason='RViz is installed')
@pytest.mark.parametrize(
    'arguments', [(LAUNCH_FILE.name, 'rviz:=true'), (DEMO_FILE.name,)], ids=['seg', 'demo']
)
def test_without_rviz_all_else_runs(launch, arguments: tuple[str, ...]) -> None:
    process = launch('instance_seg_ros', *arguments)
    node = process.wait_for(r'\[instance_seg_node-\d+\]: process started with pid \[(\d+)\]')
    process.wait_for('(ready): images from')
    assert 'RViz is left out: rviz2 is not installed' in process.output
    assert process.stop(signal.SIGINT) == 0
    assert not Path('/proc', node).exists()


@pytest.mark.parametrize(
    ('arguments', 'outputs'),
    [
        ([], '/robot/seg'),
        (["image_topics:=['/front/image_raw', '/rear/image_raw']"], '/front/seg'),
        (['image_topics:=left/image'], '/robot/left/seg'),
    ],
)
def test_rviz_shows_the_outputs_of_the_node(
    launch, arguments: list[str], outputs: str, tmp_path: Path
) -> None:
    package = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'rviz2'
    program = tmp_path / 'lib' / 'rviz2' / 'rviz2'
    for file, text in ((package, ''), (program, RVIZ.format(python=sys.executable))):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    program.chmod(0o755)
    prefixes = f'{tmp_path}{os.pathsep}{os.environ["AMENT_PREFIX_PATH"]}'
    process = launch(
        'instance_seg_ros',
        LAUNCH_FILE.name,
        'rviz:=true',
        'namespace:=robot',
        'node_name:=seg',
        'autostart:=false',
        *arguments,
        environment=dict(os.environ, AMENT_PREFIX_PATH=prefixes),
    )
    process.wait_for('(all shown)')
    assert set(re.findall(r'shows (\S+)', process.output)) == {
        f'{outputs}/{name}'
        for name in ('debug_image', 'label_image', 'class_image', 'objects', 'detections_3d')
    }


def test_namespaces_and_remappings_of_an_including_file_work(launch, tmp_path, photo) -> None:
    file = tmp_path / 'robot.launch.py'
    file.write_text(INCLUDING_FILE.format(launch_file=str(LAUNCH_FILE)))
    process = launch(file)
    camera = Camera('including', process, topic='front/image', outputs='objects')
    camera.subscribe('detections')
    image = camera.image(photo)
    assert camera.ask(image)['detections'].header == image.header
    camera.close()


def test_launch_events_manage_the_lifecycle(launch, tmp_path) -> None:
    file = tmp_path / 'managed.launch.py'
    file.write_text(MANAGING_FILE.format(launch_file=str(LAUNCH_FILE)))
    process = launch(file)
    camera = Camera('managed', process)
    assert camera.state() == 'active'
    camera.close()


def test_the_demo_shows_the_node_at_work(launch) -> None:
    process = launch(
        'instance_seg_ros', DEMO_FILE.name, 'rviz:=false', 'namespace:=demo', 'rate:=5.0'
    )
    viewer = Camera('demo', process, wait_until_ready=False, topic='unused')
    viewer.subscribe('detections')
    viewer.spin_until(
        lambda: any(message.detections for message in viewer.received['detections']),
        'somebody is detected',
    )
    viewer.close()
    assert process.stop(signal.SIGINT) == 0


def test_the_camera_of_the_demo_has_the_clock_of_the_node(launch) -> None:
    process = launch(
        'instance_seg_ros', DEMO_FILE.name, 'rviz:=false', 'namespace:=sim', 'use_sim_time:=1'
    )
    viewer = Camera('sim', process, wait_until_ready=False, topic='unused')
    stamps: list[int] = []
    viewer.node.create_subscription(
        Image, 'image', lambda image: stamps.append(image.header.stamp.sec), BEST_EFFORT
    )
    clock = viewer.node.create_publisher(Clock, '/clock', BEST_EFFORT)
    second = itertools.count(1)

    def sent() -> bool:
        clock.publish(Clock(clock=Time(sec=next(second))))
        return bool(stamps)

    viewer.spin_until(sent, 'the camera sends an image')
    assert stamps[0] < next(second)
    viewer.close()


@pytest.mark.parametrize(
    ('arguments', 'variable', 'value'),
    [
        (['transports:=large_data'], 'FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA'),
        ([], '(FASTDDS|FASTRTPS)_DEFAULT_PROFILES_FILE', str(SHARE / 'config' / 'fastdds.xml')),
    ],
)
def test_large_images_are_seen_to(launch, arguments, variable, value) -> None:
    environment = {
        name: text for name, text in os.environ.items() if name not in TRANSPORT_VARIABLES
    }
    process = launch('instance_seg_ros', LAUNCH_FILE.name, *arguments, environment=environment)
    assert re.search(f'^{variable}={re.escape(value)}$', environment_of(process), re.MULTILINE)


def test_the_users_own_transports_stay(launch) -> None:
    environment = dict(os.environ, FASTDDS_BUILTIN_TRANSPORTS='UDPv4')
    process = launch('instance_seg_ros', LAUNCH_FILE.name, environment=environment)
    assert 'FASTDDS_BUILTIN_TRANSPORTS=UDPv4\n' in environment_of(process)


def environment_of(process: LaunchProcess) -> str:
    """Return the environment of the launched node, a variable per line."""
    pid = process.wait_for(r'\[instance_seg_node-\d+\]: process started with pid \[(\d+)\]')
    return Path('/proc', pid, 'environ').read_text().replace('\0', '\n')
