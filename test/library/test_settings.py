# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The one table of settings: its checks, its conversions, and what is generated from it."""

import inspect
import subprocess
import sys
from dataclasses import dataclass, fields

import pytest
from random_models import REPOSITORY

from instance_seg_ros import Segmenter
from instance_seg_ros.ros.settings import NodeSettings, all_settings
from instance_seg_ros.schema import Group, check_settings, setting, settings_of
from instance_seg_ros.settings import ModelSettings, Settings

SETTINGS = {each.name: each for each in all_settings()}


def test_the_generated_files_are_those_of_the_settings() -> None:
    done = subprocess.run(
        [sys.executable, 'tools/generate.py', '--check'],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f'{done.stdout}{done.stderr}'


def test_a_stale_file_is_named() -> None:
    code = (
        "import sys; sys.argv = ['generate', '--check']; sys.path.insert(0, 'tools'); "
        "import generate; generate.YAML_HEAD = ''; sys.exit(generate.main())"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == 'config/seg.yaml: is stale: run make generate\n'


def test_the_settings_need_only_the_standard_library() -> None:
    code = (
        'import sys; import instance_seg_ros.ros.settings; '
        "print(sorted({'numpy', 'cv2', 'rclpy', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_each_live_setting_is_a_property_with_its_description() -> None:
    for field in fields(Settings):
        documented = inspect.getdoc(getattr(Segmenter, field.name)) or ''
        if field.name != 'refiner':  # the name of the one in use
            description = SETTINGS[field.name].description
            assert description.split()[:5] == documented.split('\n\n')[1].split()[:5]


def test_no_name_is_used_twice() -> None:
    names = [each.name for each in settings_of(ModelSettings, Settings, NodeSettings)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('each', all_settings(), ids=lambda each: each.name)
def test_each_setting_is_described_on_one_line_and_accepts_its_default(each) -> None:
    assert each.check(each.default) == each.default
    assert each.convert(each.default) == each.default
    assert each.description and '\n' not in each.help and not each.description.endswith('.')
    if each.kind in (int, float):
        assert each.limits is not None


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('confidence_threshold', 1, 1.0),
        ('confidence_threshold', ' 0.25 ', 0.25),
        ('max_instances', '7', 7),
        ('max_instances', 7.0, 7),
        ('low_memory', 'True', True),
        ('low_memory', 'yes', True),
        ('low_memory', 1, True),
        ('low_memory', '0', False),
        ('classes', 'person', ('person',)),
        ('classes', 'person, stop sign', ('person', 'stop sign')),
        ('classes', "['person', 'dog']", ('person', 'dog')),
        ('classes', '[person, dog]', ('person', 'dog')),
        ('classes', '', ()),
        ('classes', [''], ()),
        ('mask_encoding', 'rle', 'rle'),
        ('max_instances', '1e+02', 100),
        ('max_instances', '20.0', 20),
    ],
)
def test_what_users_write_is_understood(name: str, value: object, expected: object) -> None:
    converted = SETTINGS[name].convert(value)
    assert converted == expected and type(converted) is type(expected)


@pytest.mark.parametrize(
    ('name', 'value', 'problem'),
    [
        ('confidence_threshold', 'high', "_threshold is 'high': expected a number from 0"),
        ('confidence_threshold', True, 'confidence_threshold is True'),
        ('max_instances', '2.5', "max_instances is '2.5': expected a whole number from 1 to 10000"),
        ('max_instances', 2.5, 'max_instances is 2.5: expected a whole number from 1 to 10000'),
        ('low_memory', 'maybe', "low_memory is 'maybe': expected True or False"),
        ('low_memory', 2, 'low_memory is 2'),
        ('classes', [1], r'classes is \[1\]: expected a list of names'),
        ('mask_encoding', 'png', "mask_encoding is 'png': expected one of mono8, rle"),
        ('refiner', False, 'refiner is False: expected a text'),
        ('input_max_side', 20, 'input_max_side is 20: .* 34 to 16384, or 0 for'),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SETTINGS[name].convert(value)


def test_a_new_setting_is_one_entry() -> None:
    @dataclass(frozen=True)
    class MoreSettings:
        border: int = setting(
            2, 'Pixels around each mask', Group.OUTPUTS, unit='pixels', limits=(0, 9)
        )

        def __post_init__(self) -> None:
            check_settings(self)

    (border,) = settings_of(MoreSettings)
    assert (border.name, border.kind, border.help) == (
        'border',
        int,
        'Pixels around each mask; in pixels',
    )
    assert MoreSettings(border=3).border == 3
    with pytest.raises(ValueError, match='border is 10: expected a whole number from 0 to 9'):
        MoreSettings(border=10)
