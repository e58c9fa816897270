# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters, config/seg.yaml and the Segmenter agree."""
import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from instance_seg_ros.ros.parameters import PARAMETERS
from instance_seg_ros.segmenter import Segmenter, Settings

CONFIG = Path(get_package_share_directory('instance_seg_ros'), 'config', 'seg.yaml')


def as_parameter(value: object) -> object:
    # A ROS parameter cannot be an empty list, so [''] stands for none.
    return [''] if value in ((), []) else value


def test_the_yaml_file_has_all_parameters_with_their_defaults() -> None:
    settings = yaml.safe_load(CONFIG.read_text('utf-8'))['/**']['ros__parameters']
    assert settings == {parameter.name: parameter.default for parameter in PARAMETERS}
    assert [type(value) for value in settings.values()] == [
        type(parameter.default) for parameter in PARAMETERS]


def test_each_parameter_of_the_yaml_file_has_a_comment() -> None:
    lines = [line.strip() for line in CONFIG.read_text('utf-8').splitlines()]
    first_ones = {'text_graph_path', 'labels_path'}  # share the comment of model_path
    for parameter in PARAMETERS:
        index = next(i for i, line in enumerate(lines) if line.startswith(f'{parameter.name}:'))
        assert parameter.name in first_ones or lines[index - 1].startswith('#')


def test_the_segmenter_has_the_same_parameters_with_the_same_defaults() -> None:
    settings = {field.name: as_parameter(field.default) for field in fields(Settings)}
    signature = inspect.signature(Segmenter).parameters.values()
    expected = settings | {
        parameter.name: parameter.default for parameter in signature
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    ours = {parameter.name: parameter.default for parameter in PARAMETERS}
    assert ours.pop('mask_encoding') == 'mono8'
    del expected['parallel_nets']  # the node has one thread for inference
    # What the learned refiner adds is not in the node yet.
    for name in ('refine_passes', 'refine_budget_ms', 'refine_providers'):
        del expected[name]
    assert ours == expected


@pytest.mark.parametrize('parameter', PARAMETERS, ids=lambda parameter: parameter.name)
def test_each_parameter_is_described(parameter) -> None:
    assert parameter.descriptor().description
