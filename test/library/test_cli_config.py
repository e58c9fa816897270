# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Settings of the command line from a file, and its completion in a shell."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from instance_seg_ros.cli import main

ROOT = Path(__file__).parents[2]
FAST = ('--refiner', 'none', '--num-threads', '1')


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., subprocess.CompletedProcess]]:
    """Runs `instance-seg ...` in tmp_path, which has a photo 1.png, in this process."""

    def call(*arguments: str) -> subprocess.CompletedProcess:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:  # of argparse
            code = end.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    image = cv2.imread(str(ROOT / 'demo' / 'photos' / 'astronaut.jpg'))
    cv2.imwrite(str(tmp_path / '1.png'), cv2.resize(image, (128, 128)))
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


def scores(done: subprocess.CompletedProcess) -> list[float]:
    assert done.returncode == 0, done.stderr
    return [row['score'] for row in json.loads(done.stdout)]


@pytest.mark.parametrize(
    'text',
    [
        'max_instances: 1\nconfidence_threshold: 0.05\n',
        '/**:\n  ros__parameters:\n    max_instances: 1\n    confidence_threshold: 0.05\n',
        # What stands for the node by name is more than what stands for all; others are not ours.
        '/**:\n  ros__parameters:\n    max_instances: 3\n    confidence_threshold: 0.05\n'
        'front:\n  instance_seg:\n    ros__parameters: {max_instances: 1}\n'
        '/camera:\n  ros__parameters: {exposure: 7}\n',
    ],
)
@pytest.mark.slow
def test_a_file_gives_settings_and_the_command_line_wins(
    tmp_path: Path, run: Callable, text: str
) -> None:
    (tmp_path / 's.yaml').write_text(text)
    command = ('image', '1.png', '--json', '-', '--overwrite', '--config', 's.yaml', *FAST)
    assert len(scores(run(*command))) == 1
    for given in (('--max-instances', '100'), ('--max-instances=100',)):
        found = scores(run(*command, *given))
        assert len(found) > 1 and min(found) < 0.5  # the threshold is still that of the file
    assert len(scores(run('image', '--max-instances', '100', *command[1:]))) == len(found)


def test_the_file_of_the_node_is_taken_as_it_is(tmp_path: Path, run: Callable) -> None:
    shutil.copy(ROOT / 'config' / 'seg.yaml', tmp_path)
    done = run('image', '1.png', '--config', 'seg.yaml', *FAST)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if 'left out' in line]
    assert len(lines) == 1 and 'seg.yaml: left out' in lines[0] and 'image_topics' in lines[0]


def test_tracking_in_the_file_is_track(tmp_path: Path, run: Callable) -> None:
    image = cv2.imread(str(tmp_path / '1.png'))
    writer = cv2.VideoWriter('v.avi', cv2.VideoWriter.fourcc(*'MJPG'), 5, (128, 128))
    writer.write(image)
    writer.release()
    (tmp_path / 's.yaml').write_text('tracking: true\nqos_overrides./image.depth: 2\n')
    command = ('video', 'v.avi', '--json', '-', '--config', 's.yaml', '--overwrite', *FAST)
    rows = json.loads(run(*command).stdout)
    assert rows and all(row['track_id'] >= 1 for row in rows)
    assert not any('track_id' in row for row in json.loads(run(*command, '--no-track').stdout))


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        (
            'tile: 2x2\nunheard_of: 1\n',
            r'there is no parameter tile \(did you mean tiles\?\), unheard_of',
        ),
        ('confidence_threshold: 7\n', 'confidence_threshold is 7.0: expected a number from 0 to 1'),
        ('image_topics: [a]\nclasses: 5\n', 'classes is 5: expected a list of names'),
        ('', 'has no parameters'),
        ('- tiles\n', 'has no parameters'),
        ('tiles: [', 'is not YAML'),
        ('/camera:\n  ros__parameters: {a: 1}\n', 'has parameters for /camera alone'),
        (
            'a/instance_seg: {ros__parameters: {}}\nb/instance_seg: {ros__parameters: {}}\n',
            'for /a/instance_seg and /b/instance_seg',
        ),
        (None, 'No such file'),
    ],
)
def test_a_bad_file_is_told_of_in_one_line(
    tmp_path: Path, run: Callable, text: str | None, told: str
) -> None:
    if text is not None:
        (tmp_path / 's.yaml').write_text(text)
    done = run('image', '1.png', '--config', 's.yaml')
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(f'^instance-seg: error: .*s.yaml.*{told}', done.stderr), done.stderr
    assert not (tmp_path / 'instance_seg_output').exists()


def test_bash_completes_commands_options_and_files(tmp_path: Path, run: Callable) -> None:
    pytest.importorskip('shtab', reason='needs shtab')
    (tmp_path / 'script').write_text(run('completion', 'bash').stdout)

    def complete(*words: str) -> list[str]:
        quoted = ' '.join(f"'{word}'" for word in words)
        code = (
            f'source ./script; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; '
            '_shtab_instance_seg; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ['bash', '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert complete('instance-seg', 'im') == ['image']
    assert '--cutouts' in complete('instance-seg', 'image', '--cut')
    assert complete('instance-seg', 'image', '1') == ['1.png']
    assert complete('instance-seg', 'video', '--config', 'scr') == ['script']
    assert complete('instance-seg', 'image', '--engine', 'on') == ['onnxruntime']


def test_fish_completes_commands_options_and_files(tmp_path: Path, run: Callable) -> None:
    pytest.importorskip('shtab', reason='needs shtab')
    if shutil.which('fish') is None:
        pytest.skip('fish is not installed, and only it can say what it completes')
    (tmp_path / 'script').write_text(run('completion', 'fish').stdout)

    def complete(line: str) -> list[str]:
        command = ['fish', '--no-config', '-c', f"source ./script; complete -C '{line}'"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [found.split('\t')[0] for found in done.stdout.splitlines()]

    assert complete('instance-seg im') == ['image']
    assert '--cutouts' in complete('instance-seg image --cut')
    assert complete('instance-seg image --engine on') == ['onnxruntime']
    assert '1.png' in complete('instance-seg image 1')


def test_zsh_completes_commands_options_and_files(tmp_path: Path, run: Callable) -> None:
    pytest.importorskip('shtab', reason='needs shtab')
    if shutil.which('zsh') is None:
        pytest.skip('zsh is not installed, and only it can say what it completes')
    (tmp_path / '_instance-seg').write_text(run('completion', 'zsh').stdout)

    # A terminal with a zsh in it: each read waits until the pattern has appeared.
    code = """
        zmodload zsh/zpty
        zpty terminal zsh -f -i
        zpty -w terminal 'fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; echo r""eady'
        zpty -r terminal shown '*ready*'
        zpty -w -n terminal "$1"$'\\t'
        zpty -r terminal shown "*$2*"
    """

    def completes(line: str, expected: str) -> None:
        command = ['zsh', '-f', '-c', code, 'zsh', line, expected]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60)

    completes('instance-seg im', 'instance-seg image')
    completes('instance-seg image --cut', '--cutouts')
    completes('instance-seg image --engine on', 'onnxruntime')
    completes('instance-seg image 1', '1.png')
