# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Starts the node: `ros2 launch instance_seg_ros seg.launch.py image_topic:=/camera/image_raw`."""
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

# This file is installed as share/instance_seg_ros/launch/seg.launch.py.
SHARE = Path(__file__).parent.parent
LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal']


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the node, and RViz where it is asked for."""
    arguments = [
        DeclareLaunchArgument(
            'image_topic', default_value='image',
            description='Topic of the camera images (sensor_msgs/Image)'),
        DeclareLaunchArgument(
            'params_file', default_value=str(SHARE / 'config' / 'seg.yaml'),
            description='YAML file with the parameters of the node'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='Name of a model, or path of its manifest; empty: as params_file says'),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its topics'),
        DeclareLaunchArgument(
            'log_level', default_value='info', choices=LOG_LEVELS,
            description='What the node logs: this level and above'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description='Open RViz with the debug image'),
    ]
    # Fast DDS loses most large images between processes with its default transports.
    transports = SetEnvironmentVariable(
        'FASTDDS_BUILTIN_TRANSPORTS',
        EnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', default_value='LARGE_DATA'))
    return LaunchDescription([*arguments, transports, OpaqueFunction(function=_node), _rviz()])


def _node(context: LaunchContext) -> list[Node]:
    model = LaunchConfiguration('model').perform(context)
    return [Node(
        package='instance_seg_ros', executable='instance_seg_node', name='instance_seg',
        namespace=LaunchConfiguration('namespace'),
        # The argument has the last word, but only where it is given.
        parameters=[LaunchConfiguration('params_file'), *([{'model': model}] if model else [])],
        remappings=[('image', LaunchConfiguration('image_topic'))],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
        output='screen',
    )]


def _rviz() -> Node:
    return Node(
        package='rviz2', executable='rviz2', namespace=LaunchConfiguration('namespace'),
        condition=IfCondition(LaunchConfiguration('rviz')),
        arguments=['-d', str(SHARE / 'config' / 'seg.rviz')],
        # The configuration names the topic without a namespace.
        remappings=[('/instance_seg/debug_image', 'instance_seg/debug_image')],
        output='screen',
    )
