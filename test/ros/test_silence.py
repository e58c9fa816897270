# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node finds out why no image arrives, among real processes of DDS."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from ros_harness import TIMEOUT, Camera, NodeProcess, kill_process
from sensor_msgs.msg import CompressedImage

from instance_seg_ros.ros import silence

PAGE = Path(__file__).parents[2] / 'docs' / 'no-image-arrives.md'
TRANSPORTS = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
# A camera that is there, and sends nothing: only what the node can see of it matters here.
CAMERA = """
import sys
import rclpy
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, sys.argv[1], 10)
rclpy.spin(node)
"""
# What tells the names of nodes goes where nobody listens.
NAMES_ARE_LOST = """
<profiles xmlns="http://www.eprosima.com">
  <data_writer profile_name="ros_discovery_info">
    <qos><partition><names><name>elsewhere</name></names></partition></qos>
  </data_writer>
</profiles>
"""
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which('setpriv') or not shutil.which('unshare'),
    reason='needs root, setpriv and unshare, to start processes of another user or a container',
)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without settings of Fast DDS."""
    for name in TRANSPORTS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def start_camera(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that starts a camera on a topic, in an environment, after some command."""
    script = tmp_path / 'camera_driver.py'
    script.write_text(CAMERA)
    started = []

    def start(
        topic: str, environment: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        command = [*before, sys.executable, str(script), topic]
        started.append(subprocess.Popen(command, env={**os.environ, **(environment or {})}))
        return started[-1]

    yield start
    for process in started:
        kill_process(process)


class Wrapped(NodeProcess):
    """A node whose process is started by another command."""

    def __init__(self, namespace: str, log: Path, before: list[str], **parameters: object) -> None:
        self._before = before
        super().__init__(namespace, log, **parameters)

    def _start(self, log: Path, command: list[str], environment: Mapping[str, str]) -> None:
        folder = log.parent
        super()._start(
            log,
            [*self._before, *command],
            {**environment, 'HOME': str(folder), 'ROS_LOG_DIR': str(folder / 'ros')},
        )


@pytest.fixture
def start_wrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Wrapped]]:
    """A function that starts a node by another command, in a folder that anybody may write to."""
    started = []

    def start(namespace: str, *before: str) -> Wrapped:
        folder = tmp_path_factory.mktemp('wrapped')
        folder.chmod(0o777)
        started.append(Wrapped(namespace, folder / 'log', list(before), image_timeout=1.0))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def warning(process: NodeProcess, section: str, cause: str = '') -> str:
    """Wait for the warning of that cause that names a section of the page; none shows rclpy's
    placeholder. The node warns again when it knows more.
    """
    deadline = time.monotonic() + TIMEOUT
    wanted = rf'^.*no image on .*{re.escape(cause)}.*#{section}\).*$'
    while True:
        found = re.search(wanted, process.output, re.MULTILINE)
        if found is not None:
            assert 'UNKNOWN' not in process.output
            return found[0]
        assert time.monotonic() < deadline and process.process.poll() is None, process.output
        time.sleep(0.1)


def test_transports_that_never_find_each_other(
    defaults: pytest.MonkeyPatch, start_node: Callable[..., NodeProcess], start_camera
) -> None:
    start_camera('/mixed/image')
    defaults.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')
    text = warning(start_node('mixed', image_timeout=1.0), 'mixed-transports')
    assert 'this node does use FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA' in text
    assert 'camera_driver.py' in text


def test_a_camera_with_other_transports_than_the_node(
    defaults: pytest.MonkeyPatch, start_node: Callable[..., NodeProcess], start_camera
) -> None:
    start_camera('/plain/image', {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'})
    text = warning(start_node('plain', image_timeout=1.0), 'mixed-transports')
    assert re.search(r'camera_driver.py \(process \d+\) does use .*this node does not', text)


def test_a_camera_with_too_little_shared_memory(
    start_node: Callable[..., NodeProcess], start_camera
) -> None:
    without = dict.fromkeys(TRANSPORTS, '')
    start_camera('/little/image', without)
    text = warning(start_node('little', image_timeout=1.0), 'large-images-are-lost')
    assert '/little/camera' in text or 'camera (reliable' in text
    assert 'shares 0.5 MiB of memory' in text and 'config/fastdds.xml' in text


def test_a_camera_in_another_domain(
    monkeypatch: pytest.MonkeyPatch,
    start_node: Callable[..., NodeProcess],
    start_camera,
    empty_domain: int,
) -> None:
    camera = start_camera('/domain/image')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(empty_domain))
    text = warning(start_node('domain', image_timeout=1.0), 'another-domain')
    assert f'This node is in ROS_DOMAIN_ID {empty_domain}' in text
    assert camera.poll() is None


def test_a_discovery_range_of_nobody(
    monkeypatch: pytest.MonkeyPatch, start_node: Callable[..., NodeProcess], start_camera
) -> None:
    start_camera('/range/image')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF')
    text = warning(start_node('range', image_timeout=1.0), 'another-discovery-range')
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE is OFF' in text


def test_a_camera_that_sends_nothing(start_node: Callable[..., NodeProcess], start_camera) -> None:
    start_camera('/idle/image')
    assert 'ros2 topic hz /idle/image' in warning(
        start_node('idle', image_timeout=1.0), 'it-sends-nothing'
    )


def test_another_type_on_the_same_topic(start_node: Callable[..., NodeProcess]) -> None:
    process = start_node('typed', image_timeout=1.0)
    camera = Camera('typed', process, wait_until_ready=False, message_type=CompressedImage)
    camera.spin_until(
        lambda: 'publishes sensor_msgs/msg/CompressedImage, expected' in process.output,
        'the types are named',
    )
    camera.close()


@as_root
def test_a_camera_of_another_user(start_wrapped: Callable[..., Wrapped], start_camera) -> None:
    start_camera('/users/image')
    # Python may be where only root can read; memory is not shared all the same.
    node = start_wrapped(
        'users',
        *('setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'),
        *('--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search'),
    )
    # Until DDS announces the camera, which can take longer than the node waits for an image, a
    # process of that user is all that the node can name.
    warning(node, 'another-user', "belongs to user 'root' and this node to 'nobody'")


@as_root
def test_a_camera_outside_of_the_container(
    start_wrapped: Callable[..., Wrapped], start_camera
) -> None:
    start_camera('/contained/image')
    node = start_wrapped('contained', *in_container('1g'))
    assert '--ipc=host' in warning(node, 'a-container')


@as_root
def test_too_little_memory_for_two_processes(
    start_wrapped: Callable[..., Wrapped], start_camera
) -> None:
    node = start_wrapped('small', *in_container('40m'))
    until_ready(node)
    start_camera('/small/image', before=('nsenter', '-m', '-t', str(node.process.pid)))
    text = warning(node, 'shared-memory-is-too-small')
    assert 'camera_driver.py' in text and '/dev/shm has 40 MiB' in text
    assert '--shm-size' in text


def test_shared_memory_of_the_node_is_removed(
    start_node: Callable[..., NodeProcess], start_camera
) -> None:
    node = start_node('removed', image_timeout=1.0)
    until_ready(node)
    remove_shared_memory(node.process.pid)
    start_camera('/removed/image')
    text = warning(node, 'shared-memory-was-removed')
    assert 'Start this node again' in text


def test_shared_memory_of_the_camera_is_removed(
    start_node: Callable[..., NodeProcess], start_camera
) -> None:
    camera = start_camera('/taken/image')
    remove_shared_memory(camera.pid)
    text = warning(start_node('taken', image_timeout=1.0), 'shared-memory-was-removed')
    assert re.search(r'Start camera_driver.py \(process \d+\) again', text)


def remove_shared_memory(pid: int) -> None:
    """Remove what Fast DDS shares from a process, as soon as it is there."""
    deadline = time.monotonic() + TIMEOUT
    while not any('port' in lock for lock in held_locks(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for lock in held_locks(pid):
        # In this order, or another process that starts may take a port without its lock.
        Path(lock.removesuffix('_el')).unlink()
        Path(lock).unlink()


def held_locks(pid: int) -> list[str]:
    """Return the locks of Fast DDS that a process holds; others it opens to see who lives."""
    process = Path(f'/proc/{pid}')
    locks = []
    for descriptor in (process / 'fd').iterdir():
        with suppress(FileNotFoundError):  # closed by now
            path = os.readlink(descriptor)
            held = 'lock:' in (process / 'fdinfo' / descriptor.name).read_text()
            if held and re.match(r'/dev/shm/fast\w+_el$', path):
                locks.append(path)
    return locks


def test_a_camera_whose_name_is_lost(
    tmp_path: Path, start_node: Callable[..., NodeProcess], start_camera
) -> None:
    profile = tmp_path / 'profile.xml'
    profile.write_text(NAMES_ARE_LOST)
    settings = {**dict.fromkeys(TRANSPORTS, str(profile)), 'RMW_FASTRTPS_USE_QOS_FROM_XML': '1'}
    start_camera('/unnamed/image', settings)
    text = warning(start_node('unnamed', image_timeout=1.0), 'a-lost-announcement')
    assert re.search(r'what camera_driver.py \(process \d+\) announced has been lost', text)


def in_container(size: str) -> tuple[str, ...]:
    """Return the command for a process that has a /dev/shm of its own, as in a container."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$0" "$@"'
    return 'unshare', '-m', 'bash', '-c', mount


def until_ready(node: NodeProcess) -> None:
    deadline = time.monotonic() + TIMEOUT
    while 'ready' not in node.output:
        assert time.monotonic() < deadline and node.process.poll() is None, node.output
        time.sleep(0.1)


def test_the_page_has_every_section_that_a_warning_names() -> None:
    named = set(re.findall(r'_see\("([a-z-]+)"\)', Path(silence.__file__).read_text('utf-8')))
    headings = re.findall(r'^## (.+)$', PAGE.read_text('utf-8'), re.MULTILINE)
    sections = {heading.lower().replace(' ', '-') for heading in headings}
    assert len(named) > 10 and named <= sections
