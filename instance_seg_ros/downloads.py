# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files from the web: resumed where a transfer broke, and taken only with the digest on record.

requests does HTTP, redirects, proxies and certificates. pooch, which is made for such files, cannot
resume: it throws away what a broken transfer left.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from instance_seg_ros.errors import ModelError
from instance_seg_ros.file_locks import lock
from instance_seg_ros.known_models import Download
from instance_seg_ros.text_files import one_line

Progress = Callable[[int, 'int | None'], None]

DEFAULT_TIMEOUT = 60.0  # seconds without a byte
_CONNECT_TIMEOUT = 15.0  # seconds
_CHUNK = 1 << 16
PAUSES = (1.0, 2.0, 4.0)  # seconds before the next try; what arrives in between resets them
_PASSING = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may be others a little later


class DownloadError(ModelError):
    """A file could not be fetched; the message names the address and the reason."""


class _BrokenError(Exception):
    """A transfer that may go on: the connection broke, or the server is busy."""


def no_progress(done: int, total: int | None) -> None:
    """Show nothing."""


def part_of(path: Path) -> Path:
    """Return the hidden file beside a path that it is written to until it is whole."""
    return path.with_name(f'.{path.name}.part')


def fetch(
    download: Download,
    folder: Path,
    urls: tuple[str, ...] = (),
    *,
    progress: Progress = no_progress,
    timeout: float = DEFAULT_TIMEOUT,
) -> Path:
    """Fetch a file, or the rest of it.

    Args:
        download: what to fetch.
        folder: where its part goes, ``.<name>.part``; one from a broken transfer is continued.
        urls: addresses in place of those of the download.
        progress: called with the bytes that are there and those that there will be, if known.
        timeout: seconds without a byte after which a transfer counts as broken.

    Returns:
        The part, which is whole and has the digest on record. The caller renames it.

    Raises:
        DownloadError: no address gave the file. What arrived stays for the next try, unless it
            is wrong.
        OSError: the folder cannot be written to.
    """
    part = part_of(folder / download.name)
    problems = []
    with _opened(part) as file:
        if _size(file) and download.digest.fits(part):
            return part
        for url in urls or download.urls:
            try:
                _fetch_from(url, file, part, download, progress, timeout)
                return part
            except DownloadError as error:
                problems.append(str(error))
    if not part.stat().st_size:
        part.unlink()
    raise DownloadError('\n'.join(problems))


def _fetch_from(
    url: str, file: BinaryIO, part: Path, download: Download, progress: Progress, timeout: float
) -> None:
    """Load until the file is whole; one that was continued and is wrong is loaded once more."""
    continued = _size(file) > 0
    _load(url, file, download, progress, timeout)
    actual = download.digest.of(part)
    if actual != download.digest.value and continued:
        file.truncate(0)
        _load(url, file, download, progress, timeout)
        actual = download.digest.of(part)
    if actual != download.digest.value:
        file.truncate(0)
        raise DownloadError(
            f'{url}: what arrived has another digest than the file on record: expected '
            f'{download.digest}, got {actual}. It is not used'
        )


def _load(url: str, file: BinaryIO, download: Download, progress: Progress, timeout: float) -> None:
    try:
        import requests  # late: only downloads need it, and it takes a while to import
    except ImportError:
        raise DownloadError(f'{url}: downloads need requests: pip install requests') from None
    failures = 0
    with requests.Session() as session:
        session.max_redirects = 10
        while True:
            before = _size(file)
            try:
                _continue(session, url, file, download, progress, timeout)
                return
            except _BrokenError as broken:
                failures = 1 if _size(file) > before else failures + 1
                if failures > len(PAUSES):
                    raise DownloadError(
                        f'{url}: {broken}, {failures} times. {_size(file)} bytes are kept: the '
                        'same command goes on there'
                    ) from None
                time.sleep(PAUSES[failures - 1])


def _continue(
    session: Any, url: str, file: BinaryIO, download: Download, progress: Progress, timeout: float
) -> None:
    """Ask for what is missing and append it.

    Raises:
        _BrokenError: the transfer ended early.
        DownloadError: the address is wrong, cannot be reached, or sends something else.
    """
    import requests

    # "identity": bytes of a compressed stream could not be counted.
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'instance_seg_ros'}
    begin = _size(file)
    if begin:
        headers['Range'] = f'bytes={begin}-'
    try:
        with session.get(
            url, headers=headers, stream=True, timeout=(_CONNECT_TIMEOUT, timeout)
        ) as response:
            if response.status_code == 416:  # no bytes there: what we have is no part of the file
                file.truncate(0)
                raise _BrokenError('has no such part of the file')
            _check_response(response, url)
            begin = _position(response, begin, url)
            file.truncate(begin)
            _append(response, url, file, download, progress)
    except requests.exceptions.RequestException as error:
        raise _explained(url, error) from None


def _check_response(response: Any, url: str) -> None:
    status = f'{response.status_code} {response.reason or ""}'.strip()
    if response.status_code in _PASSING:
        raise _BrokenError(f'answers {status}')
    if response.status_code not in (200, 206):
        raise DownloadError(f'{url}: answers {status}')
    if 'html' in response.headers.get('Content-Type', '').lower():
        raise _web_page(url)


def _web_page(url: str) -> DownloadError:
    return DownloadError(
        f'{url}: sends a web page, not the file. Is it the login page of a network or a proxy?'
    )


def _position(response: Any, asked: int, url: str) -> int:
    """Return where in the file the body of a response begins."""
    if response.status_code == 200:  # all of it: the server cannot send parts
        return 0
    if not response.headers.get('Content-Range', '').startswith(f'bytes {asked}-'):
        raise DownloadError(f'{url}: sends another part of the file than it was asked for')
    return asked


def _append(
    response: Any, url: str, file: BinaryIO, download: Download, progress: Progress
) -> None:
    length = response.headers.get('Content-Length', '')
    begin = _size(file)
    total = begin + int(length) if length.isdecimal() else None
    _check_size(url, total or 0, download)
    _check_space(url, file, (total or 0) - begin)
    progress(begin, total)
    for chunk in response.iter_content(_CHUNK):
        if not _size(file) and chunk.lstrip()[:9].lower().startswith((b'<!doctype', b'<html')):
            raise _web_page(url)
        _check_size(url, _size(file) + len(chunk), download)
        file.write(chunk)
        progress(_size(file), total)
    # Older releases of urllib3 take a body that was cut off for a whole one.
    if total is not None and _size(file) < total:
        raise _BrokenError(f'ended after {_size(file)} of {total} bytes')


def _check_size(url: str, size: int, download: Download) -> None:
    if size > download.largest:
        raise DownloadError(
            f'{url}: sends more than the {download.largest} bytes that {download.name} may have'
        )


def _check_space(url: str, file: BinaryIO, needed: int) -> None:
    """Find before the transfer that it will not fit."""
    if not hasattr(os, 'fstatvfs'):  # Windows
        return
    disk = os.fstatvfs(file.fileno())
    if (free := disk.f_bavail * disk.f_frsize) < needed:
        raise DownloadError(
            f'{url}: {needed / 1e6:.0f} MB are to be fetched, the disk has {free / 1e6:.0f} MB free'
        )


def _explained(url: str, error: Exception) -> Exception:
    """Return the error to raise for one of requests."""
    from requests import exceptions

    if isinstance(error, exceptions.ProxyError):
        return DownloadError(
            f'{url}: the proxy cannot be used ({_reason(error)}). It is the one of the environment '
            'variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY'
        )
    if isinstance(error, exceptions.SSLError):
        return DownloadError(
            f'{url}: its certificate is not trusted ({_reason(error)}). For a proxy that opens '
            'TLS, name its certificate in the environment variable REQUESTS_CA_BUNDLE'
        )
    if isinstance(error, exceptions.ReadTimeout):
        return _BrokenError('sends nothing')
    if isinstance(error, exceptions.ConnectTimeout):
        return DownloadError(f'{url}: cannot be reached (no answer in {_CONNECT_TIMEOUT:.0f} s)')
    if isinstance(error, exceptions.ChunkedEncodingError):
        return _BrokenError('the connection broke')
    if isinstance(error, exceptions.TooManyRedirects):
        return DownloadError(f'{url}: leads in circles (more than 10 redirects)')
    if isinstance(error, exceptions.ConnectionError):
        # urllib3 reports a silence in the middle of a body so.
        if 'timed out' in str(error) and 'Max retries' not in str(error):
            return _BrokenError('sends nothing')
        if 'aborted' in str(error) or 'reset' in str(error):
            return _BrokenError('the connection broke')
        return DownloadError(f'{url}: cannot be reached ({_reason(error)})')
    return DownloadError(f'{url}: {_reason(error)}')


def _reason(error: BaseException) -> str:
    """Return the innermost words of an error of requests and urllib3, which wrap each other."""
    inner: Any = error
    while True:
        deeper = getattr(inner, 'reason', None) or next(
            (each for each in getattr(inner, 'args', ()) if isinstance(each, BaseException)), None
        )
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    text = getattr(inner, 'strerror', None) or str(inner).split(': ', 1)[-1] or type(inner).__name__
    return one_line(text)


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """Open a part for this process only, without following a link that somebody put there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, 'O_NOFOLLOW', 0)
    with os.fdopen(os.open(part, flags, 0o644), 'ab', buffering=0) as raw:
        file: Any = raw
        if lock(file) is False:
            raise DownloadError(
                f'{part}: another download of this file is at work; wait for its end'
            )
        yield file


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def is_url(source: str) -> bool:
    """Whether a source is an address, not a path.

    Raises:
        DownloadError: it is one of another kind than http and https.
    """
    if '://' not in source:
        return False
    if urlsplit(source).scheme.lower() not in ('http', 'https'):
        raise DownloadError(f'{source}: expected an address with http:// or https://, or a path')
    return True
