# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The lint check that keeps our classes off the private parts of other packages' classes."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'private_attributes.py'


def lint(folder: Path, source: str) -> str:
    (folder / 'module.py').write_text(source)
    result = subprocess.run(
        [sys.executable, str(TOOL), str(folder)], capture_output=True, text=True
    )
    assert result.returncode == (1 if result.stdout else 0), result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ('source', 'named'),
    [
        ('import x\nx.y._z()', 'x.y._z'),
        ("import x\ngetattr(x, '_z')", '_z'),
        ('from x import _z', '_z'),
        ('class A:\n    def f(self, other):\n        other._z = 1', 'other._z'),
        ('from absent import B\nclass A(B):\n    def f(self):\n        return self._z', 'self._z'),
        ('from absent import B\nclass A(B):\n    def f(self):\n        super()._z()', 'super()._z'),
        (
            'from queue import Queue\nclass A(Queue):\n    def _init(self, size):\n        pass',
            '_init',
        ),
        (
            'from threading import Thread\nclass A(Thread):\n    def __init__(self):\n'
            '        self._target = 1',
            '_target',
        ),
    ],
)
def test_a_private_part_of_others_is_found(tmp_path: Path, source: str, named: str) -> None:
    assert named in lint(tmp_path, source)


def test_what_is_ours_or_public_is_not(tmp_path: Path) -> None:
    source = """
import os
from queue import Queue

class Base:
    _limit = 3

    def __init__(self):
        self._size = self._limit

    def _grow(self):
        self._size += 1

class Own(Base, Queue):
    def use(self):
        self._grow()
        super().__init__()
        return self._size, self.__class__, [_ for _ in self._names()]

    def _names(self):
        os._exit(0)
"""
    assert lint(tmp_path, source) == ''
