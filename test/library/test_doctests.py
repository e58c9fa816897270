# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The examples in the docstrings do what they say, and every public method has one."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

from instance_seg_ros import Instances, Segmenter

MODULES = (
    'depth.images',
    'depth.intrinsics',
    'depth.objects',
    'drawing',
    'functions',
    'images',
    'instances',
    'models',
    'segmenter',
    'tracking.tracker',
)
# Without an example: what only Python itself calls, and the parts of a manifest.
NO_EXAMPLE_NEEDED = {
    'images': {'decode_image', 'check_image'},
    'models': {
        'ModelManifest',
        'SpeedPreset',
        'check_recorded_digest',
        'find_refiner',
        'model_folders',
        'package_folders',
        'read_manifest',
    },
    'depth.images': {'DepthError'},
    'depth.objects': {'Object3D'},
}


def load(name: str) -> ModuleType:
    return importlib.import_module(f'instance_seg_ros.{name}')


def examples() -> Iterator[Any]:
    """Yield each docstring that has examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        for test in finder.find(load(name), name):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.fixture(scope='module')
def shared() -> dict[str, Any]:
    """The names that examples may use beside those of their module."""
    image = cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'astronaut.jpg'))
    segmenter = Segmenter(model='person_mask_rcnn', num_threads=0)
    return {
        'Instances': Instances,
        'Segmenter': Segmenter,
        'cv2': cv2,
        'image': image,
        'instances': segmenter(image),
        'np': np,
        'segmenter': segmenter,
    }


@pytest.mark.parametrize('test', list(examples()))
def test_an_example_does_what_it_says(
    test: doctest.DocTest, shared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Examples name the sample photos as in a checkout, and write into the current folder.
    (tmp_path / 'demo').symlink_to(REPOSITORY / 'demo')
    monkeypatch.chdir(tmp_path)
    before = shared['segmenter'].configuration
    test.globs.update({**shared, 'instances': shared['instances'][:]})
    said: list[str] = []
    try:
        failed = doctest.DocTestRunner().run(test, out=said.append, clear_globs=False).failed
    finally:
        shared['segmenter'].apply(before)
    assert not failed, ''.join(said)


@pytest.mark.parametrize('name', MODULES)
def test_every_public_function_and_method_has_an_example(name: str) -> None:
    module = load(name)
    public = {
        key: value
        for key, value in vars(module).items()
        if getattr(value, '__module__', None) == module.__name__
        and callable(value)
        and not key.startswith('_')
        and key not in NO_EXAMPLE_NEEDED.get(name, ())
    }
    for key, value in list(public.items()):
        if inspect.isclass(value):
            public |= {
                f'{key}.{part}': member
                for part, member in vars(value).items()
                if not part.startswith('_')
                and isinstance(inspect.unwrap(getattr(member, '__func__', member)), type(load))
            }
    without = [key for key, value in public.items() if '>>>' not in (inspect.getdoc(value) or '')]
    assert public and not without, f'{name}: no example in the docstrings of {without}'
