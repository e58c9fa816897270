# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Shows the node at work: a camera with sample photos, the node and RViz.

`ros2 launch instance_seg_ros demo.launch.py`; all arguments of seg.launch.py but image_topics work
here, too.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from instance_seg_ros.ros.settings import USE_SIM_TIME
from launch import LaunchContext, LaunchDescription

SEG_LAUNCH_FILE = Path(__file__).parent / 'seg.launch.py'


def generate_launch_description() -> LaunchDescription:
    """Describe the node, RViz and the camera."""
    arguments = [
        DeclareLaunchArgument(
            'rate', default_value='1.0', description='Photos per second of the sample camera'
        ),
        # Before seg.launch.py declares it with another default.
        DeclareLaunchArgument(
            'rviz',
            default_value='true',
            description='Open RViz with the debug image, where it is installed',
        ),
    ]
    # It sees our arguments. It also sets the transports, so the camera comes after it.
    node = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(SEG_LAUNCH_FILE)))
    return LaunchDescription([*arguments, node, OpaqueFunction(function=_camera)])


def _camera(context: LaunchContext) -> list[Node]:
    # As the node has it: stamps of two clocks have no age.
    sim_time = LaunchConfiguration(USE_SIM_TIME.name).perform(context)
    return [
        Node(
            package='instance_seg_ros',
            executable='sample_camera',
            name='camera',
            namespace=LaunchConfiguration('namespace'),
            parameters=[{USE_SIM_TIME.name: USE_SIM_TIME.convert(sim_time)}] if sim_time else [],
            remappings=[
                ('image', LaunchConfiguration('image_topic')),
                ('image/compressed', [LaunchConfiguration('image_topic'), '/compressed']),
            ],
            arguments=['--rate', LaunchConfiguration('rate')],
            output='screen',
        )
    ]
