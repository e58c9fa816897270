# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Starts the node: `ros2 launch instance_seg_ros seg.launch.py image_topic:=/camera/image_raw`.

The node activates itself. With `autostart:=false` a lifecycle manager does that, or this launch
system: its ChangeState events find the node by its name.
"""

import difflib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launch.logging
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from instance_seg_ros.ros.settings import USE_SIM_TIME, all_settings
from instance_seg_ros.schema import Group, Setting
from launch import Action, LaunchContext, LaunchDescription

# This file is installed as share/instance_seg_ros/launch/seg.launch.py.
SHARE = Path(__file__).parent.parent
LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal']
TRANSPORTS = ['shared_memory', 'large_data', 'default']
# Where one of these is set, the user has chosen how Fast DDS sends.
TRANSPORT_VARIABLES = (
    'FASTDDS_BUILTIN_TRANSPORTS',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
)
MISSPELT = 0.8  # similarity of a name to that of an argument
START_PERIOD = 30.0  # seconds; a node that breaks down within them has not started at all
# The arguments that set a parameter of the node. None has a default here, so that params_file is
# the only place of defaults. The settings need neither rclpy nor OpenCV, which may be in a virtual
# environment while `ros2 launch` runs outside it.
PARAMETERS = [*all_settings(), USE_SIM_TIME]


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the node, and RViz where it is asked for."""
    return LaunchDescription(
        [*_arguments(), *_parameter_arguments(), OpaqueFunction(function=_start)]
    )


def _arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            'image_topic',
            default_value='image',
            description='Topic of the camera images, without /compressed',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=str(SHARE / 'config' / 'seg.yaml'),
            description='YAML file with the parameters of the node',
        ),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its topics'
        ),
        DeclareLaunchArgument(
            'node_name',
            default_value='instance_seg',
            description='Name of the node, which its topics begin with',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=LOG_LEVELS,
            description='What the node logs: this level and above',
        ),
        DeclareLaunchArgument(
            'transports',
            default_value=TRANSPORTS[0],
            choices=TRANSPORTS,
            description='How Fast DDS sends large images, unless the environment says it',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='false',
            description='Start the node again where its process has died',
        ),
        DeclareLaunchArgument(
            'rviz', default_value='false', description='Open RViz with the debug image'
        ),
    ]


def _parameter_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            setting.name,
            default_value='',
            description=f'{setting.help}; empty: as params_file says',
            **({'choices': ['', *setting.choices]} if setting.choices else {}),
        )
        for setting in PARAMETERS
    ]


def _start(context: LaunchContext) -> list[Action]:
    """Return all that is to be started, once every argument is found to be usable."""
    _warn_of_misspelt(context)
    return [*_transports(context), *_node(context), *_rviz(context)]


def _warn_of_misspelt(context: LaunchContext) -> None:
    """Warn of names like those of our arguments: launch takes any name without a word.

    Others may be those of a file that includes this one.
    """
    names = [*(argument.name for argument in _arguments()), *(each.name for each in PARAMETERS)]
    for given in sorted(set(context.launch_configurations) - set(names)):
        for meant in difflib.get_close_matches(given, names, 1, MISSPELT):
            launch.logging.get_logger('seg.launch').warning(
                f'{given}: no such argument. Did you mean {meant}?'
            )


def _transports(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """Let Fast DDS deliver large images, for all that is launched from here on; others ignore it.

    With its defaults, most images of 640 x 480 are lost between two processes. shared_memory gives
    the defaults more memory, and finds everybody. large_data, Fast DDS's own remedy, also serves
    images between machines, by TCP; but it and the defaults do not find each other, so every
    process needs it: the camera, RViz and the terminal with `ros2 topic`.
    """
    if any(name in context.environment for name in TRANSPORT_VARIABLES):
        return []  # the user's own choice
    chosen = LaunchConfiguration('transports').perform(context)
    if chosen == 'large_data':
        return [SetEnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')]
    if chosen == 'default':
        return []
    # Fast DDS 3, from Kilted on, has renamed the variable and warns of the old name.
    old = context.environment.get('ROS_DISTRO') in ('humble', 'jazzy')
    return [
        SetEnvironmentVariable(
            'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE',
            str(SHARE / 'config' / 'fastdds.xml'),
        )
    ]


def _node(context: LaunchContext) -> list[LifecycleNode]:
    params_file = LaunchConfiguration('params_file').perform(context)
    if not Path(params_file).is_file():
        raise RuntimeError(f"params_file is '{params_file}': there is no such file")
    respawn = _bool(context, 'respawn')
    # An argument has the last word, but only where it is given.
    given = _parameters(context)
    return [
        LifecycleNode(
            package='instance_seg_ros',
            executable='instance_seg_node',
            name=LaunchConfiguration('node_name'),
            namespace=LaunchConfiguration('namespace'),
            parameters=[params_file, *([given] if given else [])],
            remappings=[('image', LaunchConfiguration('image_topic'))],
            arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
            respawn=respawn,
            respawn_delay=2.0,
            on_exit=None if respawn else _fail_at_start(),
            output='screen',
        )
    ]


def _fail_at_start() -> Callable[[ProcessExited, LaunchContext], None]:
    """Return a handler that ends the launch with a non-zero exit code if the node cannot start."""
    started = time.monotonic()

    def on_exit(event: ProcessExited, context: LaunchContext) -> None:
        running = time.monotonic() - started
        # After that, the other nodes of the launch continue without it.
        if event.returncode != 0 and not context.is_shutdown and running < START_PERIOD:
            raise RuntimeError(
                f'{event.process_name} ended after {running:.1f} s with exit code '
                f'{event.returncode}: its last lines above say why'
            )

    return on_exit


def _rviz(context: LaunchContext) -> list[Node]:
    if not _bool(context, 'rviz'):
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        # launch would stop in the middle of its start, and leave the node behind.
        launch.logging.get_logger('seg.launch').warning(
            'RViz is left out: rviz2 is not installed (apt install ros-$ROS_DISTRO-rviz2)'
        )
        return []
    config = SHARE / 'config' / 'seg.rviz'
    # The configuration names the topics without a namespace, and with the usual name.
    topics = re.findall(r'Value: /instance_seg/(\S+)', config.read_text('utf-8'))
    outputs = _first_outputs(context)
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=LaunchConfiguration('namespace'),
            arguments=['-d', str(config)],
            remappings=[(f'/instance_seg/{topic}', f'{outputs}/{topic}') for topic in topics],
            output='screen',
        )
    ]


def _first_outputs(context: LaunchContext) -> str:
    """Return what the outputs of the first camera begin with, as ros/camera.py names them."""
    name = LaunchConfiguration('node_name').perform(context)
    cameras = [topic for topic in _parameters(context).get('image_topics', []) if topic]
    if not cameras:
        return name
    namespace, slash, _ = cameras[0].removesuffix('/compressed').rpartition('/')
    return f'{namespace}{slash}{name}'


# --- what the arguments say


def _bool(context: LaunchContext, name: str) -> bool:
    setting = Setting(name, False, 'bool', '', Group.LIFECYCLE)
    return bool(setting.convert(LaunchConfiguration(name).perform(context)))


def _parameters(context: LaunchContext) -> dict[str, Any]:
    """Return the parameters that arguments give, in their types."""
    values = {}
    for setting in PARAMETERS:
        text = LaunchConfiguration(setting.name).perform(context)
        if text:
            value = setting.convert(text)
            # A parameter cannot be an empty list: [''] stands for it.
            values[setting.name] = list(value or ('',)) if isinstance(value, tuple) else value
    return values
