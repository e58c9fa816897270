# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The launch file, where ROS 2's launch is installed."""
import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from ros_harness import Camera, NodeProcess

pytest.importorskip('launch_ros', reason='launch is not installed')

LAUNCH_FILE = Path(get_package_share_directory('instance_seg_ros'), 'launch', 'seg.launch.py')


def test_each_argument_is_described() -> None:
    from launch.actions import DeclareLaunchArgument
    spec = importlib.util.spec_from_file_location('seg_launch', LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = [
        entity for entity in module.generate_launch_description().entities
        if isinstance(entity, DeclareLaunchArgument)]
    assert [argument.name for argument in arguments] == [
        'image_topic', 'params_file', 'model', 'namespace', 'log_level', 'rviz']
    assert all(argument.description for argument in arguments)


class LaunchProcess(NodeProcess):
    """The node as `ros2 launch` starts it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                ['ros2', 'launch', 'instance_seg_ros', LAUNCH_FILE.name, *arguments],
                stdout=output, stderr=subprocess.STDOUT,
                env=dict(os.environ, PYTHONUNBUFFERED='1'))


def test_the_launched_node_answers(tmp_path: Path, photo) -> None:
    process = LaunchProcess(tmp_path / 'log.txt', 'namespace:=launched', 'image_topic:=image')
    try:
        camera = Camera('launched', process)
        camera.subscribe('detections')
        image = camera.image(photo)
        assert camera.ask(image)['detections'].header == image.header
        camera.close()
        process.stop(signal.SIGINT)
        assert 'finished cleanly' in process.output
    finally:
        process.kill()
