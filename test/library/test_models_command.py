# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""``instance-seg models``, with a web server of this machine in place of the internet."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from file_server import FileServer, serve_files
from published_models import (
    ARCHIVE,
    ARCHIVE_NAME,
    MEMBER,
    MODELS,
    TEXT_GRAPH,
    TEXT_GRAPH_NAME,
    WEIGHTS,
    digest,
    pack,
    tiny_model,
    with_addresses,
    write_tiny_manifest,
)

from instance_seg_ros import Segmenter, downloads, known_models
from instance_seg_ros.cli import main
from instance_seg_ros.models import COCO_MODEL, find_model, read_manifest

HELPERS = Path(__file__).parents[1] / 'helpers'
SHARED = Path(__file__).parents[3] / 'shared' / 'reference'
INSTALLED = {'tiny.pb', TEXT_GRAPH_NAME}
SHIPPED = known_models.KNOWN_MODELS
LIMIT = 120  # seconds; only reached by a failure
AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files() as server:
        server.files = {ARCHIVE_NAME: ARCHIVE, TEXT_GRAPH_NAME: TEXT_GRAPH}
        yield server


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder for models, which is not there yet."""
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'data'))
    return tmp_path / 'data' / 'instance_seg_ros' / 'models'


@pytest.fixture(autouse=True)
def published(
    server: FileServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A small model is published on the server, and the package has its manifest."""

    def publish(model: known_models.KnownModel) -> None:
        monkeypatch.setattr(known_models, 'KNOWN_MODELS', (*SHIPPED, model))

    write_tiny_manifest(tmp_path / 'package')
    monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(tmp_path / 'package'))
    monkeypatch.setattr(downloads, 'PAUSES', (0.0, 0.0, 0.0))
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'no_proxy', 'NO_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    publish(tiny_model(server.url))
    return publish


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., subprocess.CompletedProcess]]:
    """Run ``instance-seg models`` in this process."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        capsys.readouterr()
        try:
            code = main(['models', *map(str, arguments)])
        except SystemExit as end:  # of argparse
            code = end.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def is_installed(data: Path) -> bool:
    return (
        names(data) == INSTALLED
        and (data / 'tiny.pb').read_bytes() == WEIGHTS
        and (data / TEXT_GRAPH_NAME).read_bytes() == TEXT_GRAPH
    )


def ranges(server: FileServer) -> list[str]:
    """What was asked for of the archive."""
    return [given for path, given in server.requests if path.endswith(ARCHIVE_NAME)]


def first_byte(given: str) -> int:
    return int(given.removeprefix('bytes=').removesuffix('-'))


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob('*'))
    }


class TestDownload:
    def test_a_model_is_found_and_runs_after_the_one_command(self, run, data: Path) -> None:
        done = run('download', 'small')
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [str(data / 'tiny.pb'), str(data / TEXT_GRAPH_NAME)]
        assert f'fetching {ARCHIVE_NAME} (3.6 MB)' in done.stderr
        assert is_installed(data)
        segmenter = Segmenter(model='tiny', refiner='none')
        assert segmenter.manifest.weights == data / 'tiny.pb'
        segmenter(np.zeros((120, 160, 3), np.uint8))
        assert find_model('small').name == 'tiny'

    def test_the_folder_without_xdg_data_home(
        self, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv('XDG_DATA_HOME')
        monkeypatch.setenv('HOME', str(tmp_path / 'home'))
        assert run('download', 'small').returncode == 0
        assert is_installed(tmp_path / 'home/.local/share/instance_seg_ros/models')

    def test_what_is_there_is_not_fetched_again(self, run, server: FileServer, data: Path) -> None:
        run('download', 'small')
        count = len(server.requests)
        again = run('download', 'tiny')
        assert (again.returncode, len(server.requests)) == (0, count)
        assert f'in {data} already' in again.stdout
        (data / TEXT_GRAPH_NAME).unlink()
        assert run('download', 'tiny').returncode == 0
        assert [path for path, _ in server.requests[count:]] == [f'/{TEXT_GRAPH_NAME}']

    def test_a_damaged_file_is_replaced(self, run, data: Path) -> None:
        run('download', 'small')
        (data / 'tiny.pb').write_bytes(WEIGHTS[:-1])
        assert run('download', 'small').returncode == 0
        assert is_installed(data)

    @pytest.mark.parametrize('fault', ['slow', 'busy', 'cut'])
    def test_faults_that_pass(self, run, server: FileServer, data: Path, fault: str) -> None:
        server.faults[ARCHIVE_NAME] = fault
        done = run('download', 'small')
        assert done.returncode == 0, done.stderr
        assert is_installed(data)
        if fault == 'cut':
            assert ranges(server)[0] == ''
            assert 0 < first_byte(ranges(server)[1]) <= len(ARCHIVE) // 2

    def test_a_redirect_is_followed(self, run, published, server: FileServer, data: Path) -> None:
        published(with_addresses(tiny_model(server.url), f'{server.url}/moved/{ARCHIVE_NAME}'))
        assert run('download', 'small').returncode == 0
        assert is_installed(data)

    def test_the_second_address_where_the_first_fails(
        self, run, published, server: FileServer, data: Path
    ) -> None:
        urls = f'{server.url}/no/such.tar.gz', f'{server.url}/second/{ARCHIVE_NAME}'
        published(with_addresses(tiny_model(server.url), *urls))
        assert run('download', 'small').returncode == 0
        assert is_installed(data)

    @pytest.mark.parametrize(
        'fault, words',
        [
            (404, 'answers 404'),
            (403, 'answers 403'),
            (500, 'answers 500.*4 times'),
            ('web_page', 'sends a web page, not the file'),
            ('circle', 'leads in circles'),
            ('silent', 'sends nothing'),
            ('cut_always', r'ended after|connection broke'),
        ],
    )
    @pytest.mark.slow
    def test_faults_that_stay(
        self, run, server: FileServer, data: Path, fault: str | int, words: str
    ) -> None:
        server.faults[ARCHIVE_NAME] = fault
        failed = run('download', 'small', '--timeout', '0.5')
        assert failed.returncode == 2
        assert re.search(f'{re.escape(server.url)}/{ARCHIVE_NAME}: .*{words}', failed.stderr)
        assert 'Traceback' not in failed.stderr
        assert not INSTALLED & names(data)
        del server.faults[ARCHIVE_NAME]
        assert run('download', 'small').returncode == 0
        assert is_installed(data)

    def test_a_name_that_there_is_not(self, run) -> None:
        failed = run('download', 'yolo')
        assert failed.returncode == 2
        assert "'yolo' is no model that can be downloaded. Known: coco, small" in failed.stderr


class TestResume:
    def test_a_killed_download_goes_on_where_it_was(
        self, run, server: FileServer, data: Path
    ) -> None:
        server.faults[ARCHIVE_NAME] = 'silent'
        code = (
            'import sys; from published_models import *; publish(tiny_model(sys.argv[1])); '
            'from instance_seg_ros.cli import main; main(["models", "download", "small"])'
        )
        paths = os.pathsep.join([str(HELPERS), *sys.path])
        process = subprocess.Popen(
            [sys.executable, '-c', code, server.url], env=os.environ | {'PYTHONPATH': paths}
        )
        part = data / f'.{ARCHIVE_NAME}.part'
        deadline = time.monotonic() + LIMIT
        while not (part.is_file() and part.stat().st_size > len(ARCHIVE) // 3):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert not INSTALLED & names(data)
        del server.faults[ARCHIVE_NAME]
        assert run('download', 'small').returncode == 0
        assert is_installed(data)
        assert first_byte(ranges(server)[-1]) > len(ARCHIVE) // 3

    def begin(self, data: Path, content: bytes) -> None:
        data.mkdir(parents=True)
        (data / f'.{ARCHIVE_NAME}.part').write_bytes(content)

    def test_a_whole_part_is_not_fetched_again(self, run, server: FileServer, data: Path) -> None:
        self.begin(data, ARCHIVE)
        assert run('download', 'small').returncode == 0
        assert is_installed(data)
        assert ranges(server) == []

    def test_a_server_that_cannot_resume_sends_all(
        self, run, server: FileServer, data: Path
    ) -> None:
        self.begin(data, ARCHIVE[:1000])
        server.faults[ARCHIVE_NAME] = 'no_ranges'
        assert run('download', 'small').returncode == 0
        assert is_installed(data)

    def test_another_range_than_asked_for_is_refused(
        self, run, server: FileServer, data: Path
    ) -> None:
        self.begin(data, ARCHIVE[:1000])
        server.faults[ARCHIVE_NAME] = 'wrong_range'
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert 'sends another part of the file' in failed.stderr

    @pytest.mark.parametrize('part', [b'junk' * 100, ARCHIVE + b'more'])
    def test_a_part_of_another_file_is_thrown_away(self, run, data: Path, part: bytes) -> None:
        self.begin(data, part)
        done = run('download', 'small')
        assert done.returncode == 0, done.stderr
        assert is_installed(data)


class TestWrongContent:
    def test_another_file_than_the_published_one(self, run, server: FileServer, data: Path) -> None:
        other = pack([(MEMBER, b'other weights')])
        server.files[ARCHIVE_NAME] = other
        failed = run('download', 'small')
        assert failed.returncode == 2
        for content in (ARCHIVE, other):  # expected, got
            assert digest(content, 'sha1').value in failed.stderr
        assert names(data) == set()

    def test_no_file_is_installed_before_all_are_right(
        self, run, server: FileServer, data: Path
    ) -> None:
        server.files[TEXT_GRAPH_NAME] = TEXT_GRAPH + b'\n'
        assert run('download', 'small').returncode == 2
        assert not INSTALLED & names(data)

    def test_a_file_that_does_not_end(self, run, server: FileServer, data: Path) -> None:
        server.files[TEXT_GRAPH_NAME] = bytes(400_000)
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert 'more than the 300000 bytes' in failed.stderr

    @pytest.mark.parametrize(
        'members, words',
        [
            ([(f'../{MEMBER}', b'evil'), (f'/tmp/{MEMBER}', b'evil')], 'has no regular file'),
            ([(MEMBER, b'other')], 'is damaged or another file'),
            ([('large', bytes(5_000_001)), (MEMBER, WEIGHTS)], 'one of more than 5000000 bytes'),
            ([(f'{i}', b'') for i in range(1001)], 'has more than 1000 files'),
            ('symlink', 'has no regular file'),
            ('not packed', 'is no complete tar.gz'),
            ('truncated', 'is no complete tar.gz|is damaged'),
        ],
    )
    def test_archives_that_are_hostile_or_broken(
        self, run, published, server: FileServer, data: Path, tmp_path: Path, members, words: str
    ) -> None:
        if members == 'symlink':
            link = tarfile.TarInfo(MEMBER)
            link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
            members = [(link, b'')]
        archive = {'not packed': b'hello' * 99, 'truncated': ARCHIVE[: len(ARCHIVE) // 2]}.get(
            str(members)
        ) or pack(members)
        server.files[ARCHIVE_NAME] = archive
        published(tiny_model(server.url, archive))  # its digest is right
        outside = tree(tmp_path)
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert re.search(words, failed.stderr)
        assert not INSTALLED & names(data)
        changed = {name for name, content in tree(tmp_path).items() if outside.get(name) != content}
        assert all(name.startswith('data') for name in changed)

    def test_links_in_the_folder_are_not_written_through(
        self, run, data: Path, tmp_path: Path
    ) -> None:
        victim = tmp_path / 'victim'
        victim.write_text('mine')
        data.mkdir(parents=True)
        (data / 'tiny.pb').symlink_to(victim)
        (data / '.tiny.pb.part').symlink_to(victim)
        assert run('download', 'small').returncode == 0
        assert is_installed(data)
        (data / 'tiny.pb').unlink()
        (data / f'.{ARCHIVE_NAME}.part').symlink_to(victim)
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert ARCHIVE_NAME in failed.stderr
        assert victim.read_text() == 'mine'


class TestWithoutNetwork:
    def test_the_steps_by_hand_work(
        self, run, published, server: FileServer, data: Path, tmp_path: Path, monkeypatch
    ) -> None:
        published(tiny_model('http://127.0.0.1:9'))  # where nothing listens
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert 'cannot be reached' in failed.stderr
        assert f'http://127.0.0.1:9/{TEXT_GRAPH_NAME}' in failed.stderr
        assert digest(ARCHIVE, 'sha1').value in failed.stderr
        stick = tmp_path / 'stick'
        stick.mkdir()
        (stick / ARCHIVE_NAME).write_bytes(ARCHIVE)
        (stick / TEXT_GRAPH_NAME).write_bytes(TEXT_GRAPH)
        monkeypatch.chdir(stick)
        step = failed.stderr.strip().splitlines()[-1].split()
        assert step[:2] == ['instance-seg', 'models']
        assert run(*step[2:]).returncode == 0
        assert is_installed(data)

    def test_a_proxy_of_the_environment(
        self, run, published, server: FileServer, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        published(tiny_model('http://models.invalid'))
        monkeypatch.setenv('HTTP_PROXY', server.url)
        assert run('download', 'small').returncode == 0
        assert is_installed(data)
        assert server.requests[0][0] == f'http://models.invalid/{ARCHIVE_NAME}'

    def test_a_proxy_that_is_not_there_is_named(
        self, run, published, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        published(tiny_model('http://models.invalid'))
        monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:9')
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert 'the proxy cannot be used' in failed.stderr
        assert 'HTTP_PROXY' in failed.stderr


class TestFrom:
    @pytest.fixture(autouse=True)
    def unreachable(self, published) -> None:
        published(tiny_model('http://127.0.0.1:9'))

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / 'stick'
        folder.mkdir()
        (folder / ARCHIVE_NAME).write_bytes(ARCHIVE)
        (folder / TEXT_GRAPH_NAME).write_bytes(TEXT_GRAPH)
        return folder

    def test_a_mirror(self, run, server: FileServer, data: Path) -> None:
        assert run('download', 'small', '--from', f'{server.url}/mirror/').returncode == 0
        assert is_installed(data)
        assert server.requests[0][0] == f'/mirror/{ARCHIVE_NAME}'

    def test_a_folder(self, run, folder: Path, data: Path) -> None:
        before = tree(folder)
        assert run('download', 'small', '--from', folder).returncode == 0
        assert is_installed(data)
        assert tree(folder) == before

    def test_an_unpacked_folder(self, run, folder: Path, data: Path) -> None:
        (folder / ARCHIVE_NAME).unlink()
        (folder / 'frozen_inference_graph.pb').write_bytes(WEIGHTS)
        assert run('download', 'small', '--from', folder).returncode == 0
        assert is_installed(data)

    def test_files_and_addresses_together(
        self, run, server: FileServer, folder: Path, data: Path
    ) -> None:
        graph = f'{server.url}/{TEXT_GRAPH_NAME}'
        archive = (folder / ARCHIVE_NAME).rename(folder / 'renamed')
        assert run('download', 'small', '--from', archive, '--from', graph).returncode == 0
        assert is_installed(data)

    def test_a_file_alone_is_not_enough(self, run, folder: Path, data: Path) -> None:
        failed = run('download', 'small', '--from', folder / ARCHIVE_NAME)
        assert failed.returncode == 2
        assert f'no {TEXT_GRAPH_NAME}' in failed.stderr
        assert names(data) == set()

    def test_a_file_of_another_content(self, run, folder: Path, data: Path) -> None:
        (folder / ARCHIVE_NAME).write_bytes(ARCHIVE[:-1])
        failed = run('download', 'small', '--from', folder)
        assert failed.returncode == 2
        assert f'{ARCHIVE_NAME}: is damaged or another file' in failed.stderr

    @pytest.mark.parametrize(
        'source, words',
        [('ftp://here', 'expected an address with http'), ('/no/where', 'no such file or folder')],
    )
    def test_sources_that_are_none(self, run, source: str, words: str) -> None:
        failed = run('download', 'small', '--from', source)
        assert failed.returncode == 2
        assert f'{source}: {words}' in failed.stderr


class TestFoldersThatCannotBeWritten:
    def test_a_file_in_the_way(self, run, data: Path) -> None:
        data.parent.parent.write_text('a file')
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert f'Models go into {data}; another folder' in failed.stderr

    @AS_ROOT
    def test_a_read_only_folder(self, run, data: Path) -> None:
        data.mkdir(parents=True)
        data.chmod(0o555)
        failed = run('download', 'small')
        assert failed.returncode == 2
        assert 'Permission denied. Models go into' in failed.stderr

    def test_a_write_that_fails(self, run, server: FileServer, data: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            failed = run('download', 'small')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert failed.returncode == 2
        assert 'File too large. Models go into' in failed.stderr
        assert run('download', 'small').returncode == 0
        assert is_installed(data)
        assert ranges(server)[-1] == 'bytes=1000000-'


class TestListVerifyPathRemove:
    def test_list(self, run, data: Path) -> None:
        rows = {line.split()[0]: line for line in run('list').stdout.splitlines()}
        assert 'not installed  instance-seg models download small (about 4 MB)' in rows['tiny']
        assert 'installed' in rows['person_mask_rcnn']
        run('download', 'small')
        assert re.search(rf'^tiny +installed +{data}$', run('list').stdout, re.MULTILINE)
        (data / TEXT_GRAPH_NAME).unlink()
        assert f'{TEXT_GRAPH_NAME} is missing in {data}' in run('list').stdout
        (data / 'tiny.pb').unlink()
        (data / f'.{ARCHIVE_NAME}.part').write_bytes(ARCHIVE[:1_200_000])
        assert '(about 4 MB, 1.2 MB are there)' in run('list').stdout

    def test_verify(self, run, data: Path) -> None:
        assert run('verify').returncode == 0
        assert run('verify', 'small').returncode == 2  # is not installed
        run('download', 'small')
        right = run('verify', 'small')
        assert right.returncode == 0
        assert f'tiny: {data / "tiny.pb"}: right' in right.stdout
        assert 'tiny_labels.txt: no digest on record' in right.stdout
        (data / 'tiny.pb').write_bytes(WEIGHTS[:-1])
        for command in (['verify'], ['verify', 'tiny']):
            wrong = run(*command)
            assert wrong.returncode == 1
            assert 'tiny.pb: DAMAGED or another file' in wrong.stdout

    def test_path(self, run, data: Path, tmp_path: Path) -> None:
        assert run('path').stdout.strip() == str(data)
        run('download', 'small')
        paths = run('path', 'small').stdout.splitlines()
        assert paths[:2] == [str(tmp_path / 'package/tiny.yaml'), str(data / 'tiny.pb')]
        assert all(Path(path).is_file() for path in paths)

    def test_remove_leaves_other_files_alone(self, run, data: Path, tmp_path: Path) -> None:
        run('download', 'small')
        run('models', 'convert')
        (data / 'tiny_onnx').mkdir()
        (data / 'tiny_onnx' / 'notes.txt').write_text('mine')
        (data / 'mine.txt').write_text('mine')
        outside = tree(tmp_path / 'package')
        removed = run('remove', 'small')
        assert removed.returncode == 0
        assert f'removed {data / "tiny.pb"}' in removed.stdout
        assert names(data) == {'mine.txt', 'tiny_onnx'}
        assert names(data / 'tiny_onnx') == {'notes.txt'}
        assert tree(tmp_path / 'package') == outside

    def test_remove_takes_the_folder_of_the_parts(
        self, run, data: Path, tmp_path: Path, small_model: Path
    ) -> None:
        assert run('add', small_model, '--name', 'mine').returncode == 0
        assert run('convert', 'mine').returncode == 0
        assert len(names(data / 'model_onnx')) == 4
        assert run('remove', 'mine').returncode == 0
        assert names(data) == set()

    def test_convert_leaves_other_files_alone(self, run, tmp_path: Path, small_model: Path) -> None:
        command = ('convert', small_model, '--output', tmp_path / 'parts')
        assert run(*command).returncode == 0
        (tmp_path / 'parts' / 'masks.onnx').write_bytes(b'damaged')
        (tmp_path / 'parts' / 'compiled.engine').write_text('mine')
        refused = run(*command)
        assert refused.returncode == 2
        assert 'compiled.engine, which is no ONNX part and would be lost' in refused.stderr
        assert (tmp_path / 'parts' / 'compiled.engine').read_text() == 'mine'

    def test_remove_takes_what_a_broken_download_left(self, run, data: Path) -> None:
        run('download', 'small')
        (data / f'.{TEXT_GRAPH_NAME}.part').write_text('half')
        (data / f'.{ARCHIVE_NAME}.part').write_bytes(b'half')
        assert run('remove', 'small').returncode == 0
        assert names(data) == set()

    @pytest.mark.parametrize('name', ['small', 'person_mask_rcnn', '../package/tiny', ''])
    def test_what_is_not_in_the_data_folder_is_not_removed(
        self, run, tmp_path: Path, name: str
    ) -> None:
        before = tree(tmp_path), (MODELS / 'person_mask_rcnn.pb').stat().st_size
        failed = run('remove', name)
        assert failed.returncode == 2
        assert 'nothing of it is in' in failed.stderr
        assert (tree(tmp_path), (MODELS / 'person_mask_rcnn.pb').stat().st_size) == before


class TestAdd:
    @pytest.fixture(autouse=True)
    def not_published(self, published, monkeypatch: pytest.MonkeyPatch) -> None:
        """The weights below are those of the small model."""
        monkeypatch.setattr(known_models, 'KNOWN_MODELS', SHIPPED)

    @pytest.fixture
    def own(self, tmp_path: Path) -> Path:
        """A folder with a model of the user's own."""
        folder = tmp_path / 'own'
        folder.mkdir()
        shutil.copy(MODELS / 'person_mask_rcnn.pb', folder / 'cups.pb')
        shutil.copy(MODELS / 'person_mask_rcnn.pbtxt', folder / 'cups.pbtxt')
        (folder / 'names.txt').write_text('cup\n')
        return folder

    def manifest(self, own: Path, **changes: object) -> Path:
        content = {'name': 'mine', 'weights': 'cups.pb', 'text_graph': 'cups.pbtxt'}
        content |= {'labels': 'names.txt', 'input_max_side': 160, **changes}
        (own / 'mine.yaml').write_text(yaml.safe_dump(content))
        return own / 'mine.yaml'

    def test_three_files(self, run, own: Path, data: Path) -> None:
        files = own / 'cups.pb', own / 'cups.pbtxt', own / 'names.txt'
        done = run('add', *files)
        assert done.returncode == 0, done.stderr
        assert names(data) == {'cups.yaml', 'cups.pb', 'cups.pbtxt', 'cups_labels.txt'}
        assert Segmenter(model='cups', refiner='none').class_names == {0: 'cup'}
        assert run('verify', 'cups').stdout.count(': right') == 3

    def test_a_manifest_and_its_files(self, run, own: Path, data: Path) -> None:
        assert run('add', self.manifest(own)).returncode == 0
        assert names(data) == {'mine.yaml', 'cups.pb', 'cups.pbtxt', 'names.txt'}
        assert find_model('mine').input_max_side == 160
        assert run('remove', 'mine').returncode == 0
        assert names(data) == set()

    def test_nothing_is_overwritten_unasked(self, run, own: Path, data: Path) -> None:
        run('add', self.manifest(own))
        before = tree(data)
        (own / 'names.txt').write_text('mug\n')
        failed = run('add', self.manifest(own))
        assert failed.returncode == 2
        assert 'exists. Give another --name, or --overwrite' in failed.stderr
        assert tree(data) == before
        assert run('add', own / 'mine.yaml', '--overwrite').returncode == 0
        assert (data / 'names.txt').read_text() == 'mug\n'

    def test_files_of_two_models_are_shared_until_the_last_is_removed(
        self, run, own: Path, data: Path
    ) -> None:
        run('add', self.manifest(own))
        run('add', self.manifest(own), '--name', 'second', '--overwrite')
        assert run('remove', 'mine').returncode == 0
        assert names(data) == {'second.yaml', 'cups.pb', 'cups.pbtxt', 'names.txt'}

    def test_a_file_of_another_model_is_not_replaced(self, run, own: Path, data: Path) -> None:
        run('add', self.manifest(own))
        before = tree(data)
        (own / 'names.txt').write_text('mug\n')
        failed = run('add', own / 'mine.yaml', '--name', 'second', '--overwrite')
        assert failed.returncode == 2
        assert 'names.txt: is a file of another model' in failed.stderr
        assert tree(data) == before

    def test_a_link_out_of_the_data_folder_is_not_followed(
        self, run, own: Path, data: Path, tmp_path: Path
    ) -> None:
        (own / 'sub').mkdir()
        (own / 'names.txt').rename(own / 'sub' / 'names.txt')
        elsewhere = tmp_path / 'elsewhere'
        elsewhere.mkdir()
        data.mkdir(parents=True)
        (data / 'sub').symlink_to(elsewhere)
        failed = run('add', self.manifest(own, labels='sub/names.txt'))
        assert failed.returncode == 2
        assert 'by a link' in failed.stderr
        assert names(elsewhere) == set()
        (data / 'sub').unlink()
        assert run('add', own / 'mine.yaml').returncode == 0
        assert (data / 'sub' / 'names.txt').read_text() == 'cup\n'

    @pytest.mark.parametrize(
        'changes, words',
        [
            ({'labels': '../own/names.txt'}, 'labels is ../own/names.txt, which lies in another'),
            ({'name': '../../evil'}, "name '../../evil': expected letters"),
            ({'name': 'person_mask_rcnn'}, 'would hide a model that comes with the package'),
            ({'weights': 'names.txt'}, 'names.txt: the file is|names.txt: .*frozen graph'),
        ],
    )
    def test_manifests_that_are_refused(
        self, run, own: Path, tmp_path: Path, changes: dict[str, str], words: str
    ) -> None:
        path = self.manifest(own, **changes)
        before = tree(tmp_path)
        failed = run('add', path)
        assert failed.returncode == 2
        assert re.search(words, failed.stderr)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize('files', [['cups.pb'], ['names.txt'], ['none.pb', 'cups.pbtxt']])
    def test_files_that_are_no_model(self, run, own: Path, files: list[str]) -> None:
        failed = run('add', *(own / name for name in files))
        assert failed.returncode == 2
        assert 'xpected a manifest (.yaml), or a frozen graph' in failed.stderr


class TestTheRegistry:
    """What the package says about the COCO model is the same everywhere."""

    @pytest.fixture(autouse=True)
    def as_shipped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()

    def test_the_shipped_manifest_has_the_same_digests(self) -> None:
        manifest = read_manifest(MODELS / f'{COCO_MODEL}.yaml')
        known = known_models.find_known('coco')
        recorded = {file.name: (file.digest.algorithm, file.digest.value) for file in known.files}
        assert recorded == {
            manifest.files[role].name: manifest.digests[role] for role in ('weights', 'text_graph')
        }

    def test_the_documentation_has_the_same_addresses_and_digests(self) -> None:
        page = (MODELS.parent / 'docs' / 'models.md').read_text()
        for file in known_models.find_known('coco').files:
            assert file.digest.value in page
            assert file.download.digest.value in page
            assert file.download.urls[0] in page

    @pytest.mark.skipif(not SHARED.is_dir(), reason='the published text graph is not at hand')
    def test_the_published_text_graph_is_the_recorded_one(self) -> None:
        graph = known_models.find_known('coco').files[1]
        assert graph.digest.fits(SHARED / graph.name)
        assert (SHARED / graph.name).stat().st_size <= graph.largest
