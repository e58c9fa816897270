# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The server of the page, by the standard library: it works offline on any robot.

Each browser has a thread and asks for the next picture when it has drawn one, so a slow one gets
fewer, and one that has vanished costs a thread for seconds and nobody else anything.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import struct
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from instance_seg_ros.viewing.board import Board

_PATIENCE = 15.0  # seconds that a request for the next picture waits
_DEAD = 20  # seconds after which a browser that takes no bytes, or asks for nothing, has vanished
_MOST_BROWSERS = 32
_BOUNDARY = 'picture'
_HEADERS = {
    'Cache-Control': 'no-store',
    # Pages of other sites, open in the same browser, may not show the picture.
    'Cross-Origin-Resource-Policy': 'same-site',
    'Content-Security-Policy': "default-src 'self'; img-src 'self' blob: data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'self'",
    'X-Content-Type-Options': 'nosniff',
}
_LOCAL_NAMES = ('localhost', 'ip6-localhost')


class ServerError(Exception):
    """The page cannot be served; the message says what to do."""


class ViewServer:
    """Serves a board at / (page), /frame (next picture and facts) and /stream.mjpg.

    Args:
        board: what is shown.
        host: name or address to listen at: 'localhost' for this machine only, '0.0.0.0' for all.
        port: 0 takes a free one.

    Raises:
        ServerError: the port is in use, or the address is not one of this machine.

    """

    def __init__(self, board: Board, host: str, port: int) -> None:
        self._server = _listen(board, host, port)
        self._host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._serve, name='view server', daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = self._host
        # All interfaces, as the user asked for: the page is opened by the machine's name.
        if host in ('0.0.0.0', '::'):  # noqa: S104
            host = socket.gethostname()
        return f'http://[{host}]:{self.port}/' if ':' in host else f'http://{host}:{self.port}/'

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self._server.is_private

    def close(self) -> None:
        """Stop; requests that wait are left to their threads, which end with the process."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[Any, ...], family: int, board: Board) -> None:
        self.address_family = family
        self.is_private = ipaddress.ip_address(address[0].partition('%')[0]).is_loopback
        self.board = board
        self.page = Path(__file__).with_name('page.html').read_bytes()
        self.places = threading.BoundedSemaphore(_MOST_BROWSERS)
        super().__init__(address[:2], _Handler)

    def server_bind(self) -> None:
        # As of the standard library, without its look-up of the machine's name, which takes
        # seconds on a robot without a name server.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about browsers that vanish."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'instance-seg', ''
    timeout = _DEAD
    server: _Server

    def do_GET(self) -> None:  # noqa: N802  # the name that the standard library calls
        if not self._host_is_ours():
            self._send_text(
                HTTPStatus.FORBIDDEN, 'This server answers only to localhost and to addresses.'
            )
            return
        parts = urlsplit(self.path)
        answer = self._answers().get(parts.path)
        if answer is None:
            self._send_text(HTTPStatus.NOT_FOUND, 'There are / and /stream.mjpg')
            return
        if not self.server.places.acquire(blocking=False):
            self._send_text(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f'{_MOST_BROWSERS} browsers look already. Close one of them',
            )
            return
        try:
            answer(parts.query)
        finally:
            self.server.places.release()

    def log_message(self, *_args: Any, **_kwargs: Any) -> None:
        """Print no line for each request."""

    def _answers(self) -> dict[str, Callable[[str], None]]:
        return {'/': self._page, '/frame': self._frame, '/stream.mjpg': self._mjpeg}

    def _host_is_ours(self) -> bool:
        # A site on the internet can give its own name the address 127.0.0.1; its pages could then
        # read ours. The browser still says by which name it came.
        if not self.server.is_private:
            return True
        name = urlsplit(f'//{self.headers.get("Host", "")}').hostname or ''
        if name in _LOCAL_NAMES or name.endswith('.localhost'):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _page(self, _query: str) -> None:
        self._send(HTTPStatus.OK, 'text/html; charset=utf-8', self.server.page)

    def _frame(self, query: str) -> None:
        """Answer with the next picture: the length of the facts, the facts, the JPEG."""
        asked = parse_qs(query).get('after', ['0'])[0]
        number = int(asked) if asked.isdecimal() and len(asked) < 16 else 0
        picture = self.server.board.newer_than(number, _PATIENCE)
        if picture is None:
            self._send(HTTPStatus.NO_CONTENT, '', b'')
            return
        facts = json.dumps(picture.facts | {'number': picture.number}).encode()
        body = struct.pack('>I', len(facts)) + facts + picture.jpeg
        self._send(HTTPStatus.OK, 'application/octet-stream', body)

    def _mjpeg(self, _query: str) -> None:
        self._begin(HTTPStatus.OK, f'multipart/x-mixed-replace; boundary={_BOUNDARY}')
        self.send_header('Connection', 'close')
        self.end_headers()
        self.close_connection = True
        number = 0
        board = self.server.board
        while not board.closed:
            picture = board.newer_than(number, _PATIENCE)
            if picture is None or not picture.jpeg:
                number = number if picture is None else picture.number
                continue
            number = picture.number
            head = (
                f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n'
                f'Content-Length: {len(picture.jpeg)}\r\n\r\n'
            )
            self.wfile.write(head.encode() + picture.jpeg + b'\r\n')

    def _send_text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, 'text/plain; charset=utf-8', f'{text}\n'.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self._begin(status, kind)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header('Content-Type', kind)
        for name, value in _HEADERS.items():
            self.send_header(name, value)


def _listen(board: Board, host: str, port: int) -> _Server:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ServerError(
            f'--host {host}: is no name or address of this machine ({error.strerror}). Expected '
            'localhost, 0.0.0.0 or one of its addresses'
        ) from None
    # localhost is 127.0.0.1 or ::1; older browsers and tunnels try only the first.
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    try:
        return _Server(address, family, board)
    except OSError as error:
        raise ServerError(_why(error, host, port)) from None


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f'port {port} of {host} is in use by another program, perhaps another "instance-seg '
            'view": give another by --port, or --port 0 for a free one'
        )
    if error.errno == errno.EACCES:
        return f'port {port} may not be opened by this user: give one from 1024 on by --port'
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f'--host {host}: is not an address of this machine. Expected localhost, 0.0.0.0 or one '
            'of its addresses'
        )
    return f'{host}, port {port}: {error.strerror}'
