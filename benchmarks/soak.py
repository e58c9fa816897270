# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node under the load of fast cameras for hours: bounds, a table and plots.

    make soak HOURS=0.2
    make soak HOURS=0.2 SOAK='--cameras 2 --tracking --depth --engine onnxruntime'

All processes share two cores. Each is one of: the node, a camera of 60 Hz and 1920 x 1080, a caller
of services, and this one, which receives the results. Exit code 1 where a bound is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node import NodeProcess, real_node
from rclpy.executors import SingleThreadedExecutor
from soak_report import Sample, report
from vision_msgs.msg import Detection2DArray, Detection3DArray

from instance_seg_ros.msg import InstanceMaskArray

HERE = Path(__file__).parent
NAMESPACES = ('front', 'rear')
START_UP = 120.0  # seconds
PROCESSORS = 2


@dataclass
class Watch:
    """What is seen of the node, from all threads.

    Attributes:
        started: seconds of the steady clock.
        samples: one a second.
        service_ms: seconds since the start, service, milliseconds and whether it was answered.
        frames: received results of each camera.
        out_of_order: results whose stamp is not above that of the result before.
        stamps: of the last result of each camera.
        diagnostics: the newest values, by camera.
        sent: images that each camera has sent.
    """

    started: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    service_ms: list[tuple[float, str, float, bool]] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    out_of_order: int = 0
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def on_result(self, camera: str, message: Any) -> None:
        """Count a result."""
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        self.out_of_order += stamp <= self.stamps.get(camera, (0, 0))
        self.stamps[camera] = stamp
        self.frames[camera] = self.frames.get(camera, 0) + 1

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the newest values of each camera."""
        for status in message.status:
            camera = status.name.rpartition(': ')[2]
            if camera != 'model':
                self.diagnostics[camera] = {pair.key: pair.value for pair in status.values}

    def read_services(self, pipe: Any) -> None:
        """Read what the caller of services prints."""
        for line in pipe:
            with suppress(ValueError):
                found = json.loads(line)
                answer = found['service'], found['ms'], found['answered']
                self.service_ms.append((self.now, *answer))

    def read_camera(self, name: str, pipe: Any) -> None:
        """Read what a camera prints."""
        for line in pipe:
            with suppress(ValueError):
                self.sent[name] = int(line)


def main() -> int:
    """Load the node, and report."""
    arguments = _arguments()
    keep_to_few_processors()
    names = NAMESPACES[: arguments.cameras]
    watch = Watch()
    with _processes(arguments, names, watch) as node_process:
        _watch(arguments, names, watch, node_process)
    arguments.output.mkdir(parents=True, exist_ok=True)
    return report(watch, vars(arguments), arguments.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='the node under the load of fast cameras')
    parser.add_argument('--hours', type=float, default=0.17)
    parser.add_argument('--warm-up', type=float, help='seconds; by default a fifth of the time')
    parser.add_argument('--width', type=int, default=1920)
    parser.add_argument('--height', type=int, default=1080)
    parser.add_argument('--rate', type=float, default=60.0, help='of each camera, Hz')
    parser.add_argument('--cameras', type=int, default=1, choices=(1, 2))
    parser.add_argument('--tracking', action='store_true')
    parser.add_argument('--depth', action='store_true', help='places in space, too')
    parser.add_argument('--engine', default='auto', choices=('auto', 'opencv', 'onnxruntime'))
    parser.add_argument('--model', default='auto')
    parser.add_argument('--refiner', default='auto')
    parser.add_argument('--output', type=Path, default=Path('soak_output'))
    arguments = parser.parse_args()
    if arguments.warm_up is None:
        arguments.warm_up = max(15.0, 720 * arguments.hours)
    return arguments


def keep_to_few_processors() -> None:
    """Keep this process and those that it starts to two cores."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(allowed[:PROCESSORS]))


@contextmanager
def _processes(
    arguments: argparse.Namespace, names: tuple[str, ...], watch: Watch
) -> Iterator[NodeProcess]:
    rclpy.init()
    process = NodeProcess(real_node(_parameters(arguments, names)))
    others: list[subprocess.Popen[str]] = []
    try:
        for name in names:
            size = ['--width', str(arguments.width), '--height', str(arguments.height)]
            options = [*size, '--rate', str(arguments.rate), *['--depth'] * arguments.depth]
            camera = _start('soak_camera.py', f'/{name}/image', *options)
            others.append(camera)
            _read(watch.read_camera, name, camera.stdout)
        services = _start('soak_services.py', '/instance_seg')
        others.append(services)
        _read(watch.read_services, services.stdout)
        yield process
    finally:
        process.close()
        for other in others:
            _end(other)
        rclpy.try_shutdown()


def _parameters(arguments: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    topics = ', '.join(f"'/{name}/image'" for name in names)
    parameters: dict[str, Any] = {
        'image_topics': f'[{topics}]',
        'model': arguments.model,
        'refiner': arguments.refiner,
        'engine': arguments.engine,
        'tracking': str(arguments.tracking).lower(),
    }
    if arguments.depth:
        parameters |= {'depth_topic': 'depth', 'camera_info_topic': 'depth_info'}
    return parameters


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()


def _ignore(message: Any) -> None:
    """Receive, so that it is computed."""


def _start(script: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *options], stdout=subprocess.PIPE, text=True
    )


def _read(function: Any, *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _watch(
    arguments: argparse.Namespace, names: tuple[str, ...], watch: Watch, process: NodeProcess
) -> None:
    node = rclpy.create_node('soak')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.create_subscription(DiagnosticArray, '/diagnostics', watch.on_diagnostics, 5)
    topics: dict[str, Any] = {'instance_masks': InstanceMaskArray, 'detections': Detection2DArray}
    if arguments.depth:
        topics['detections_3d'] = Detection3DArray
    for name in names:
        results = partial(watch.on_result, name)
        for topic, kind in topics.items():
            take = results if topic == 'detections' else _ignore
            node.create_subscription(kind, f'/{name}/instance_seg/{topic}', take, 5)
    deadline = time.monotonic() + START_UP
    while len(watch.frames) < len(names):
        executor.spin_once(timeout_sec=0.5)
        if time.monotonic() > deadline:
            raise SystemExit(f'no results of {len(names)} cameras within {START_UP:g} s')
    watch.started = time.monotonic()
    watch.service_ms.clear()
    seconds = 3600 * arguments.hours
    print(
        f'results arrive; {seconds:.0f} s, of which {arguments.warm_up:.0f} s warm-up', flush=True
    )
    while watch.now < seconds:
        until = len(watch.samples) + 1.0
        while watch.now < until:
            executor.spin_once(timeout_sec=max(0.0, until - watch.now))
        values = [dict(each) for each in watch.diagnostics.values()]
        watch.samples.append(
            Sample.of(watch.now, process.memory(), process.cpu_seconds(), values, watch.sent)
        )
    node.destroy_node()


if __name__ == '__main__':
    sys.exit(main())
