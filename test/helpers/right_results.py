# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Whether a node gives right results, and what its log says of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from ros_harness import Camera, NodeProcess, pixels_of

from instance_seg_ros.instances import Instances

SETTINGS = {'confidence_threshold': 0.3, 'refiner': 'none'}
LONG = 20.0  # seconds for a frame, on a machine that does much else


def is_right(answers: dict[str, Any], expected: Instances) -> bool:
    """Compare detections and label image with what the library finds."""
    boxes = [
        (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y)
        for d in answers['detections'].detections
    ]
    x1, y1, x2, y2 = expected.boxes.T
    wanted = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    return (
        len(boxes) == len(wanted)
        and np.allclose(boxes, wanted, rtol=1e-3, atol=0.1)
        and np.array_equal(pixels_of(answers['label_image']), expected.label_image())
    )


def answer(camera: Camera, message: Any) -> dict[str, Any]:
    """Publish once; return the answers by topic, as far as they come."""
    camera.publish(message)
    found: dict[str, Any] = {}

    def all_there() -> bool:
        found.update(
            (topic, each)
            for topic in ('detections', 'label_image')
            for each in camera.received[topic]
            if each.header == message.header
        )
        return len(found) == 2

    camera.wait_for(all_there, LONG)
    return found


def assert_right_again(camera: Camera, photo: np.ndarray, expected: Instances) -> None:
    """One of the next two frames must give the right results."""
    for _ in range(2):
        found = answer(camera, camera.image(photo))
        if len(found) == 2 and is_right(found, expected):
            return
    raise AssertionError(f'no right results within two frames; {camera.process.state}')


def problems(process: NodeProcess, since: str = '') -> list[str]:
    """Return the lines of the log that are warnings or worse, after an earlier state of the log."""
    lines = process.output[len(since) :].splitlines()
    return [line for line in lines if 'INFO' not in line and line.strip()]
