# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node finds the data folder of the user, and what it says of models there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ros_harness import Camera, NodeProcess

from instance_seg_ros.models import COCO_MODEL, SHIPPED_MODEL


@pytest.fixture
def data(coco_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that has a thin model under the COCO model's name."""
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))
    monkeypatch.delenv('INSTANCE_SEG_ROS_MODELS', raising=False)
    folder = tmp_path / 'instance_seg_ros' / 'models'
    shutil.copytree(coco_model.parent, folder)
    manifest = folder / coco_model.name
    content = yaml.safe_load(manifest.read_text()) | {'name': COCO_MODEL}
    manifest.unlink()
    (folder / f'{COCO_MODEL}.yaml').write_text(yaml.safe_dump(content))
    return folder


def test_what_is_in_the_data_folder_is_taken(
    start_node: Callable[..., NodeProcess], data: Path
) -> None:
    process = start_node('data_folder', model='auto', refiner='none')
    camera = Camera('data_folder', process)
    assert f'model {COCO_MODEL}' in process.output
    camera.close()


def test_a_half_installed_model_is_named(
    start_node: Callable[..., NodeProcess], data: Path
) -> None:
    (data / 'model.pbtxt').unlink()
    process = start_node('half', model='auto', refiner='none')
    camera = Camera('half', process, wait_until_ready=False)
    camera.diagnostics_until(
        'model',
        lambda status: f'model.pbtxt is missing in {data}, where model.pb is' in status.message,
        'what is missing',
    )
    assert 'instance-seg models download coco' in process.output
    assert f'model {SHIPPED_MODEL} in' not in process.output
    camera.close()


def test_the_first_start_says_the_command_for_the_coco_model(
    start_node: Callable[..., NodeProcess], data: Path
) -> None:
    shutil.rmtree(data)
    process = start_node('first', model='auto', refiner='none')
    camera = Camera('first', process)
    assert '`instance-seg models download coco`' in process.output
    camera.close()
