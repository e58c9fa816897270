# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""instance-seg view in a process of its own, looked at by HTTP, and by a browser where one is."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from instance_seg_ros import Segmenter
from instance_seg_ros.cli import main

pytestmark = pytest.mark.slow

LIMIT = 300  # seconds; only ever reached by a failure
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'google-chrome', 'chrome'))), None)


class View:
    """The command, started; its page."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        command = [sys.executable, '-m', 'instance_seg_ros', 'view', *map(str, arguments)]
        self.process = subprocess.Popen(
            [*command, '--port', '0'],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = next((each for each in self.process.stdout if each.startswith('open ')), '')
        assert line, self.process.communicate()[1]
        self.url = line.split()[1]
        self.port = int(self.url.rstrip('/').rpartition(':')[2])

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request('GET', path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def pictures(self, until: Callable[[dict], bool]) -> list[tuple[dict[str, Any], bytes]]:
        """Look like a browser does; return all pictures up to the one that is waited for."""
        seen: list[tuple[dict[str, Any], bytes]] = []
        number = 0
        while not seen or not until(seen[-1][0]):
            status, body = self.get(f'/frame?after={number}')
            if status == 204:
                continue
            assert status == 200, body
            (length,) = struct.unpack_from('>I', body)
            facts = json.loads(body[4 : 4 + length])
            number = facts['number']
            seen.append((facts, body[4 + length :]))
        return seen

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LIMIT)


@pytest.fixture
def view(tmp_path: Path, small_model: Path) -> Iterator[Callable[..., View]]:
    """Start the command with a thin model that finds something in any image."""
    views: list[View] = []

    def start(*arguments: object) -> View:
        settings = ('--model', small_model, '--refiner', 'none', '--confidence-threshold', '0.3')
        views.append(View(tmp_path, *arguments, *settings))
        return views[-1]

    yield start
    for each in views:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name, shift in (('a', 0), ('b', 40)):
        image = np.roll(cv2.resize(photo, (256, 200)), shift, axis=1)
        cv2.imwrite(str(folder / f'{name}.png'), image)
    (folder / 'c.png').write_bytes(b'no image')
    return folder


def test_a_file_of_the_node_gives_ids_and_the_quality(
    view: Callable[..., View], photos: Path, tmp_path: Path
) -> None:
    sizes = {}
    for quality in (5, 95):
        settings = tmp_path / f'{quality}.yaml'
        settings.write_text(f'tracking: true\njpeg_quality: {quality}\n')
        page = view(photos, '--config', settings)
        facts, jpeg = page.pictures(lambda facts: facts.get('frame') == 'b.png')[-1]
        sizes[quality] = len(jpeg)
        assert all(each['id'] for each in facts['instances'])
        page.process.kill()
        assert 'left out' not in page.process.communicate()[1]
    assert sizes[5] < 0.5 * sizes[95]


def ended(facts: dict) -> bool:
    return facts.get('ended', False)


def test_several_browsers_see_what_the_segmenter_finds(
    view: Callable[..., View], photos: Path, segmenter: Segmenter
) -> None:
    page = view(photos, '--period', '0.5')
    # It asks for the stream and never reads it: nobody waits for it.
    with socket.create_connection(('127.0.0.1', page.port)) as asleep:
        asleep.sendall(b'GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n')
        other: list[Any] = []
        second = threading.Thread(target=lambda: other.extend(page.pictures(ended)))
        second.start()
        seen = page.pictures(ended)
        second.join()

    last, jpeg = seen[-1]
    for text in ('The end of', '2 pictures', '1 left out', 'c.png'):
        assert text in last['notice']
    assert (last, jpeg) == other[-1]
    image = cv2.imread(str(photos / 'b.png'))
    expected = segmenter(image)
    assert last['frame'] == 'b.png' and last['size'] == [256, 200]
    assert [each['name'] for each in last['instances']] == expected.class_names
    assert [each['score'] for each in last['instances']] == pytest.approx(expected.scores, abs=1e-3)
    assert {'read', 'detect', 'masks', 'refine', 'draw'} == set(last['times'])
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == image.shape
    x1, y1, x2, y2 = (int(value) for value in expected.boxes[0])
    assert np.abs(shown[y1:y2, x1:x2].astype(int) - image[y1:y2, x1:x2]).mean() > 10
    # A site that gives its own name our address gets nothing.
    status, body = page.get('/frame?after=0', Host='attacker.example')
    assert status == 403 and b'localhost' in body
    for host in (f'localhost:{page.port}', '127.0.0.1'):
        assert page.get('/', Host=host)[0] == 200
    assert page.get('/../server.py')[0] == 404
    assert page.stop() == 0


def test_a_video_keeps_its_pace_or_shows_all_with_ids(
    view: Callable[..., View], tmp_path: Path, photo: np.ndarray
) -> None:
    video = tmp_path / 'pan.mp4'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'mp4v'), 500, (240, 200))
    small = cv2.resize(photo, (300, 200))
    for shift in range(12):
        writer.write(np.ascontiguousarray(small[:, 2 * shift : 2 * shift + 240]))
    writer.release()

    kept = view(video, '--all-frames', '--track').pictures(ended)[-1][0]
    assert kept['shown'] == 12
    assert all(each['id'] >= 1 for each in kept['instances']) and kept['instances']
    # 12 frames of 2 ms: no network is that quick.
    paced = view(video).pictures(ended)[-1][0]
    assert paced['shown'] < 12 and paced['instances'][0]['id'] is None


class _Camera(BaseHTTPRequestHandler):
    """A network camera that is unplugged after some images."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=x')
        self.end_headers()
        jpeg = cv2.imencode('.jpg', np.full((120, 160, 3), 90, np.uint8))[1].tobytes()
        head = f'--x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n'.encode()
        with contextlib.suppress(OSError):
            while not self.server.unplugged.is_set():
                self.wfile.write(head + jpeg + b'\r\n')
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


def test_a_camera_that_vanishes_is_said_and_comes_back(view: Callable[..., View]) -> None:
    camera = ThreadingHTTPServer(('127.0.0.1', 0), _Camera)
    camera.daemon_threads = True
    camera.unplugged = threading.Event()
    address = camera.server_address
    threading.Thread(target=camera.serve_forever, args=(0.05,), daemon=True).start()
    page = view(f'http://127.0.0.1:{address[1]}/camera.mjpg')
    facts, jpeg = page.pictures(lambda facts: facts.get('shown', 0) >= 2)[-1]
    assert facts['size'] == [160, 120] and facts['age'] > 0 and facts['notice'] == ''

    camera.unplugged.set()
    camera.shutdown()
    camera.server_close()
    gone, still = page.pictures(lambda facts: 'is gone' in facts['notice'])[-1]
    assert str(address[1]) in gone['notice'] and still.startswith(b'\xff\xd8')

    camera = ThreadingHTTPServer(address, _Camera)
    camera.daemon_threads = True
    camera.unplugged = threading.Event()
    threading.Thread(target=camera.serve_forever, args=(0.05,), daemon=True).start()
    page.pictures(lambda facts: facts['notice'] == '' and facts['shown'] > gone['shown'])
    assert page.stop() == 0
    camera.unplugged.set()
    camera.shutdown()
    camera.server_close()


def test_a_photo_is_checked_and_turned_as_everywhere(
    view: Callable[..., View], tmp_path: Path, photo: np.ndarray
) -> None:
    rgb = cv2.resize(photo, (300, 200))[..., ::-1]
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the orientation: a quarter turn
    PIL.Image.fromarray(rgb).save(tmp_path / 'turned.jpg', exif=exif)
    jpeg = (tmp_path / 'turned.jpg').read_bytes()
    page = view(tmp_path / 'turned.jpg')
    assert page.pictures(ended)[-1][0]['size'] == [200, 300]
    (tmp_path / 'cut.jpg').write_bytes(jpeg[: len(jpeg) // 2])
    page = view(tmp_path / 'cut.jpg')
    assert 'is cut off' in page.pictures(ended)[-1][0]['notice']


def test_a_picture_that_is_too_wide_ends_nothing(view: Callable[..., View], photos: Path) -> None:
    cv2.imwrite(str(photos / 'a_wide.png'), np.full((40, 66000, 3), 99, np.uint8))
    seen = [facts for facts, _ in view(photos, '--period', '0.1').pictures(ended)]
    assert seen[-1]['shown'] == 2
    assert 'ended by an error' not in seen[-1]['notice']


@pytest.fixture
def error_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Return what the command says before it ends; it runs in this process, as without ROS."""
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    monkeypatch.delitem(sys.modules, 'instance_seg_ros.ros.topic_view', raising=False)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> str:
        assert main(['view', *map(str, arguments)]) == 2
        return capsys.readouterr().err

    yield call
    signal.signal(signal.SIGTERM, handler)


def test_where_it_cannot_listen_is_said(error_of: Callable[..., str], photos: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        text = error_of(photos, '--port', port)
        assert f'port {port} ' in text and 'in use' in text and '--port 0' in text
    assert 'is not an address of this machine' in error_of(photos, '--host', '192.0.2.1')
    assert 'is no name or address' in error_of(photos, '--host', 'no such host')


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('nothing', 'no such file or folder'),
        ('topic:=', 'expected the name of a topic'),
        ('topic:=/camera', 'source its setup'),
        ('97', 'there is no /dev/video97'),
    ],
)
def test_a_source_that_is_not_there_is_said(
    error_of: Callable[..., str], source: str, expected: str
) -> None:
    assert expected in error_of(source)


@pytest.mark.parametrize('prefixes', [{}, {'AMENT_PREFIX_PATH': '/nowhere'}])
def test_a_topic_where_rclpy_is_but_no_workspace_is_sourced(
    tmp_path: Path, prefixes: dict[str, str]
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != 'AMENT_PREFIX_PATH'} | prefixes
    command = [sys.executable, '-m', 'instance_seg_ros', 'view', 'topic:=/camera']
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 2
    assert 'error: topic:=/camera needs ROS 2 and this package built in a workspace' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.skipif(BROWSER is None, reason='no Chromium or Chrome to look at the page with')
def test_a_browser_shows_names_times_and_the_end(
    view: Callable[..., View], photos: Path, tmp_path: Path
) -> None:
    for pause in (1, 5, 25):  # seconds for the browser to draw; more on a busy machine
        page = view(photos, '--period', '0')
        browser = open_in_browser(page.url, tmp_path / f'browser{pause}')
        last = page.pictures(ended)[-1][0]
        time.sleep(pause)
        assert page.stop() == 0
        shown = browser.communicate(timeout=LIMIT)[0]
        if 'b.png, 256 x 200 pixels' in shown:
            break
    assert 'b.png, 256 x 200 pixels' in shown
    assert last['instances'][0]['name'] in shown and 'find boxes' in shown
    assert 'No answer from instance-seg view' in shown


def open_in_browser(url: str, folder: Path) -> subprocess.Popen:
    """Open a page; the browser prints what the page has become, and ends, after half a second.

    Its time stands still while a request waits, and runs on once the command has ended.
    """
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking']
    command = [BROWSER, *options, f'--user-data-dir={folder}', '--virtual-time-budget=500']
    return subprocess.Popen(
        [*command, '--dump-dom', url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
