# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node in its own process over DDS, in the words of ros2_benchmark.

Images are sent at a fixed rate, as a camera does, and the results received; then one at a time, to
see what the node adds to the time that its own Segmenter needs for the very same images.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray
from library import COCO_LABELS, FullSizeModel, Run, photo
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from timing import Spread
from vision_msgs.msg import Detection2DArray

from instance_seg_ros import Segmenter
from instance_seg_ros.msg import InstanceMaskArray
from instance_seg_ros.ros.compatibility import large_images_environment
from instance_seg_ros.ros.image_codec import to_message
from instance_seg_ros.ros.statistics import LEAST_SAMPLES, WINDOW

# Before DDS starts, here and in the node's process.
os.environ.update(large_images_environment())
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))

TOPICS: dict[str, Any] = {'detections': Detection2DArray, 'instance_masks': InstanceMaskArray}
LOST_AFTER = 10.0  # seconds
OPTIONS = {'parallel_nets': 2, 'low_memory': 'true', 'refiner': 'gan'}  # each is measured, too
START_UP = 60.0
SMALL_SIZES = ((160, 120), (200, 150), (128, 160), (240, 180))


class NodeProcess:
    """A node in a process of its own, and what that process uses."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command)
        self._usage = psutil.Process(self._process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time so far."""
        used = self._usage.cpu_times()
        return used.user + used.system

    def memory(self) -> float:
        """Return the resident memory, MB."""
        return self._usage.memory_info().rss / 1e6

    def peak_memory(self) -> float:
        """Return the largest resident memory so far, MB."""
        status = Path(f'/proc/{self._process.pid}/status').read_text()
        return next(
            float(line.split()[1]) * 1024 / 1e6
            for line in status.splitlines()
            if line.startswith('VmHWM')
        )

    def close(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Client:
    """Sends images to the node and notes when which result arrives."""

    def __init__(self) -> None:
        self._node = rclpy.create_node('benchmark')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._publisher = self._node.create_publisher(Image, 'image', qos_profile_sensor_data)
        self.received: dict[str, dict[int, float]] = {topic: {} for topic in TOPICS}
        self.sizes: dict[str, int] = {}
        for topic, message_type in TOPICS.items():
            self._node.create_subscription(
                message_type,
                f'instance_seg/{topic}',
                lambda message, topic=topic: self._note(topic, message),
                5,
            )
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 5)
        self.diagnostics: dict[str, str] = {}
        self._number = 0

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.diagnostics = {
            pair.key: pair.value for status in message.status for pair in status.values
        }

    def _note(self, topic: str, message: Any) -> None:
        self.received[topic][message.header.stamp.sec] = time.perf_counter()
        if topic not in self.sizes:  # once: the next result of the same image may be waiting
            self.sizes[topic] = len(serialize_message(message))

    def send(self, image: NDArray[np.uint8]) -> tuple[int, float]:
        """Publish an image; return its number, which its results carry, and when it was sent."""
        self._number += 1
        header = Header(frame_id='camera')
        header.stamp.sec = self._number
        message = to_message(image, 'bgr8', header)
        self.sizes['image'] = len(message.data)
        sent = time.perf_counter()
        self._publisher.publish(message)
        return self._number, sent

    def complete(self, number: int) -> float | None:
        """Return when the last of an image's results arrived; None where one is missing."""
        times = [arrived.get(number) for arrived in self.received.values()]
        return None if None in times else max(time for time in times if time is not None)

    def spin_until(self, deadline: float) -> None:
        """Receive until then."""
        while (left := deadline - time.perf_counter()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def ask(self, image: NDArray[np.uint8]) -> dict[str, float] | None:
        """Send one image and wait for its results.

        Returns:
            Milliseconds until each arrived, by topic; None where one was lost.
        """
        number, sent = self.send(image)
        while self.complete(number) is None:
            self._executor.spin_once(timeout_sec=0.5)
            if time.perf_counter() - sent > LOST_AFTER:
                return None
        return {topic: 1e3 * (arrived[number] - sent) for topic, arrived in self.received.items()}

    def wait_for_node(self, image: NDArray[np.uint8]) -> None:
        """Send images until the first is answered."""
        deadline = time.perf_counter() + START_UP
        while self._publisher.get_subscription_count() == 0 or self.ask(image) is None:
            self.spin_until(time.perf_counter() + 0.1)
            if time.perf_counter() > deadline:
                raise RuntimeError(f'the node did not answer within {START_UP:.0f} s')

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()


def real_node(parameters: Mapping[str, Any]) -> list[str]:
    """Return the command that starts the node."""
    script = Path(get_package_prefix('instance_seg_ros'), 'lib', 'instance_seg_ros')
    options = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    return [str(script / 'instance_seg_node'), '--ros-args', *options]


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[NodeProcess, Client]]:
    rclpy.init()
    process, client = NodeProcess(command), Client()
    try:
        yield process, client
    finally:
        client.close()
        process.close()
        rclpy.try_shutdown()


def play(
    image: NDArray[np.uint8], rate: float, seconds: float, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Send images at ``rate`` Hz to a node and return what ros2_benchmark reports."""
    with _running(real_node(parameters)) as (process, client):
        client.wait_for_node(image)
        steady, cpu, started = process.memory(), process.cpu_seconds(), time.perf_counter()
        sent = {}
        for frame in range(round(rate * seconds)):
            client.spin_until(started + frame / rate)
            number, moment = client.send(image)
            sent[number] = moment
        client.spin_until(time.perf_counter() + min(LOST_AFTER, 3.0))
        wall = time.perf_counter() - started
        cpu = (process.cpu_seconds() - cpu) / wall
        arrived = {n: t for n in sent if (t := client.complete(n)) is not None}
        figures = _figures(sent, arrived)
        return figures | {
            'input_rate_hz': rate,
            'cpu_percent_of_a_core': 100 * cpu,
            'memory_start_mb': steady,
            'memory_end_mb': process.memory(),
            'memory_peak_mb': process.peak_memory(),
            'bytes_per_message': dict(client.sizes),
        }


def _figures(sent: Mapping[int, float], arrived: Mapping[int, float]) -> dict[str, Any]:
    if len(arrived) < 3:
        raise RuntimeError(f'only {len(arrived)} of {len(sent)} images were answered')
    latencies = np.array([1e3 * (arrived[n] - sent[n]) for n in arrived])
    intervals = 1e3 * np.diff(sorted(arrived.values()))
    jitter = np.abs(np.diff(intervals))
    return {
        'mean_frame_rate_hz': 1e3 / float(intervals.mean()),
        'sent_frames': len(sent),
        'missed_frames': len(sent) - len(arrived),
        'first_sent_to_received_ms': float(latencies[0]),
        'last_sent_to_received_ms': float(latencies[-1]),
        'mean_sent_to_received_ms': float(latencies.mean()),
        'max_jitter_ms': float(jitter.max()),
        'mean_jitter_ms': float(jitter.mean()),
        'std_jitter_ms': float(jitter.std()),
    }


def added_latency(
    image: NDArray[np.uint8], rounds: int, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Send images one at a time, and compare with the time that the node's Segmenter had of it.

    That time is what the node tells on /diagnostics: both are means over the same frames, so a
    disturbance of the network counts on both sides.
    """
    with _running(real_node(parameters)) as (_, client):
        client.wait_for_node(image)
        found: list[dict[str, float]] = []
        while len(found) < rounds:
            means = _round(client, image)
            if means is not None:
                found.append(means)
    columns = {key: np.array([means[key] for means in found]) for key in found[0]}
    columns['added_ms'] = columns['through_node_ms'] - columns['segmenter_ms']
    return {key: asdict(Spread.of(values)) for key, values in columns.items()}


def _round(client: Client, image: NDArray[np.uint8]) -> dict[str, float] | None:
    """Return means over some frames; None where one was lost, or the node's means have others."""
    client.spin_until(time.perf_counter() + WINDOW + 1)  # earlier frames leave the node's means
    before = int(client.diagnostics['frames_processed'])
    started = time.perf_counter()
    latencies: list[dict[str, float]] = []
    while len(latencies) < LEAST_SAMPLES or time.perf_counter() - started < WINDOW / 3:
        latency = client.ask(image)
        if latency is None:
            return None
        latencies.append(latency)
    client.spin_until(time.perf_counter() + 2)  # the next diagnostics
    told = client.diagnostics
    if int(told['frames_processed']) != before + len(latencies):
        return None
    if time.perf_counter() - started > WINDOW and len(latencies) > LEAST_SAMPLES:
        return None
    return {
        'through_node_ms': float(np.mean([max(times.values()) for times in latencies])),
        'boxes_through_node_ms': float(np.mean([times['detections'] for times in latencies])),
        'segmenter_ms': _sum(told, 'detect_ms', 'masks_ms', 'refine_ms'),
        'convert_and_publish_ms': _sum(told, 'convert_ms', 'publish_ms'),
    }


def _sum(told: Mapping[str, str], *keys: str) -> float:
    return sum(float(told[key] or 0) for key in keys)


def measure_growth(frames: int) -> dict[str, Any]:
    """Send many small images of changing size, one at a time, and watch the node's memory.

    The first tenth is not counted: memory that is reused from then on.
    """
    images = [photo(*size) for size in SMALL_SIZES]
    samples = []
    command = real_node(
        {'model': 'person_mask_rcnn', 'confidence_threshold': 0.1, 'refiner': 'smooth'}
    )
    with _running(command) as (process, client):
        client.wait_for_node(images[0])
        lost = 0
        for frame in range(frames):
            lost += client.ask(images[frame % len(images)]) is None
            if frame % max(1, frames // 100) == 0:
                samples.append(process.memory())
    counted = samples[len(samples) // 10 :]
    fifth = max(1, len(counted) // 5)
    before, after = np.median(counted[:fifth]), np.median(counted[-fifth:])
    return {
        'frames': frames,
        'lost_frames': lost,
        'memory_mb': samples,
        'before_mb': float(before),
        'after_mb': float(after),
        'growth': float(after / before - 1),
    }


def measure_node(
    sizes: Sequence[tuple[int, int]], rate: float, seconds: float, repeats: int, count: int = 10
) -> Iterator[dict[str, Any]]:
    """Yield a record for each model and size of image; plain masks go as run-lengths.

    Args:
        sizes: (width, height) of the images.
        rate: of the images sent, Hz.
        seconds: so long they are sent.
        repeats: of the measurement one by one.
        count: instances that about survive.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = FullSizeModel(Path(folder))
        full: dict[str, Any] = {
            'model_path': str(model.weights),
            'text_graph_path': str(model.text_graph),
            'labels_path': str(COCO_LABELS),
        }
        models = {'person_mask_rcnn': {'model': 'person_mask_rcnn'}, 'full size': full}
        for name, files in models.items():
            for width, height in sizes:
                image = photo(width, height)
                threshold = Run(Segmenter(**files), image, count).confidence_threshold
                parameters = {
                    **files,
                    'confidence_threshold': threshold,
                    'refiner': 'none',
                    'mask_encoding': 'rle',
                }
                played = play(image, rate, seconds, parameters)
                yield {
                    'model': name,
                    'width': width,
                    'height': height,
                    **played,
                    'options': {
                        f'{option}: {value}': play(
                            image, rate, seconds, {**parameters, option: value}
                        )
                        for option, value in OPTIONS.items()
                    },
                    **added_latency(image, repeats, parameters),
                }
