# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node as `ros2 lifecycle` and lifecycle managers drive it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.srv import GetAvailableTransitions
from ros_harness import Camera, NodeProcess, figures


@pytest.fixture
def managed(start_node: Callable[..., NodeProcess], request: pytest.FixtureRequest) -> Camera:
    """A node that waits for its manager."""
    namespace = f'managed_{abs(hash(request.node.name))}'
    process = start_node(namespace, autostart=False, confidence_threshold=0.3)
    return Camera(namespace, process, wait_until_ready=False)


def answers(camera: Camera, photo: np.ndarray) -> bool:
    camera.subscribe('detections')
    camera.spin_until(lambda: camera.subscriptions_to_images() > 0, 'the node subscribes')
    image = camera.image(photo)
    return camera.ask(image)['detections'].header == image.header


def publishers(camera: Camera) -> int:
    return camera.node.count_publishers(f'/{camera.namespace}/instance_seg/detections')


def test_a_manager_takes_the_node_through_all_states(managed: Camera, photo: np.ndarray) -> None:
    assert managed.state() == 'unconfigured'
    assert managed.change_state('configure')
    assert managed.state() == 'inactive'
    assert managed.subscriptions_to_images() == 0
    assert managed.change_state('activate')
    assert managed.state() == 'active'
    assert answers(managed, photo)
    assert managed.change_state('deactivate')
    managed.spin_until(
        lambda: managed.subscriptions_to_images() == 0, 'the node lets go of the camera'
    )
    assert managed.state() == 'inactive'
    assert managed.change_state('activate')
    assert answers(managed, photo)
    assert managed.change_state('deactivate')
    assert managed.change_state('cleanup')
    assert managed.state() == 'unconfigured'
    managed.spin_until(lambda: publishers(managed) == 0, 'the outputs are gone')
    assert managed.change_state('configure')
    assert managed.change_state('activate')
    assert answers(managed, photo)
    assert managed.process.stop() == 0
    assert 'Traceback' not in managed.process.output


def test_it_is_active_by_itself_unless_told_otherwise(connect: Callable[..., Camera]) -> None:
    camera = connect('by_itself')
    assert camera.state() == 'active'
    transitions = camera.call(
        GetAvailableTransitions, 'get_available_transitions', GetAvailableTransitions.Request()
    ).available_transitions
    assert {t.transition.label for t in transitions} == {'deactivate', 'shutdown'}


@pytest.mark.parametrize(
    'way',
    [
        ['unconfigured shutdown'],
        ['configure', 'inactive shutdown'],
        ['configure', 'activate', 'active shutdown'],
    ],
)
def test_shutdown_from_any_state(way: list[str], managed: Camera) -> None:
    for transition in way:
        assert managed.change_state(transition)
    assert managed.state() == 'finalized'
    # Others learn of it by DDS's discovery, a moment after the answer.
    managed.spin_until(lambda: managed.subscriptions_to_images() == 0, 'it does not listen')
    code, seconds = managed.process.stop_timed()
    assert (code, seconds < 2) == (0, True)


def test_an_error_at_start_is_reported_and_can_be_corrected(
    start_node: Callable[..., NodeProcess], photo: np.ndarray
) -> None:
    process = start_node('wrong', mask_encoding='png')
    camera = Camera('wrong', process, wait_until_ready=False)
    camera.spin_until(lambda: 'configure failed' in process.output, 'an error is logged')
    errors = [line for line in process.output.splitlines() if 'ERROR' in line]
    assert len(errors) == 1
    assert "mask_encoding is 'png': expected one of mono8, rle" in errors[0]
    assert 'ros2 lifecycle set /wrong/instance_seg configure' in errors[0]
    assert camera.state() == 'unconfigured'
    status = camera.diagnostics('model')
    assert (status.level, figures(status)['state']) == (b'\2', 'unconfigured')
    assert "mask_encoding is 'png'" in status.message
    assert not camera.change_state('configure')
    assert camera.state() == 'unconfigured'
    assert camera.set_parameters(mask_encoding='rle').successful
    assert camera.change_state('configure')
    assert camera.change_state('activate')
    assert answers(camera, photo)
    assert camera.diagnostics('model').level == b'\0'
    assert process.stop() == 0
    assert 'Traceback' not in process.output


@pytest.fixture(scope='module')
def unconfigured(start_shared_node: Callable[..., NodeProcess]) -> Iterator[Camera]:
    process = start_shared_node('unconfigured', autostart=False)
    camera = Camera('unconfigured', process, wait_until_ready=False)
    yield camera
    camera.close()


@pytest.mark.parametrize(
    ('wrong', 'right', 'expected'),
    [
        ({'model': 'no_such_model'}, {'model': 'auto'}, 'no_such_model'),
        ({'model_path': '/nowhere/frozen.pb'}, {'model_path': ''}, '/nowhere/frozen.pb'),
        ({'classes': ['persons']}, {'classes': ['']}, 'did you mean person'),
        ({'refiner': '/nowhere/refiner.onnx'}, {'refiner': 'auto'}, '/nowhere/refiner.onnx'),
        ({'speed_preset': 'ludicrous'}, {'speed_preset': 'exact'}, 'balanced'),
        (
            {'image_topics': ['/cam/left', '/cam/right']},
            {'image_topics': ['']},
            'namespace of its own',
        ),
    ],
    ids=lambda value: '_'.join(value) if isinstance(value, dict) else '',
)
def test_what_only_configure_can_find_out_is_reported_and_can_be_corrected(
    wrong: dict[str, Any], right: dict[str, Any], expected: str, unconfigured: Camera
) -> None:
    assert unconfigured.set_parameters(**wrong).successful
    assert not unconfigured.change_state('configure')
    assert unconfigured.state() == 'unconfigured'
    assert (
        expected
        in unconfigured.diagnostics_until(
            'model', lambda status: status.level == b'\2' and expected in status.message, expected
        ).message
    )
    assert unconfigured.set_parameters(**right).successful
    assert unconfigured.change_state('configure')
    assert unconfigured.change_state('cleanup')


def test_a_configure_that_failed_leaves_no_outputs(start_node: Callable[..., NodeProcess]) -> None:
    name = 'qos_overrides./half/instance_seg/debug_image.publisher.reliability'
    process = start_node('half', autostart=False, **{name: 'reliabel'})
    camera = Camera('half', process, wait_until_ready=False)
    for _ in range(2):
        assert not camera.change_state('configure')
    camera.spin_until(lambda: publishers(camera) == 0, 'the outputs are gone')
    camera.close()


def test_cleanup_frees_the_memory(
    start_node: Callable[..., NodeProcess], slow_model: Path, photo: np.ndarray
) -> None:
    process = start_node('memory', autostart=False, model=slow_model, refiner='none')
    camera = Camera('memory', process, wait_until_ready=False)
    assert camera.state() == 'unconfigured'
    used = []
    for _ in range(3):
        assert camera.change_state('configure')
        assert camera.change_state('activate')
        assert answers(camera, photo)
        loaded = process.memory
        assert camera.change_state('deactivate')
        assert camera.change_state('cleanup')
        used.append((loaded, process.memory))
    for loaded, freed in used:
        # The model's file has 17 MB, which cv2.dnn keeps in three forms, beside what it computes.
        assert loaded - freed > 60e6, used
    assert abs(used[2][1] - used[1][1]) < 12e6, used  # nothing piles up


def test_what_was_set_while_inactive_is_taken_or_reported(managed: Camera) -> None:
    assert managed.change_state('configure')
    assert managed.set_parameters(model='everyday_mask_rcnn').successful
    assert managed.set_parameters(classes=['dog']).successful
    assert managed.set_parameters(confidence_threshold=0.123).successful
    assert managed.change_state('activate')
    (warning,) = re.findall('WARN.*not in use.*', managed.process.output)
    assert "no class 'dog'" in warning and 'cleanup and configure' in warning
    assert managed.change_state('deactivate')
    assert managed.set_parameters(classes=['person']).successful
    assert managed.change_state('activate')
    assert managed.process.output.count('not in use') == 1
    managed.subscribe('label_info')
    managed.spin_until(lambda: bool(managed.received['label_info']), 'the threshold is known')
    assert managed.received['label_info'][-1].threshold == pytest.approx(0.123)
