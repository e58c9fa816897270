# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What users install with pip, and what maintainers release, built from the repository."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
import zipfile
from email.message import Message
from pathlib import Path

import cv2
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = ElementTree.parse(REPOSITORY / 'package.xml').findtext('version')
LINK = re.compile(r'\]\(([^)]+)\)')


def run(*command: object, cwd: Path, **variables: str) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f'{command}: {result.stdout}{result.stderr}'
    return result.stdout


@pytest.fixture(scope='session')
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files, without what was built there."""
    if not (REPOSITORY / '.git').exists() or shutil.which('git') is None:
        pytest.skip('this is not a git checkout, which says what belongs to the package')
    listed = run('git', 'ls-files', '-co', '--exclude-standard', cwd=REPOSITORY).splitlines()
    folder = tmp_path_factory.mktemp('sources')
    for name in listed:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope='session')
def distributions(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution, and of the wheel that was built from that."""
    pytest.importorskip('build', reason='it builds the distributions')
    folder = tmp_path_factory.mktemp('dist')
    run(sys.executable, '-m', 'build', '--no-isolation', '-o', folder, '.', cwd=sources)
    return folder


@pytest.fixture(scope='session')
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob('*.whl')
    return path


@pytest.fixture(scope='session')
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('/METADATA'))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope='session')
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed in; its dependencies are those of this Python."""
    folder = tmp_path_factory.mktemp('installed')
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    run(*pip, '--target', folder, wheel, cwd=folder)
    return folder


def test_the_source_distribution_has_every_file_of_the_repository(
    sources: Path, distributions: Path
) -> None:
    (path,) = distributions.glob('*.tar.gz')
    with tarfile.open(path) as archive:
        packed = {name.partition('/')[2] for name in archive.getnames()}
    wanted = {
        str(file.relative_to(sources))
        for file in sources.rglob('*')
        if file.is_file() and not file.relative_to(sources).parts[0].startswith('.')
    }
    built = {name for name in wanted if '.egg-info/' in name or name.startswith('build/')}
    assert wanted - built - packed - {'MANIFEST.in'} == set()


def test_the_version_is_the_same_everywhere(
    distributions: Path, metadata: Message, installed: Path, tmp_path: Path
) -> None:
    assert metadata['Version'] == VERSION
    assert (distributions / f'instance_seg_ros-{VERSION}.tar.gz').is_file()
    command = installed / 'bin' / 'instance-seg'
    said = run(command, '--version', cwd=tmp_path, PYTHONPATH=str(installed))
    assert said == f'instance-seg {VERSION}\n'
    # As this Python has it: from the ROS workspace, or from the checkout.
    code = 'import instance_seg_ros; print(instance_seg_ros.__version__)'
    assert run(sys.executable, '-c', code, cwd=tmp_path) == f'{VERSION}\n'


def test_the_demo_annotates_the_sample_photos_from_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    said = run(installed / 'bin' / 'instance-seg', 'demo', cwd=tmp_path, PYTHONPATH=str(installed))
    photos = REPOSITORY / 'demo' / 'photos'
    results = tmp_path / 'instance_seg_output'
    assert {path.name for path in results.iterdir()} == {path.name for path in photos.iterdir()}
    for name, finds_something in (
        ('astronaut.jpg', True),
        ('coffee.jpg', True),
        ('rocket.jpg', False),
    ):
        change = cv2.absdiff(cv2.imread(str(results / name)), cv2.imread(str(photos / name)))
        assert (change.mean() > 5) == finds_something, f'{name}: {change.mean()}'
    assert 'person' in said and 'annotated in instance_seg_output' in said


def test_type_checkers_are_invited_to_read_the_types(installed: Path) -> None:
    assert (installed / 'instance_seg_ros' / 'py.typed').is_file()  # PEP 561
    assert (installed / 'instance_seg_ros' / 'evaluation' / 'report.html').is_file()


def test_the_page_on_a_package_index_links_to_addresses_alone(metadata: Message) -> None:
    links = LINK.findall(metadata.get_payload())
    assert links and all(link.startswith('https://') for link in links), links
    assert any(link.startswith('https://raw.') and link.endswith('.jpg') for link in links)
    assert {entry.partition(',')[0] for entry in metadata.get_all('Project-URL')} >= {
        'Source',
        'Documentation',
        'Issues',
    }
    assert metadata['Author'] and metadata['Author-email'] and metadata.get_all('Classifier')


def test_texts_in_the_wheel_link_to_nothing_that_it_lacks(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for name in names:
            if not name.endswith('.md'):
                continue
            for link in LINK.findall(archive.read(name).decode('utf-8')):
                target = f'{Path(name).parent}/{link.partition("#")[0]}'
                assert link.startswith(('https://', '#')) or target in names, f'{name}: {link}'


@pytest.mark.slow
def test_a_release_is_prepared_by_the_tools_of_ros(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip('catkin_pkg', reason='it has catkin_prepare_release')
    tool = shutil.which('catkin_prepare_release')
    if tool is None:
        pytest.skip('catkin_prepare_release is not installed')
    repository = tmp_path / 'repository'
    shutil.copytree(sources, repository, ignore=shutil.ignore_patterns('*.egg-info', 'build'))
    git = ['git', '-c', 'user.name=test', '-c', 'user.email=test@example.org']
    run('git', 'init', '--quiet', '--initial-branch', 'main', cwd=repository)
    run('git', 'add', '--all', cwd=repository)
    run(*git, 'commit', '--quiet', '--message', 'all', cwd=repository)
    identity = {
        f'GIT_{role}_{what}': 'test@example.org'
        for role in ('AUTHOR', 'COMMITTER')
        for what in ('NAME', 'EMAIL')
    }
    run(tool, '--version', '9.8.7', '--no-push', '-y', cwd=repository, **identity)
    assert run('git', 'tag', cwd=repository).split() == ['9.8.7']
    changes = (repository / 'CHANGELOG.rst').read_text()
    assert re.search(r'^9\.8\.7 \(\d{4}-\d\d-\d\d\)$', changes, re.MULTILINE)
    code = 'import instance_seg_ros; print(instance_seg_ros.__version__)'
    said = run(sys.executable, '-c', code, cwd=repository, PYTHONPATH=str(repository))
    assert said == '9.8.7\n'
