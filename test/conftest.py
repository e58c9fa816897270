# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# `make test-quick` leaves out what takes seconds: a full-size network, a node over DDS ...
SLOW_FIXTURES = {
    'full_size_model',
    'large_model',
    'start_node',
    'start_shared_node',
    'toy_data',
    'distributions',
}
# ... and a command line in a process of its own in nearly every test.
SLOW_FILES = {'test_bag.py', 'test_cli.py', 'test_cli_files.py', 'test_cli_tracking.py'}


def pytest_configure() -> None:
    # A shell that starts the tests in the background makes them ignore Ctrl-C, nohup SIGHUP, and
    # with them every process that they start: none would end on the signal that a test sends.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, 'fixturenames', ()))
        if SLOW_FIXTURES & fixtures or item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope='session', autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Which models passed their trial, and what was converted, is kept for the session alone.

    Nor do models count that the user has installed.
    """
    variables = ('XDG_CACHE_HOME', 'XDG_DATA_HOME')
    before = {name: os.environ.get(name) for name in variables}
    for name in variables:
        os.environ[name] = str(tmp_path_factory.mktemp(name.lower()))
    yield Path(os.environ['XDG_CACHE_HOME'])
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
