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
    'half_size_model',
    'slow_model',
    'start_node',
    'start_shared_node',
    'toy_data',
    'distributions',
}
# ... and processes of its own in nearly every test, or many runs of the whole command line.
SLOW_FILES = {
    'test_bag.py',
    'test_batch.py',
    'test_cli.py',
    'test_cli_files.py',
    'test_cli_formats.py',
    'test_cli_tracking.py',
    'test_engines.py',
    'test_labelling.py',
    'test_models_command.py',
    'test_silence.py',
    'test_view.py',
}

# The longest, longest first. Whole files go to processes, and one that begins last would let the
# others wait at the end. Nodes are waited for, networks are computed: so one of each in turn.
LONG_FILES = (
    'test_depth_missing.py',
    'test_segmenter.py',
    'test_diagnostics.py',
    'test_detector.py',
    'test_topics.py',
    'test_onnx_parity.py',
    'test_faults.py',
    'test_cli_files.py',
    'test_node_lifetime.py',
    'test_distrust.py',
    'test_examples.py',
    'test_models_command.py',
    'test_robot_features.py',
    'test_bag.py',
    'test_lifecycle.py',
    'test_batch.py',
    'test_node.py',
    'test_distribution.py',
    'test_silence.py',
    'test_cli_formats.py',
    'test_engines.py',
    'test_models_command.py',
    'test_cli.py',
    'test_faults_of_files.py',
    'test_engines.py',
    'test_live_parameters.py',
    'test_refiner.py',
    'test_services.py',
    'test_cli_formats.py',
    'test_depth_outputs.py',
    'test_evaluate.py',
    'test_start.py',
    'test_view.py',
    'test_several_cameras.py',
    'test_segmentation.py',
    'test_view_topic.py',
)


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
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(scope='session', autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Which models passed their trial, and what was converted, is kept for the session alone.

    All its processes share that: a trial of a full-size model takes seconds. Nor do models count
    that the user has installed.
    """
    session = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        session = session.parent
    folders = {
        'XDG_CACHE_HOME': session / 'cache',
        'XDG_DATA_HOME': tmp_path_factory.mktemp('data'),
    }
    before = {name: os.environ.get(name) for name in folders}
    for name, folder in folders.items():
        folder.mkdir(exist_ok=True)
        os.environ[name] = str(folder)
    yield Path(os.environ['XDG_CACHE_HOME'])
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
