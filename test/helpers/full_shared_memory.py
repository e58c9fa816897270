# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node while /dev/shm is full: run as root in a /dev/shm of its own, of 64 MB as Docker gives.

    unshare -m bash -c 'mount -t tmpfs -o size=64m tmpfs /dev/shm; tools/run python ...'

Exit code 0 if the node goes on without memory for others, and is right when there is some again.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import rclpy

from instance_seg_ros.ros.compatibility import large_images_environment

os.environ.update(large_images_environment())  # before DDS starts

from ros_harness import Camera, NodeProcess, kill_process, pixels_of

PHOTO = Path(__file__).parents[2] / 'demo' / 'photos' / 'astronaut.jpg'
FILLER = Path('/dev/shm/filler')


def fill() -> None:
    """Write until there is no space."""
    with FILLER.open('wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass


def main() -> int:
    rclpy.init()
    photo = cv2.resize(cv2.imread(str(PHOTO)), (320, 320))
    log = Path(tempfile.mkdtemp(), 'log')
    node = NodeProcess('full', log, model='person_mask_rcnn', confidence_threshold=0.3)
    try:
        camera = Camera('full', node)
        camera.subscribe('label_image')
        expected = pixels_of(camera.ask(camera.image(photo))['label_image'])
        fill()
        for _ in range(5):
            camera.publish(camera.image(cv2.resize(photo, (1600, 1200))))
            camera.wait_for(lambda: False, 0.5)
        script = Path(__file__).with_name('stuck_subscriber.py')
        newcomer = subprocess.Popen(  # gets no shared memory
            [sys.executable, str(script), '/full/instance_seg'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        topic = '/full/instance_seg/instance_masks'
        camera.wait_for(lambda: camera.node.count_subscribers(topic) > 0, 20.0)
        camera.publish(camera.image(photo))
        camera.wait_for(lambda: False, 1.0)
        kill_process(newcomer)
        FILLER.unlink()
        found = pixels_of(camera.ask(camera.image(photo))['label_image'])
        camera.close()
        problems = [line for line in node.output.splitlines() if 'instance_seg]' in line
                    and 'INFO' not in line]  # fmt: skip
        print(*problems, sep='\n')
        code = node.stop()
        print('right:', (found == expected).all(), 'exit code:', code)
        return int(code != 0 or not (found == expected).all() or len(problems) > 1)
    finally:
        node.kill()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
