# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Collects what the node answers to each photo, writes pictures and prints a table."""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from contact_sheet import contact_sheet
from photos import load_photos
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.ros.image_codec import to_bgr8

TOPICS = {'detections': Detection2DArray, 'instance_masks': InstanceMaskArray, 'debug_image': Image}


@dataclass
class Record:
    """What came back for one photo."""

    picture: np.ndarray
    found: list[str]
    latencies: list[float] = field(default_factory=list)

    def latency(self) -> float:
        """Median time from the image's stamp to the last of its results, in milliseconds."""
        return statistics.median(self.latencies)


class Recorder(Node):
    """Joins the results of each image by its stamp."""

    def __init__(self) -> None:
        super().__init__('recorder')
        self.records: dict[str, Record] = {}
        self._parts: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
        for topic, message_type in TOPICS.items():
            self.create_subscription(
                message_type,
                f'instance_seg/{topic}',
                lambda message, topic=topic: self._on_result(topic, message),
                10,
            )

    def _on_result(self, topic: str, message: Any) -> None:
        stamp = message.header.stamp
        parts = self._parts[stamp.sec, stamp.nanosec]
        parts[topic] = message
        if len(parts) == len(TOPICS):
            del self._parts[stamp.sec, stamp.nanosec]
            self._add(parts)

    def _add(self, parts: dict[str, Any]) -> None:
        header = parts['debug_image'].header
        age = self.get_clock().now() - Time.from_msg(header.stamp)
        found = [
            f'{mask.class_name} {detection.results[0].hypothesis.score:.2f}'
            for detection, mask in zip(
                parts['detections'].detections, parts['instance_masks'].masks, strict=True
            )
        ]
        record = self.records.setdefault(
            header.frame_id, Record(to_bgr8(parts['debug_image']), found)
        )
        record.latencies.append(age.nanoseconds / 1e6)


def record(names: set[str], timeout: float) -> dict[str, Record]:
    """Wait until there is an answer to every photo.

    Raises:
        TimeoutError: if some are missing; the text names them.
    """
    recorder = Recorder()
    deadline = time.monotonic() + timeout
    while names - set(recorder.records):
        if time.monotonic() > deadline:
            missing = ', '.join(sorted(names - set(recorder.records)))
            raise TimeoutError(f'no answer to {missing} within {timeout:.0f} s')
        rclpy.spin_once(recorder, timeout_sec=1.0)
    return recorder.records


def write_pictures(records: dict[str, Record], folder: Path) -> None:
    """Write each annotated photo and the contact sheet as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    titled = {}
    for name, item in sorted(records.items()):
        cv2.imwrite(str(folder / f'{name}.png'), item.picture)
        titled[f'{name}: {len(item.found)} found, {item.latency():.0f} ms'] = item.picture
    cv2.imwrite(str(folder / 'contact_sheet.png'), contact_sheet(titled))


def print_table(records: dict[str, Record]) -> None:
    """Print frame, latency and detections."""
    width = max(len(name) for name in records)
    print(f'{"frame":{width}}  {"size":>9}  {"latency":>8}  detections')
    for name, item in sorted(records.items()):
        size = f'{item.picture.shape[1]}x{item.picture.shape[0]}'
        found = ', '.join(item.found) or '-'
        print(f'{name:{width}}  {size:>9}  {item.latency():>5.0f} ms  {found}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=Path, required=True, help='folder for the pictures')
    parser.add_argument('--timeout', type=float, default=120.0, help='seconds')
    arguments, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    try:
        records = record(set(load_photos()), arguments.timeout)
    except TimeoutError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        rclpy.try_shutdown()
    write_pictures(records, arguments.output)
    print_table(records)
    return 0


if __name__ == '__main__':
    sys.exit(main())
