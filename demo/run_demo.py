# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Sample photos through the real node: camera, node and recorder as processes of their own."""

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ament_index_python.packages import get_package_prefix

from instance_seg_ros.ros.compatibility import large_images_environment

HERE = Path(__file__).resolve().parent
NAMESPACE = '/instance_seg_demo'
SHUTDOWN_TIMEOUT = 20.0  # seconds


def environment() -> dict[str, str]:
    """Return the variables for all processes; what the user has set stays."""
    variables = {
        # With its defaults, Fast DDS loses most large images between processes.
        **large_images_environment(),
        # The demo talks to nobody else. (ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST would be the other
        # way, but it makes rmw_fastrtps ignore the profile above.)
        'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
    }
    return {**variables, **os.environ}


def node_command() -> list[str]:
    """Return what starts the node: the launch file where ROS 2's launch is installed."""
    if shutil.which('ros2') and importlib.util.find_spec('ros2launch'):
        return ['ros2', 'launch', 'instance_seg_ros', 'seg.launch.py', f'namespace:={NAMESPACE}']
    prefix = Path(get_package_prefix('instance_seg_ros'))
    return [
        str(prefix / 'lib' / 'instance_seg_ros' / 'instance_seg_node'),
        '--ros-args',
        '-r',
        f'__ns:={NAMESPACE}',
        '--params-file',
        str(prefix / 'share' / 'instance_seg_ros' / 'config' / 'seg.yaml'),
    ]


def script_command(name: str, *arguments: str) -> list[str]:
    """Return what starts one of the scripts of this folder."""
    return [sys.executable, str(HERE / name), *arguments, '--ros-args', '-r', f'__ns:={NAMESPACE}']


def wait_for_recorder(
    recorder: 'subprocess.Popen[bytes]', others: 'list[subprocess.Popen[bytes]]'
) -> int:
    """Return the exit code of the recorder; 1 if another process ends before it."""
    while recorder.poll() is None:
        if any(process.poll() is not None for process in others):
            print('error: the camera or the node has ended early, see above', file=sys.stderr)
            recorder.terminate()
            return 1
        time.sleep(0.1)
    return recorder.returncode


def stop(process: 'subprocess.Popen[bytes]') -> int:
    """Interrupt a process as Ctrl-C would, and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(SHUTDOWN_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        print(f'error: {process.args!r} did not end when interrupted', file=sys.stderr)
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=Path, default=Path('demo_output'), help='for the pictures')
    arguments = parser.parse_args()
    commands = [
        script_command('recorder.py', '--output', str(arguments.output)),
        node_command(),
        script_command('camera.py'),
    ]
    processes = [subprocess.Popen(command, env=environment()) for command in commands]
    recorder, *others = processes
    try:
        code = wait_for_recorder(recorder, others)
    except KeyboardInterrupt:
        code = 130
    ends = [stop(process) for process in processes]
    if code == 0 and any(ends):
        print(f'error: exit codes {ends} where 0 was expected', file=sys.stderr)
        return 1
    if code == 0:
        print(f'The pictures are in {arguments.output}/, all of them in contact_sheet.png')
    return code


if __name__ == '__main__':
    sys.exit(main())
