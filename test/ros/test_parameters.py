# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters and config/seg.yaml follow from the settings."""

from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from instance_seg_ros.ros.parameters import ParameterValues, descriptor_of
from instance_seg_ros.ros.settings import NodeSettings, all_settings
from instance_seg_ros.schema import Applies
from instance_seg_ros.settings import ModelSettings, Settings

CONFIG = Path(get_package_share_directory('instance_seg_ros'), 'config', 'seg.yaml')


def test_the_installed_yaml_file_has_all_parameters_with_their_defaults() -> None:
    values = yaml.safe_load(CONFIG.read_text('utf-8'))['/**']['ros__parameters']
    assert list(values) == [setting.name for setting in all_settings()]
    defaults = ParameterValues(ModelSettings(), Settings(), NodeSettings())
    assert ParameterValues.of(values) == defaults
    for setting in all_settings():
        expected = list if setting.kind is tuple else setting.kind
        assert type(values[setting.name]) is expected, setting.name


def test_the_comments_of_the_yaml_file_mark_what_needs_a_configure() -> None:
    comment, marked = '', {}
    for line in CONFIG.read_text('utf-8').split('ros__parameters:\n')[1].splitlines():
        if line.strip().startswith('#'):
            comment += line
        else:
            marked[line.split(':')[0].strip()] = '(C)' in comment
            comment = ''
    assert marked == {
        setting.name: setting.applies is Applies.AT_CONFIGURE for setting in all_settings()
    }


@pytest.mark.parametrize('setting', all_settings(), ids=lambda setting: setting.name)
def test_each_parameter_is_described_with_when_it_applies(setting) -> None:
    descriptor = descriptor_of(setting)
    assert descriptor.description == setting.help
    assert setting.applies.value in descriptor.additional_constraints
    has_range = descriptor.floating_point_range or descriptor.integer_range
    assert bool(has_range) == (setting.kind in (int, float))
