# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Starts the node: `ros2 launch instance_seg_ros seg.launch.py image_topic:=/camera/image_raw`.

The node activates itself. With `autostart:=false` a lifecycle manager does that, or this launch
system: its ChangeState events find the node by its name.
"""

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from instance_seg_ros.ros.settings import all_settings
from launch import LaunchContext, LaunchDescription

# This file is installed as share/instance_seg_ros/launch/seg.launch.py.
SHARE = Path(__file__).parent.parent
LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal']
BOOLS = ['true', 'false']
TRANSPORTS = ['large_data', 'shared_memory', 'default']
# Where one of these is set, the user has chosen how Fast DDS sends.
TRANSPORT_VARIABLES = (
    'FASTDDS_BUILTIN_TRANSPORTS',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
)
# The arguments that set a parameter of the node: name, type, description and choices. None has a
# default here, so that there is but one default, in params_file. The settings need neither rclpy
# nor OpenCV, which may be in a virtual environment that `ros2 launch` runs outside of.
PARAMETERS: list[tuple[str, Any, str, list[str]]] = [
    (
        setting.name,
        list[str] if setting.kind is tuple else setting.kind,
        setting.help,
        BOOLS if setting.kind is bool else list(setting.choices),
    )
    for setting in all_settings()
]
PARAMETERS.append(
    ('use_sim_time', bool, 'Take the time from /clock, as in a simulation or with a bag', BOOLS)
)


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the node, and RViz where it is asked for."""
    return LaunchDescription(
        [
            *_arguments(),
            *_parameter_arguments(),
            OpaqueFunction(function=_transports),
            OpaqueFunction(function=_node),
            _rviz(),
        ]
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
            choices=BOOLS,
            description='Start the node again where its process has died',
        ),
        DeclareLaunchArgument(
            'rviz',
            default_value='false',
            choices=BOOLS,
            description='Open RViz with the debug image',
        ),
    ]


def _parameter_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            name,
            default_value='',
            description=f'{description}; empty: as params_file says',
            **({'choices': ['', *choices]} if choices else {}),
        )
        for name, _, description, choices in PARAMETERS
    ]


def _transports(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """Let Fast DDS deliver large images, for all that is launched from here on; others ignore it.

    With its defaults, most images of 640 x 480 are lost between two processes. large_data, Fast
    DDS's own remedy, also serves images between machines, by TCP; but it and the defaults do not
    find each other, so every process needs it: the camera, RViz and the terminal with `ros2 topic`.
    shared_memory gives the defaults more of that, and finds everybody.
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
    # An argument has the last word, but only where it is given.
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=value_type)
        for name, value_type, _, _ in PARAMETERS
        if LaunchConfiguration(name).perform(context)
    }
    return [
        LifecycleNode(
            package='instance_seg_ros',
            executable='instance_seg_node',
            name=LaunchConfiguration('node_name'),
            namespace=LaunchConfiguration('namespace'),
            parameters=[LaunchConfiguration('params_file'), *([given] if given else [])],
            remappings=[('image', LaunchConfiguration('image_topic'))],
            arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
            respawn=LaunchConfiguration('respawn'),
            respawn_delay=2.0,
            output='screen',
        )
    ]


def _rviz() -> Node:
    name = LaunchConfiguration('node_name')
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        condition=IfCondition(LaunchConfiguration('rviz')),
        arguments=['-d', str(SHARE / 'config' / 'seg.rviz')],
        # The configuration names the topics without a namespace, and with the usual name.
        remappings=[
            (f'/instance_seg/{topic}', [name, f'/{topic}'])
            for topic in ('debug_image', 'label_image')
        ],
        output='screen',
    )
