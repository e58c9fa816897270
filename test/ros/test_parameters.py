# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters, config/seg.yaml and the Segmenter agree."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from instance_seg_ros.ros.parameters import PARAMETERS, SEGMENTER_PARAMETERS, Applies
from instance_seg_ros.segmenter import Segmenter, Settings

CONFIG = Path(get_package_share_directory('instance_seg_ros'), 'config', 'seg.yaml')


def as_parameter(value: object) -> object:
    # A ROS parameter cannot be an empty list, so [''] stands for none.
    if value in ((), []):
        return ['']
    return list(value) if isinstance(value, tuple) else value


def test_the_yaml_file_has_all_parameters_with_their_defaults() -> None:
    settings = yaml.safe_load(CONFIG.read_text('utf-8'))['/**']['ros__parameters']
    assert settings == {parameter.name: parameter.default for parameter in PARAMETERS}
    assert [type(value) for value in settings.values()] == [
        type(parameter.default) for parameter in PARAMETERS
    ]


def test_each_parameter_of_the_yaml_file_has_a_comment() -> None:
    lines = [line.strip() for line in CONFIG.read_text('utf-8').splitlines()]
    # Those that share the comment of the one before.
    followers = {'text_graph_path', 'labels_path', 'processed_rate_error', 'age_error'}
    for parameter in PARAMETERS:
        index = next(i for i, line in enumerate(lines) if line.startswith(f'{parameter.name}:'))
        assert parameter.name in followers or lines[index - 1].startswith('#')


def test_the_segmenter_has_the_same_parameters_with_the_same_defaults() -> None:
    settings = {field.name: as_parameter(field.default) for field in fields(Settings)}
    signature = inspect.signature(Segmenter).parameters.values()
    expected = settings | {
        parameter.name: as_parameter(parameter.default)
        for parameter in signature
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    ours = {parameter.name: parameter.default for parameter in SEGMENTER_PARAMETERS}
    assert ours == expected


@pytest.mark.parametrize('parameter', PARAMETERS, ids=lambda parameter: parameter.name)
def test_each_parameter_is_described_with_when_it_applies(parameter) -> None:
    descriptor = parameter.descriptor()
    assert descriptor.description
    assert parameter.applies.value in descriptor.additional_constraints
    assert isinstance(parameter.default, bool | str | list) or (
        descriptor.floating_point_range or descriptor.integer_range
    )


def test_the_comments_mark_what_needs_a_configure() -> None:
    comment, marked = '', {}
    for line in CONFIG.read_text('utf-8').split('ros__parameters:\n')[1].splitlines():
        if line.strip().startswith('#'):
            # A comment is for all parameters that follow it directly.
            comment = line if comment.endswith('.done') else comment + line
        else:
            comment = comment.removesuffix('.done') + '.done'
            marked[line.split(':')[0].strip()] = '(C)' in comment
    assert marked == {
        parameter.name: parameter.applies is Applies.AT_CONFIGURE for parameter in PARAMETERS
    }
