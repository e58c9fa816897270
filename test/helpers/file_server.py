# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A web server of this machine that stands for the internet, with all that goes wrong there."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``files``, in the way that ``faults`` says by name.

    Attributes:
        files: content by name; the last part of an address is the name.
        faults: by name: cut (the connection ends half-way, once), cut_always, slow, silent (stops
            half-way), web_page, no_ranges (sends all of it, always), circle, busy (503, once),
            wrong_range, or a number: that status.
        requests: what was asked for: (path, Range or '').
    """

    def __init__(self, port: int) -> None:
        self.url = f'http://127.0.0.1:{port}'
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str | int] = {}
        self.requests: list[tuple[str, str]] = []
        self.ended = threading.Event()


@contextmanager
def serve_files() -> Iterator[FileServer]:
    """Run a server until the block ends."""
    server = _Server(('127.0.0.1', 0), _Handler)
    server.daemon_threads = True
    server.state = FileServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05})
    thread.start()
    try:
        yield server.state
    finally:
        server.state.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that leave early."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *about: object) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        state: FileServer = self.server.state
        name = self.path.rsplit('/', 1)[-1]
        given = self.headers.get('Range', '')
        state.requests.append((self.path, given))
        fault = state.faults.get(name, '')
        if self.path.startswith('/moved/'):
            self._answer(302, Location=f'/{name}')
        elif fault == 'circle':
            self._answer(302, Location=self.path)
        elif fault == 'busy':
            del state.faults[name]
            self._answer(503)
        elif isinstance(fault, int):
            self._answer(fault)
        elif fault == 'web_page':
            body = b'<!DOCTYPE html><html><body>Please sign in</body></html>'
            self._answer(200, body, Content_Type='text/html; charset=utf-8')
        elif name not in state.files:
            self._answer(404)
        else:
            self._send(state, name, given, str(fault))

    def _answer(self, status: int, body: bytes = b'', **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, state: FileServer, name: str, given: str, fault: str) -> None:
        content = state.files[name]
        asked = re.fullmatch(r'bytes=(\d+)-', given)
        begin = int(asked.group(1)) if asked and fault != 'no_ranges' else 0
        if begin >= len(content) > 0:
            self._answer(416)
            return
        body = content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            first = 0 if fault == 'wrong_range' else begin
            self.send_header('Content-Range', f'bytes {first}-{len(content) - 1}/{len(content)}')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        half = len(body) // 2
        if fault in ('cut', 'cut_always', 'silent'):
            if fault == 'cut':
                del state.faults[name]
            self.wfile.write(body[:half])
            self.wfile.flush()
            if fault == 'silent':
                state.ended.wait(30)
            self.close_connection = True
        elif fault == 'slow':
            for start in range(0, len(body), len(body) // 10 + 1):
                self.wfile.write(body[start : start + len(body) // 10 + 1])
                time.sleep(0.05)
        else:
            self.wfile.write(body)
