# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Places in space: the error of the centre in scenes of known geometry, and milliseconds a frame.

python benchmarks/depth.py

The messages are timed where ROS 2 is sourced (tools/run python benchmarks/depth.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from timing import Contender, Spread, measure

from instance_seg_ros.depth import depth_in_metres, locate
from instance_seg_ros.instances import Instances
from instance_seg_ros.regions import apply_ignore_mask

sys.path.append(str(Path(__file__).resolve().parents[1] / 'test' / 'helpers'))

from boards import CAMERA, board, instances_of, with_background, with_mixed_outlines  # noqa: E402

PARTS = 0.0, 0.1, 0.2, 0.3
HOLES, NOISE = 0.1, 0.003  # parts of the pixels, and of the depth


def errors(boards: int, part: float, mixed: bool) -> np.ndarray:
    """Return the errors of the places of boards, (N, 2).

    The first is the distance of the centre from the true one, in parts of the range; the second how
    much the width or height is wrong, whichever is worse, in parts of itself. What is seen of a
    board counts: the border of the image cuts some.
    """
    rng = np.random.default_rng(1)
    found: list[tuple[float, float]] = []
    while len(found) < boards:
        z = rng.uniform(0.8, 4)
        center = rng.uniform(-0.45, 0.45) * z, rng.uniform(-0.35, 0.35) * z, z
        size, tilt = rng.uniform(0.15, 0.6, 2), rng.uniform(-1, 1)
        mask, depth = board(center, tuple(size), tilt, background=z + rng.uniform(0.1, 3))
        if np.count_nonzero(mask) < 100:
            continue
        low, high = _extent(mask, depth)
        truth, true_size = (low + high) / 2, high - low
        depth = with_mixed_outlines(depth) if mixed else depth
        depth *= 1 + rng.normal(0, NOISE, depth.shape).astype(np.float32)
        depth[rng.random(depth.shape) < HOLES] = 0
        grown = instances_of(with_background(mask, part))
        (place,) = locate(grown, depth_in_metres(depth), CAMERA)
        wrong = np.abs(place.size / true_size - 1)[:2].max()
        off = np.linalg.norm(place.center - truth) / np.linalg.norm(truth)
        found.append((float(off), float(wrong)))
    return np.array(found)


def _extent(mask: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(mask)
    z = depth[rows, columns]
    x, y = (columns - CAMERA.cx) / CAMERA.fx * z, (rows - CAMERA.cy) / CAMERA.fy * z
    points = np.stack([x, y, z])
    return points.min(1), points.max(1)


def features(objects: int) -> dict[str, Contender]:
    """Return what a frame of 640 x 480 with some objects costs beyond its detections."""
    mask, depth = board((0, 0, 2), (1.0, 0.83), 0.3, 4.0)
    raw = (1000 * depth).astype(np.uint16)
    one = instances_of(mask)
    all_of_them = Instances(
        one.boxes.repeat(objects, 0),
        one.scores.repeat(objects),
        one.class_ids.repeat(objects),
        ['board'] * objects,
        one.rois.repeat(objects, 0),
        list(one.masks or []) * objects,
        one.refined.repeat(objects),
        one.image_size,
    )
    ignored = np.zeros(mask.shape, bool)
    ignored[300:] = True
    pixels = f'{np.count_nonzero(mask):,} pixels'
    return {
        'depth to metres': lambda: depth_in_metres(raw),
        f'locate, an object of {pixels}': lambda: locate(one, depth, CAMERA),
        f'class_image, {objects} objects': all_of_them.class_image,
        f'confidence_image, {objects} objects': all_of_them.confidence_image,
        f'ignore mask, {objects} objects': lambda: apply_ignore_mask(all_of_them, ignored),
        **_messages(one, depth, objects),
    }


def _messages(one: Instances, depth: np.ndarray, objects: int) -> dict[str, Contender]:
    try:
        from std_msgs.msg import Header

        from instance_seg_ros.ros.messages_3d import to_detections_3d, to_point_cloud
    except ImportError as error:
        print(f'no messages: {error}', file=sys.stderr)
        return {}
    places = locate(one, depth, CAMERA)
    image = np.zeros((*depth.shape, 3), np.uint8)
    points = f'{len(places[0].points):,} points'
    return {
        f'~/objects as a message, {points}': lambda: to_point_cloud(one, places, image, Header()),
        f'~/detections_3d as a message, {objects} objects': lambda: to_detections_3d(
            one, places * objects, Header()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--boards', type=int, default=200, help='%(default)s')
    parser.add_argument('--objects', type=int, default=10, help='of a frame; %(default)s')
    parser.add_argument('--repeats', type=int, default=50, help='%(default)s')
    options = parser.parse_args()
    print('| outlines | on background | median | 9 of 10 below | above 1 % | worst | size |')
    print('|---|---|---|---|---|---|---|')
    for mixed in (False, True):
        for part in PARTS:
            centers, sizes = 100 * errors(options.boards, part, mixed).T
            median, most, worst = np.percentile(centers, (50, 90, 100))
            print(
                f'| {"mixed" if mixed else "sharp"} | {100 * part:.0f} % | {median:.2f} % | '
                f'{most:.2f} % | {np.count_nonzero(centers > 1)} | {worst:.2f} % | '
                f'{np.median(sizes):.1f} % |',
                flush=True,
            )
    print()
    print('| 640 x 480 | ms (quartiles) |')
    print('|---|---|')
    for name, times in measure(features(options.objects), options.repeats).items():
        print(f'| {name} | {Spread.of(times).text(2)} |')


if __name__ == '__main__':
    main()
