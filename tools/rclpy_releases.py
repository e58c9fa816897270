# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Tests this package with releases of rclpy of which there are no wheels.

- The ROS tests run with the Python files of each newer release of the installed wheel's
  distribution, as far as its compiled part has what they need.
- Of the newest release of each distribution, mypy checks that all that is imported, called,
  overridden or passed by keyword is there and fits. And no private attribute of our classes may
  have the name of one of the class of rclpy that it extends.

The files come from a clone of the repository in which the releases are published.
"""

import argparse
import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from private_attributes import imported_names, private_names

ROOT = Path(__file__).resolve().parent.parent
HOW_TO_GET_THEM = """\
The releases of rclpy are needed, as one folder of all. Get them with
  git clone --bare https://github.com/ros2-gbp/rclpy-release ../rclpy-release
and run: make test-rclpy RCLPY_RELEASE=../rclpy-release"""
DISTRIBUTIONS = ('humble', 'jazzy', 'kilted', 'lyrical', 'rolling')
CHECKED = ('instance_seg_ros/ros', 'demo')
MYPY_SETTINGS = """\
[mypy]
python_version = 3.10
check_untyped_defs = True
ignore_missing_imports = True
follow_imports = silent
explicit_package_bases = True
namespace_packages = True
no_site_packages = True
[mypy-rclpy,rclpy.*]
ignore_missing_imports = False
"""
# What mypy says of names and signatures; the rest, such as a missing annotation, is no fault here.
CODES = {
    'abstract',
    'arg-type',
    'attr-defined',
    'call-arg',
    'call-overload',
    'import-not-found',
    'override',
    'union-attr',
}
# What newer Python files expect of the compiled part, where the wheel lacks it: an exception that
# is only caught, and a filter of a subscription's content, which this package does not use.
STAND_INS = """
for name in ('TimerCancelledError',):
    if not hasattr(rclpy_implementation, name):
        setattr(rclpy_implementation, name, type(name, (RuntimeError,), {}))
_Subscription = rclpy_implementation.Subscription
if 'arg4' not in _Subscription.__init__.__doc__:

    def _without_filter(node, kind, topic, qos, content_filter=None):
        assert content_filter is None
        return _Subscription(node, kind, topic, qos)

    rclpy_implementation.Subscription = _without_filter
"""
# The compiled part is used: some releases differ in nothing else.
PROBE = """
import rclpy, rclpy.executors, rclpy.lifecycle
from std_msgs.msg import Empty

rclpy.init()
node = rclpy.lifecycle.LifecycleNode('probe')
node.create_subscription(Empty, 'probe', print, 1)
node.create_publisher(Empty, 'probe', 1)
node.create_timer(1.0, print)
rclpy.executors.SingleThreadedExecutor().add_node(node)
print(rclpy.__file__)
"""
FINDING = re.compile(r'(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$')


@dataclass(frozen=True, order=True)
class Release:
    """A release of rclpy: its distribution, its version, its tag and the day of the tag."""

    distribution: str
    version: tuple[int, ...]
    tag: str
    day: str

    def __str__(self) -> str:
        return f'{self.distribution:8} {self.number:8} {self.day}'

    @property
    def number(self) -> str:
        """The version as a text."""
        return '.'.join(map(str, self.version))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument('--repository', default='', help='clone of ros2-gbp/rclpy-release')
    parser.add_argument('--check-only', action='store_true', help='leave out the ROS tests')
    parser.add_argument(
        'releases', nargs='*', help='run the ROS tests with these alone, such as 9.1.5'
    )
    arguments = parser.parse_args()
    if not arguments.repository or not Path(arguments.repository).is_dir():
        print(HOW_TO_GET_THEM, file=sys.stderr)
        return 1
    repository = Path(arguments.repository).resolve()
    releases = find_releases(repository)
    results = [
        f'{newest(found)}  {check(repository, newest(found))}' for found in releases.values()
    ]
    print('\n'.join(results), flush=True)
    if not arguments.check_only:
        for release in to_test(releases, arguments.releases):
            results.append(f'{release}  {run_tests(repository, release)}')
        print('\n'.join(results))
    return 0 if all('FAILED' not in result for result in results) else 1


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


def find_releases(repository: Path) -> dict[str, list[Release]]:
    """Return all releases by distribution."""
    form = '--format=%(refname:short) %(creatordate:short)'
    found: dict[str, list[Release]] = defaultdict(list)
    for line in _git(repository, 'for-each-ref', form, 'refs/tags/release').decode().splitlines():
        tag, day = line.split()
        match = re.fullmatch(r'release/(\w+)/rclpy/([\d.]+)-\d+', tag)
        if match and match[1] in DISTRIBUTIONS:
            version = tuple(map(int, match[2].split('.')))
            found[match[1]].append(Release(match[1], version, tag, day))
    return {name: found[name] for name in DISTRIBUTIONS if name in found}


def newest(releases: list[Release]) -> Release:
    """Return the one with the highest version."""
    return max(releases, key=lambda release: (release.version, release.tag))


def to_test(releases: dict[str, list[Release]], chosen: list[str]) -> list[Release]:
    """Return those that belong to the installed wheel's compiled part, or the chosen ones."""
    try:
        installed = importlib.metadata.version('ros-rclpy')
    except importlib.metadata.PackageNotFoundError:
        print('no ROS tests: rclpy is not from a wheel here')
        return []
    version = tuple(map(int, installed.split('.')))
    found = {
        release.number: release
        for release in sorted(releases.get(os.environ.get('ROS_DISTRO', ''), []))
        if release.version[:2] == version[:2] and release.version > version
    }
    unknown = set(chosen) - set(found)
    if unknown:
        sys.exit(f'{", ".join(sorted(unknown))}: expected some of {", ".join(found)}')
    return [found[number] for number in chosen or found]


def extract(repository: Path, release: Release, folder: Path) -> None:
    """Write the Python files of a release into a folder, as rclpy/..."""
    archive = tarfile.open(fileobj=BytesIO(_git(repository, 'archive', release.tag, 'rclpy')))
    for member in archive:
        if member.isfile() and member.name.endswith(('.py', '.pyi', 'py.typed')):
            archive.extract(member, folder)


# --- names and signatures


def check(repository: Path, release: Release) -> str:
    """Compare our code with a release; print what does not fit, and return the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(repository, release, folder)
        (folder / 'mypy.ini').write_text(MYPY_SETTINGS)
        command = ['mypy', '--config-file', str(folder / 'mypy.ini')]
        result = subprocess.run(
            [*command, '--cache-dir', str(folder / 'cache'), *CHECKED],
            cwd=ROOT,
            env=dict(os.environ, MYPYPATH=f'{folder}:demo'),
            capture_output=True,
            text=True,
        )
        used_twice = _names_used_twice(folder)
    if result.returncode not in (0, 1):  # 2: mypy itself broke down
        sys.exit(f'mypy failed: {result.stdout}{result.stderr}')
    problems = [*_problems(result.stdout.splitlines()), *used_twice]
    print('\n'.join(problems), end='\n' if problems else '')
    return 'names and signatures FAILED' if problems else 'names and signatures fit'


def _problems(lines: list[str]) -> list[str]:
    found = [match for match in map(FINDING.match, lines) if match and match['code'] in CODES]
    missing = defaultdict(set)
    for match in found:
        if match['code'] == 'import-not-found':
            missing[match['path']].add(int(match['line']))
    return [
        match[0]
        for match in found
        if int(match['line']) not in _replaced(match['path'], missing[match['path']])
    ]


def _replaced(path: str, missing: set[int]) -> set[int]:
    """Return the lines of imports that are missing, but stand in a try with another that is not."""
    replaced: set[int] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text('utf-8'))):
        if isinstance(node, ast.Try):
            imports = {part.lineno for part in ast.walk(node) if isinstance(part, ast.ImportFrom)}
            if imports - missing:
                replaced |= imports & missing
    return replaced


def _names_used_twice(folder: Path) -> list[str]:
    theirs = {
        node.name: node
        for path in folder.rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text('utf-8')))
        if isinstance(node, ast.ClassDef)
    }
    problems = []
    for path in (ROOT / CHECKED[0]).glob('*.py'):
        tree = ast.parse(path.read_text('utf-8'))
        imported = imported_names(tree)
        for ours in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for base in ours.bases:
                if imported.get(ast.unparse(base), '').startswith('rclpy'):
                    twice = set(private_names(ours)) & _inherited(ast.unparse(base), theirs)
                    problems += [
                        f"{path}: {name} is a name of {ours.name}'s base" for name in twice
                    ]
    return problems


def _inherited(name: str, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Return the private names of a class and of all that it extends."""
    if name not in classes:
        return set()
    names = set(private_names(classes[name]))
    return names.union(*(_inherited(ast.unparse(base), classes) for base in classes[name].bases))


# --- the ROS tests


def run_tests(repository: Path, release: Release) -> str:
    """Run the ROS tests with the release's Python files over the installed rclpy."""
    spec = importlib.util.find_spec('rclpy')
    assert spec is not None and spec.origin is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(
            Path(spec.origin).parent, folder / 'rclpy', ignore=shutil.ignore_patterns('*.py*')
        )
        extract(repository, release, folder)
        with (folder / 'rclpy' / 'impl' / 'implementation_singleton.py').open('a') as file:
            file.write(STAND_INS)
        path = os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])
        environment = dict(os.environ, PYTHONPATH=path)
        lacking = _probe(folder, environment)
        if lacking:
            return f'no ROS tests: it needs another compiled part ({lacking})'
        print(f'--- rclpy {release.number}', flush=True)
        tests = subprocess.run(['pytest', '-q', 'test/ros'], cwd=ROOT, env=environment)
    return 'ROS tests passed' if tests.returncode == 0 else 'ROS tests FAILED'


def _probe(folder: Path, environment: dict[str, str]) -> str:
    """Return why the release cannot be used over the wheel; empty where it can."""
    result = subprocess.run(
        [sys.executable, '-c', PROBE], env=environment, cwd=folder, capture_output=True, text=True
    )
    if result.returncode != 0:
        return result.stderr.strip().splitlines()[-1]
    assert result.stdout.startswith(str(folder)), result.stdout
    return ''


def _git(repository: Path, *arguments: str) -> bytes:
    # The folder may belong to another user.
    command = ['git', '-c', f'safe.directory={repository}', '-C', str(repository), *arguments]
    result = subprocess.run(command, capture_output=True)
    if result.returncode != 0:
        sys.exit(f'{repository}: {result.stderr.decode()}')
    return result.stdout


if __name__ == '__main__':
    sys.exit(main())
