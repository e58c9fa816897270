# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's services: pausing, and segmenting on demand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from random_models import SLOW_SIDE
from ros_harness import CALL_TIMEOUT, Camera, figures, pixels_of
from std_srvs.srv import SetBool

from instance_seg_ros.srv import Segment

RESULTS = ('detections', 'instance_masks', 'label_image', 'debug_image')


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('services', confidence_threshold=0.3)


def set_enabled(camera: Camera, enabled: bool) -> None:
    assert camera.call(SetBool, 'set_enabled', SetBool.Request(data=enabled)).success


def segment(camera: Camera, image: object) -> Segment.Response:
    return camera.call(Segment, 'segment', Segment.Request(image=image))


def test_segment_answers_what_the_topics_would(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe(*RESULTS)
    image = camera.image(photo)
    published = camera.ask(image)
    camera.subscribe()
    response = segment(camera, image)
    assert (response.success, response.message) == (True, '')
    assert response.detections.detections
    for name in RESULTS:
        assert getattr(response, name) == published[name]


def test_segment_uses_the_current_parameters(camera: Camera, photo: np.ndarray) -> None:
    assert camera.set_parameters(confidence_threshold=1.0).successful
    assert not segment(camera, camera.image(photo)).detections.detections
    assert camera.set_parameters(confidence_threshold=0.3).successful
    assert segment(camera, camera.image(photo)).detections.detections


def test_segment_tells_what_is_wrong_with_an_image(camera: Camera, photo: np.ndarray) -> None:
    image = camera.image(photo)
    image.encoding = '32FC1'
    response = segment(camera, image)
    assert not response.success
    assert response.message.startswith("image: encoding '32FC1' is not supported")
    assert segment(camera, camera.image(photo)).success


def test_a_paused_node_drops_the_stream_but_answers_requests(
    camera: Camera, photo: np.ndarray
) -> None:
    camera.subscribe('detections')
    set_enabled(camera, False)
    status = camera.diagnostics_until(
        'model', lambda status: figures(status)['enabled'] == 'False', 'it is paused'
    )
    assert (status.level, status.message) == (b'\0', 'paused')
    stream = camera.image(photo)
    received = int(figures(camera.diagnostics('image'))['frames_received'])
    camera.publish_until(
        stream,
        lambda: int(figures(camera.diagnostics('image'))['frames_received']) > received,
        'the image is received',
    )
    response = segment(camera, camera.image(photo))
    assert response.success and response.detections.detections
    # The answer comes after all that the worker had before: nothing of the stream.
    assert not camera.received['detections']
    set_enabled(camera, True)
    again = camera.image(photo)
    assert camera.ask(again)['detections'].header == again.header
    assert all(message.header != stream.header for message in camera.received['detections'])


def test_segment_is_answered_while_images_stream(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections')
    future = camera.call_async(Segment, 'segment', Segment.Request(image=camera.image(photo)))
    camera.publish_until(camera.image(photo), future.done, 'the request is answered')
    assert future.result().success
    camera.spin_until(lambda: bool(camera.received['detections']), 'the stream goes on')


def test_segment_works_while_inactive_and_says_when_nothing_is_loaded(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('on_demand', confidence_threshold=0.3)
    assert camera.change_state('deactivate')
    assert segment(camera, camera.image(photo)).detections.detections
    assert camera.change_state('cleanup')
    response = segment(camera, camera.image(photo))
    assert not response.success
    assert 'ros2 lifecycle set /on_demand/instance_seg configure' in response.message
    assert camera.change_state('configure')
    response = segment(camera, camera.image(photo))
    assert response.success
    assert (pixels_of(response.debug_image) != photo).any()


def test_parameters_are_answered_while_a_request_is_worked_on(
    connect: Callable[..., Camera], slow_model: Path, photo: np.ndarray
) -> None:
    camera = connect('long_request', model=slow_model, input_max_side=SLOW_SIDE, refiner='none')
    big = np.ascontiguousarray(np.tile(photo, (5, 5, 1)))
    request = camera.call_async(Segment, 'segment', Segment.Request(image=camera.image(big)))
    busy = camera.process.cpu_seconds + 0.5
    camera.spin_until(lambda: camera.process.cpu_seconds > busy, 'the image is in hand')
    assert camera.set_parameters(max_instances=3).successful
    set_enabled(camera, False)
    assert camera.state() == 'active'
    assert not request.done()
    camera.spin_until(request.done, 'the request is answered')
    assert request.result().success


def test_many_callers_at_once_are_all_answered(camera: Camera, photo: np.ndarray) -> None:
    request = Segment.Request(image=camera.image(photo))
    clients = [camera.node.create_client(Segment, 'instance_seg/segment') for _ in range(24)]
    try:
        for client in clients:  # an answer is lost where the node has not yet found its client
            first = [client.call_async(request)]
            while not camera.wait_for(first[-1].done, CALL_TIMEOUT):
                assert len(first) < 4
                first.append(client.call_async(request))
        calls = [client.call_async(request) for client in clients]
        camera.spin_until(lambda: all(call.done() for call in calls), 'all are answered')
        assert all(call.result().success for call in calls)
    finally:
        for client in clients:
            camera.node.destroy_client(client)


def test_a_node_that_is_activated_while_paused_says_so(connect: Callable[..., Camera]) -> None:
    camera = connect('still_paused')
    set_enabled(camera, False)
    assert camera.change_state('deactivate')
    assert camera.change_state('activate')
    camera.spin_until(
        lambda: 'paused until ~/set_enabled' in camera.process.output, 'the log says so'
    )
