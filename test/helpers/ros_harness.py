# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Starts the real node in a process of its own, and talks to it over DDS."""

import ctypes
import os
import signal
import subprocess
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo, VisionInfo

from instance_seg_ros.msg import InstanceMask, InstanceMaskArray
from instance_seg_ros.ros.dds_processes import participants
from instance_seg_ros.ros.image_codec import to_message

TIMEOUT = 300.0  # seconds; only ever reached by a failure, also on a loaded machine
DISCOVERY_TIMEOUT = 20.0  # seconds
CALL_TIMEOUT = 30.0  # seconds
RESEND_PERIOD = 2.0  # seconds; images are best effort, so one may be lost
TOPICS: dict[str, Any] = {
    'detections': Detection2DArray,
    'instance_masks': InstanceMaskArray,
    'debug_image': Image,
    'label_image': Image,
    'debug_image/compressed': CompressedImage,
}
# What only some robots need.
ROBOT_TOPICS: dict[str, Any] = {
    'detections_3d': Detection3DArray,
    'objects': PointCloud2,
    'class_image': Image,
    'confidence_image': Image,
}
LATCHED: dict[str, Any] = {
    'label_info': LabelInfo,
    'class_label_info': LabelInfo,
    'vision_info': VisionInfo,
}
# Reliable, so that only the node's own choice can lose an image.
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
    'unconfigured shutdown': Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    'inactive shutdown': Transition.TRANSITION_INACTIVE_SHUTDOWN,
    'active shutdown': Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
GOALS = {
    'configure': 'inactive',
    'activate': 'active',
    'deactivate': 'inactive',
    'cleanup': 'unconfigured',
    'shutdown': 'finalized',
}


class NodeProcess:
    """The installed node script, started; `parameters` as on the command line."""

    def __init__(
        self, namespace: str, log: Path, arguments: list[str] | None = None, **parameters: Any
    ) -> None:
        script = Path(get_package_prefix('instance_seg_ros'), 'lib', 'instance_seg_ros')
        command = [
            str(script / 'instance_seg_node'),
            '--ros-args',
            '-r',
            f'__ns:=/{namespace}',
            *(arguments or []),
        ]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._start(log, command, os.environ)

    def _start(self, log: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self._log, self._command, self._environment = log, command, environment
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment, PYTHONUNBUFFERED='1'),
                start_new_session=True,
            )

    def restart(self) -> None:
        """Start the process again."""
        self.kill()
        self._start(self._log, self._command, self._environment)

    @property
    def output(self) -> str:
        """What the node has printed so far, logs included."""
        return self._log.read_text('utf-8', 'replace')

    @property
    def state(self) -> str:
        """Whether the process runs, and what it has printed: for the messages of failures."""
        code = self.process.poll()
        runs = 'runs' if code is None else f'has ended with exit code {code}'
        return f'the node {runs} and says:\n{self.output}'

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Return the exit code, once there is one."""
        return self.process.wait(timeout)

    def signal_a_thread(self, number: int) -> None:
        """Send the signal to a thread that is not the main one and does not block it."""
        pid = self.process.pid
        other = next(
            int(task.name)
            for task in Path(f'/proc/{pid}/task').iterdir()
            if int(task.name) != pid and not signal_mask(task, 'SigBlk') >> (number - 1) & 1
        )
        assert ctypes.CDLL(None).tgkill(pid, other, number) == 0

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the signal and return the exit code."""
        return self.stop_timed(number)[0]

    def stop_timed(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send the signal; return the exit code and the seconds until the process had ended.

        Seconds of a machine that does nothing else: see slowness().
        """
        started = time.monotonic()
        self.process.send_signal(number)
        return self.wait(), (time.monotonic() - started) / slowness()

    def signal_again(self, number: int) -> None:
        """Send the signal to the whole process group, as a terminal does, if it is still there."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait_for_signal_handlers(self) -> None:
        """Wait until the process no longer dies of SIGTERM, as each does that has just begun."""
        deadline = time.monotonic() + TIMEOUT
        caught = 0
        while not caught >> (signal.SIGTERM - 1) & 1:
            assert time.monotonic() < deadline and self.process.poll() is None, self.output
            caught = signal_mask(Path(f'/proc/{self.process.pid}'), 'SigCgt')

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the process has used so far."""
        numbers = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf('SC_CLK_TCK')

    @property
    def memory(self) -> int:
        """Resident memory, in bytes."""
        pages = int(Path(f'/proc/{self.process.pid}/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE')

    def kill(self) -> None:
        """End the process if it still runs, and remove its shared memory: it no longer can."""
        kill_process(self.process)


class Camera:
    """A ROS node that publishes images and collects what the node under test answers.

    Args:
        namespace: of the node under test, and of this one.
        node_process: the node under test.
        wait_until_ready: wait until the node under test is active.
        topic: of the images.
        node_name: of the node under test.
        outputs: what the topics of the answers begin with; the node's name if None.
        message_type: of the images.
        qos: of the publisher.
    """

    def __init__(
        self,
        namespace: str,
        node_process: NodeProcess,
        wait_until_ready: bool = True,
        *,
        topic: str = 'image',
        node_name: str = 'instance_seg',
        outputs: str | None = None,
        message_type: Any = Image,
        qos: QoSProfile = RELIABLE,
    ) -> None:
        self.process = node_process
        self.namespace = namespace
        self._node_name = node_name
        self._outputs = outputs or node_name
        self.node = rclpy.create_node('camera', namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._publisher = self.node.create_publisher(message_type, topic, qos)
        self._subscriptions: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._stamp = 0
        self._diagnostics: list[DiagnosticArray] = []
        self._diagnostics_subscription: Any = None
        self._wait_until_seen()
        if wait_until_ready:
            self.wait_until_ready()
            self._restart_without_memory()

    def _wait_until_seen(self) -> None:
        """Wait until the node under test and this one know each other."""
        events = f'/{self.namespace}/{self._node_name}/transition_event'
        for _ in range(3):
            if self._spin(lambda: self.node.count_publishers(events) > 0, DISCOVERY_TIMEOUT):
                return
            # On a busy machine about one pair of Fast DDS participants in fifty never gets to know
            # each other, whatever the node does: seen with Fast DDS 3.2 and LARGE_DATA.
            self.process.restart()

    def wait_until_ready(self) -> None:
        """Wait until the node under test is active and receives our images."""
        self.spin_until(lambda: 'ready' in self.process.output, 'the node is ready')
        self.spin_until(lambda: self.subscriptions_to_images() > 0, 'the node subscribes to images')

    def _restart_without_memory(self) -> None:
        """Start the node again if Fast DDS has removed its shared memory: it would hear nobody.

        Other participants take it for dead if the machine pauses for a second as it starts.
        """
        pid = self.process.process.pid
        if any(other.memory_removed for other in participants() if other.pid == pid):
            warnings.warn(
                f'{self.process.state}\nIts memory was removed: started again', stacklevel=2
            )
            self.process.restart()
            self._wait_until_seen()
            self.wait_until_ready()

    def subscriptions_to_images(self) -> int:
        """Return how many match our publisher."""
        return self._publisher.get_subscription_count()

    def close(self) -> None:
        """End the ROS node."""
        self._executor.remove_node(self.node)
        self.node.destroy_node()

    def subscribe(self, *topics: str) -> None:
        """Subscribe to exactly these topics of the node under test, and wait for the match."""
        for topic in set(self._subscriptions) - set(topics):
            self.node.destroy_subscription(self._subscriptions.pop(topic))
        for topic in set(topics) - set(self._subscriptions):
            self._subscriptions[topic] = self._subscription(topic)
        self.received.clear()
        for topic in topics:
            self.spin_until(
                lambda topic=topic: (
                    self.node.count_publishers(f'/{self.namespace}/{self._outputs}/{topic}') > 0
                ),
                f'{topic} is published',
            )

    def _subscription(self, topic: str) -> Any:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self.node.create_subscription(
            {**TOPICS, **ROBOT_TOPICS, **LATCHED}[topic],
            f'{self._outputs}/{topic}',
            lambda message: self.received[topic].append(message),
            latched if topic in LATCHED else 10,
        )

    def header(self) -> Header:
        """Return a new header, with a stamp that no other has."""
        self._stamp += 1
        return Header(
            stamp=Time(sec=1_000_000 + self._stamp, nanosec=123_456_789), frame_id='camera_optical'
        )

    def image(self, pixels: np.ndarray, encoding: str = 'bgr8') -> Image:
        """Return an image message with a new header."""
        return to_message(pixels, encoding, self.header())

    def publish(self, message: Image) -> None:
        """Publish once."""
        self._publisher.publish(message)

    def ask(self, message: Image, also: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Publish until each subscribed topic has answered; return the answers by topic.

        Args:
            message: the image.
            also: publishes what belongs to it, before it.
        """

        def answers() -> dict[str, Any]:
            return {
                topic: found
                for topic in self._subscriptions
                for found in self.received[topic]
                if found.header.stamp == message.header.stamp
            }

        started = time.monotonic()
        subscribed_again = False
        while time.monotonic() < started + TIMEOUT:
            also()
            self.publish(message)
            if self._spin(lambda: len(answers()) == len(self._subscriptions), RESEND_PERIOD):
                return answers()
            if not subscribed_again and time.monotonic() > started + CALL_TIMEOUT:
                # As in call(): the node answers a new subscription, or it is to blame.
                subscribed_again = True
                for topic in set(self._subscriptions) - set(answers()):
                    self.node.destroy_subscription(self._subscriptions.pop(topic))
                    self._subscriptions[topic] = self._subscription(topic)
        raise AssertionError(
            f'only {sorted(answers())} answered to the image; {self.process.state}'
        )

    def publish_until(self, message: Image, condition: Callable[[], bool], what: str) -> None:
        """Publish again and again until the condition holds; fail where it never does."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.publish(message)
            if self._spin(condition, RESEND_PERIOD):
                return
        raise AssertionError(f'waited in vain: {what}; {self.process.state}')

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service of the node under test and return the response."""
        for _ in range(2):
            # A server that does not know a new client yet drops its response: rmw_fastrtps tells
            # clients only half of when a service is ready.
            future = self.call_async(service_type, name, request)
            if self._spin(future.done, CALL_TIMEOUT):
                return future.result()
        # On a busy machine two Fast DDS participants at times lose each other for good. Then the
        # node still answers a new one, as it would a new `ros2 param set`; if not, it hangs.
        for _ in range(3):
            if self.process.process.poll() is not None:
                break
            response = self._call_as_another(service_type, name, request)
            if response is not None:
                return response
        raise AssertionError(f'no response of {name}; {self.process.state}')

    def _call_as_another(self, service_type: Any, name: str, request: Any) -> Any:
        """Call as a new participant of DDS; return the response, None where there is none."""
        context = Context()
        rclpy.init(context=context)
        try:
            node = rclpy.create_node('another', namespace=self.namespace, context=context)
            client = node.create_client(service_type, f'{self._node_name}/{name}')
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)
            if not client.wait_for_service(CALL_TIMEOUT):
                return None
            future = client.call_async(request)
            executor.spin_until_future_complete(future, CALL_TIMEOUT)
            return future.result() if future.done() else None
        finally:
            rclpy.shutdown(context=context)

    def call_async(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service of the node under test and return the future of the response."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, f'{self._node_name}/{name}')
        self.spin_until(self._clients[name].service_is_ready, f'service {name}')
        return self._clients[name].call_async(request)

    def state(self) -> str:
        """Return the state of the lifecycle."""
        return self.call(GetState, 'get_state', GetState.Request()).current_state.label

    def change_state(self, transition: str) -> bool:
        """Request a transition; return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        for _ in range(3):
            # Not as in call(): a transition whose response was lost is not possible again.
            future = self.call_async(ChangeState, 'change_state', request)
            if self._spin(future.done, CALL_TIMEOUT):
                return future.result().success
            if self.state() == GOALS[transition.split()[-1]]:
                return True
        raise AssertionError(f'no response of change_state; {self.process.state}')

    def set_parameters(self, **values: Any) -> SetParametersResult:
        """Set parameters all at once, as `ros2 param load` does; return the result."""
        parameters = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        return self.call(
            SetParametersAtomically,
            'set_parameters_atomically',
            SetParametersAtomically.Request(parameters=parameters),
        ).result

    def set_each_parameter(self, **values: Any) -> list[SetParametersResult]:
        """Set parameters one by one, as `ros2 param set` and rqt do; return the results."""
        parameters = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        return list(
            self.call(
                SetParameters, 'set_parameters', SetParameters.Request(parameters=parameters)
            ).results
        )

    def parameters(self, *names: str) -> dict[str, Any]:
        """Return the values of parameters."""
        values = self.call(
            GetParameters, 'get_parameters', GetParameters.Request(names=names)
        ).values
        return {
            name: parameter_value_to_python(value)
            for name, value in zip(names, values, strict=True)
        }

    def diagnostics(self, name: str) -> DiagnosticStatus:
        """Return the next status whose name ends so, of the node under test."""
        return self.diagnostics_until(name, lambda status: True, 'a status')

    def diagnostics_until(
        self, name: str, condition: Callable[[DiagnosticStatus], bool], what: str
    ) -> DiagnosticStatus:
        """Wait for a status whose name ends so and that meets the condition."""
        if self._diagnostics_subscription is None:
            self._diagnostics_subscription = self.node.create_subscription(
                DiagnosticArray, '/diagnostics', self._diagnostics.append, 10
            )
        self._diagnostics.clear()
        found: list[DiagnosticStatus] = []

        def look() -> bool:
            found[:] = [
                status
                for array in self._diagnostics
                for status in array.status
                if status.name.startswith(f'{self.namespace}/')
                and status.name.endswith(name)
                and condition(status)
            ]
            return bool(found)

        self.spin_until(look, f'{what}, of {name}')
        return found[-1]

    def spin_until(self, condition: Callable[[], bool], what: str) -> None:
        """Process messages until the condition holds; fail where it never does."""
        if not self._spin(condition, TIMEOUT):
            raise AssertionError(f'waited in vain: {what}; {self.process.state}')

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Process messages until the condition holds, for some seconds; return whether it does."""
        return self._spin(condition, seconds)

    def spin_for(self, seconds: float) -> None:
        """Process messages for some time: as the pace of a stream, not to wait for anything."""
        self._spin(lambda: False, seconds)

    def _spin(self, condition: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or (self.process.process.poll() is not None):
                return condition()
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True


def kill_process(process: 'subprocess.Popen[Any]') -> None:
    """End a process if it still runs, and remove its shared memory, which it no longer can.

    That is 10 MB each: the tests would fill the memory of the machine in a day.
    """
    if process.poll() is None:
        files = shared_memory_of(process.pid)
        process.kill()
        process.wait()
        for path in files:
            Path(path).unlink(missing_ok=True)


def slowness() -> float:
    """Return how much longer work takes on this machine now, by its load; 1 where it is idle."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def shared_memory_of(pid: int) -> set[str]:
    """Return the files in /dev/shm that Fast DDS has made for a process: it holds their locks.

    Ports are left out: after one process, another takes the number and the file.
    """
    locks = {path for path in _open_files(pid) if path.endswith('_el') and '_port' not in path}
    return locks | {path[: -len('_el')] for path in locks}


def shared_memory_left(files: set[str]) -> set[str]:
    """Return those of the files that are still there and that no process uses."""
    processes = [int(path.name) for path in Path('/proc').iterdir() if path.name.isdigit()]
    used = {path for pid in processes for path in _open_files(pid)}
    return {path for path in files if Path(path).exists()} - used


def _open_files(pid: int) -> set[str]:
    """Return the files in /dev/shm that a process has open or mapped."""
    process = Path(f'/proc/{pid}')
    found = set()
    with suppress(OSError):
        lines = (process / 'maps').read_text('utf-8', 'replace').splitlines()
        found = {line.split(maxsplit=5)[5] for line in lines if '/dev/shm/' in line}
        for descriptor in (process / 'fd').iterdir():
            with suppress(OSError):
                found.add(os.readlink(descriptor))
    return {path for path in found if path.startswith('/dev/shm/')}


def signal_mask(process: Path, kind: str) -> int:
    """Return the signals, one bit each, that a folder below /proc has as SigCgt or SigBlk."""
    return int((process / 'status').read_text().split(f'{kind}:')[1].split()[0], 16)


def figures(status: DiagnosticStatus) -> dict[str, str]:
    """Return the values of a status by key."""
    return {pair.key: pair.value for pair in status.values}


def pixels_of(message: Image) -> np.ndarray:
    """Return the pixels of a bgr8, mono8 or mono16 message, read without the codec under test."""
    dtype, channels = {'bgr8': (np.uint8, 3), 'mono8': (np.uint8, 1), 'mono16': (np.uint16, 1)}[
        message.encoding
    ]
    pixels = np.frombuffer(bytes(message.data), dtype)
    return (
        pixels.reshape(message.height, message.width, channels).squeeze(axis=2)
        if channels == 1
        else pixels.reshape(message.height, message.width, channels)
    )


def decode_mask(mask: InstanceMask) -> np.ndarray:
    """Return the mask of either encoding as a bool array of the size of the ROI."""
    height, width = mask.roi.height, mask.roi.width
    if mask.encoding == InstanceMask.MONO8_CROP:
        pixels = pixels_of(mask.mask)
        assert set(np.unique(pixels)) <= {0, 255}
        return pixels == 255
    assert sum(mask.rle_counts) == height * width
    inside = np.repeat(np.arange(len(mask.rle_counts)) % 2 == 1, mask.rle_counts)
    return inside.reshape(width, height).T
