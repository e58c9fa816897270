# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Ends the node by signals at random moments of its start and its work, and counts what goes wrong.

    tools/run python test/helpers/end_by_signals.py --count 200

As root, in a /dev/shm of its own, which shows everything that is left:

    unshare -m bash -c 'mount -t tmpfs none /dev/shm; tools/run python ...; ls /dev/shm'

A node must end with exit code 0 in less than two seconds, and leave nothing in /dev/shm. One in
three nodes gets one signal, one in three a second one 0.1 to 0.25 s later, and one in three both
as a terminal sends them, to its whole process group.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import rclpy

from instance_seg_ros.ros.compatibility import large_images_environment

# Before DDS starts, here and in the node's process.
os.environ.update(large_images_environment())
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))

from ros_harness import Camera, NodeProcess, shared_memory_left, shared_memory_of

PHOTO = Path(__file__).parents[2] / 'demo' / 'photos' / 'astronaut.jpg'
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KINDS = ('one signal', 'two signals', 'two signals to the group')
START = 4.0  # seconds from when signals are handled: imports, DDS, the model
WORK = 2.0  # seconds of a stream of images
LIMIT = 2.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description='signals at random moments')
    parser.add_argument('--count', type=int, default=200, help='nodes to end')
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    choose = random.Random(arguments.seed)
    rclpy.init()
    image = cv2.imread(str(PHOTO))
    log = Path(tempfile.mkdtemp(), 'node.log')
    seconds: list[float] = []
    results: Counter[str] = Counter()
    for index in range(arguments.count):
        kind, number = KINDS[index % 3], choose.choice(SIGNALS)
        process = NodeProcess('signals', log)
        process.wait_for_signal_handlers()
        if index % 2:
            moment = choose.uniform(0, START)
            time.sleep(moment)
            where = f'{moment:.2f} s into its start'
        else:
            moment = choose.uniform(0, WORK)
            stream(process, image, moment)
            where = f'{moment:.2f} s into its work'
        problem, taken = end(process, number, kind, choose.uniform(0.1, 0.25))
        seconds.append(taken)
        results['bad' if problem else 'good'] += 1
        if problem:
            print(f'{signal.Signals(number).name}, {kind}, {where}: {problem}', flush=True)
            print('\n'.join(process.output.splitlines()[-5:]))
    rclpy.try_shutdown()
    seconds.sort()
    print(
        f'{arguments.count} nodes: {dict(results)}; median {seconds[len(seconds) // 2]:.2f} s, '
        f'slowest {seconds[-1]:.2f} s'
    )
    return 0 if set(results) == {'good'} else 1


def stream(process: NodeProcess, image: cv2.typing.MatLike, duration: float) -> None:
    """Wait until the node is ready, and send it images for so long."""
    camera = Camera('signals', process)
    camera.subscribe('detections', 'instance_masks')
    until = time.monotonic() + duration
    while time.monotonic() < until:
        camera.publish(camera.image(image))
        time.sleep(0.05)
    camera.close()


def end(process: NodeProcess, number: int, kind: str, pause: float) -> tuple[str, float]:
    """Send the signals; return what went wrong, empty if nothing, and the seconds it took."""
    files = shared_memory_of(process.process.pid)
    started = time.monotonic()
    for again in range(1 if kind == KINDS[0] else 2):
        if again:
            time.sleep(pause)
        if kind == KINDS[2]:
            process.signal_again(number)
        else:
            process.process.send_signal(number)
    code = process.wait()
    taken = time.monotonic() - started
    problems = [f'exit code {code}'] if code else []
    if taken >= LIMIT:
        problems.append(f'{LIMIT:g} s or more')
    left = shared_memory_left(files)
    if left:
        problems.append(f'left: {", ".join(sorted(left))}')
    if 'Traceback' in process.output:
        problems.append('traceback')
    return ', '.join(problems), taken


if __name__ == '__main__':
    sys.exit(main())
