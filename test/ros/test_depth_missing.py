# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is said where depth or its camera info is missing or of no use, and what goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from depth_camera import NODE, DepthCamera, camera_info, depth_image
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from ros_harness import RELIABLE, Camera, NodeProcess
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instance_seg_ros.ros.depth_input import KEPT_BYTES, DepthInput
from instance_seg_ros.ros.qos import LATCHED_QOS


def test_a_callback_that_is_late_subscribes_to_nothing() -> None:
    node = LifecycleNode('late_callback')
    try:
        depth = DepthInput(node, 'depth', 'depth_info', 0.05, ReentrantCallbackGroup())

        def topics() -> set[str]:
            return {subscription.topic_name for subscription in node.subscriptions}

        before = topics()
        depth.listen(True)
        assert topics() - before == {'/depth', '/depth_info'}
        depth.close()  # the node is deactivated
        depth.listen(True)
        assert topics() == before
        depth.open()
        depth.listen(True)
        assert topics() - before == {'/depth', '/depth_info'}
    finally:
        node.destroy_node()


def zero_info(info: CameraInfo) -> None:
    info.p = [0.0] * 12
    info.width = info.height = 0


CAUSES = {
    'nothing': (lambda depth, info: None, 'no depth image on /{ns}/depth yet'),
    'no info': (lambda depth, info: None, 'no camera info on /{ns}/depth_info yet'),
    'late': (
        lambda depth, info: setattr(depth.header.stamp, 'sec', depth.header.stamp.sec - 3),
        'is 3.000 s apart: expected depth_tolerance, 0.05 s',
    ),
    'frame': (
        lambda depth, info: setattr(depth.header, 'frame_id', 'elsewhere'),
        "is in the frame 'elsewhere', the image in 'camera_optical'",
    ),
    'zeros': (lambda depth, info: zero_info(info), '/{ns}/depth_info: the camera info has fx 0'),
    'encoding': (
        lambda depth, info: setattr(depth, 'encoding', '8UC1'),
        "encoding '8UC1': expected 16UC1",
    ),
    'cut off': (
        lambda depth, info: setattr(depth, 'height', depth.height + 7),
        'expected 640 a row and all rows',
    ),
    'another view': (
        lambda depth, info: setattr(info, 'height', 180),
        'is 320 x 320, the camera info on /{ns}/depth_info 320 x 180: expected the same view',
    ),
}


@pytest.fixture(scope='module')
def running(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('no_depth', **NODE)


@pytest.fixture
def camera(running: Camera) -> Camera:
    """A node that has just been activated: it has said nothing, and seen no depth."""
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert running.change_state(transition)
    running.spin_until(lambda: running.subscriptions_to_images() > 0, 'the node subscribes')
    return running


@pytest.mark.parametrize('cause', CAUSES)
def test_without_depth_the_other_outputs_go_on_and_one_warning_says_why(
    cause: str, camera: Camera, photo: np.ndarray
) -> None:
    depth = DepthCamera(camera)
    said_before = len(camera.process.output)
    camera.subscribe('detections', 'detections_3d')
    image = camera.image(photo)
    camera.publish_until(image, lambda: depth.listened() == 2, 'the node reads depth')
    spoil, text = CAUSES[cause]
    text = text.format(ns=camera.namespace)
    message, info = depth_image(image.header, 2.0), camera_info(image.header)
    message.header = Header(stamp=image.header.stamp, frame_id=image.header.frame_id)
    message.header.stamp = type(image.header.stamp)(
        sec=image.header.stamp.sec, nanosec=image.header.stamp.nanosec
    )
    spoil(message, info)

    def said() -> bool:
        # With each image: depth is best effort, too, and one may be lost.
        depth.publish(
            None if cause == 'nothing' else message,
            None if cause in ('nothing', 'no info') else info,
        )
        return text in camera.process.output[said_before:]

    camera.publish_until(image, said, f'the node says: {text}')
    before = len(camera.received['detections'])
    camera.publish_until(
        image, lambda: len(camera.received['detections']) >= before + 3, 'boxes go on'
    )
    assert not camera.received['detections_3d']
    # Before the first depth arrived, on a busy machine, another warning may have said so.
    said_since = camera.process.output[said_before:].splitlines()
    warnings = [line for line in said_since if text in line]
    assert len(warnings) == 1 and 'WARN' in warnings[0] and 'places in space' in warnings[0]


@pytest.mark.parametrize('also', ['nothing', 'images that are too small'])
def test_depth_images_of_any_size_are_kept_in_bounded_memory(
    also: str, connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    # The middleware's queue comes on top of what the node keeps: on a busy machine five images.
    queue = {'qos_overrides./large_depth/depth.subscription.depth': 1}
    camera = connect('large_depth', **NODE, **queue)
    depth = DepthCamera(camera)
    camera.subscribe('detections', 'detections_3d')
    image = camera.image(photo)
    camera.publish_until(image, lambda: depth.listened() == 2, 'the node reads depth')
    large = depth_image(image.header, 2.0, 2000, '32FC1')
    before, grown = camera.process.memory, 0
    for number in range(4 * KEPT_BYTES // len(large.data)):
        small = camera.image(photo[:8, :8])
        large.header = small.header
        if also != 'nothing' and number % 4 == 0:  # the depth of each is kept for its places
            camera.publish(small)
        depth.publish(large, None)
        camera.spin_for(0.1)
        grown = max(grown, camera.process.memory - before)
    assert 0.5 * KEPT_BYTES < grown < 1.5 * KEPT_BYTES
    camera.publish_until(
        camera.image(photo), lambda: bool(camera.received['detections']), 'it goes on'
    )


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        ({'camera_info_topic': 'depth'}, 'are both /same_depth/depth: expected'),
        *(
            (
                {f'qos_overrides./same_depth/{topic}.subscription.reliability': 'reliabel'},
                f"/same_depth/{topic}.subscription.reliability is 'reliabel': expected one of",
            )
            for topic in ('depth', 'depth_info')
        ),
    ],
    ids=['one name for both', 'override of depth', 'override of camera info'],
)
def test_depth_topics_that_cannot_be_read_are_refused_at_configure(
    wrong: dict[str, str], expected: str, start_node: Callable[..., NodeProcess]
) -> None:
    process = start_node('same_depth', **{**NODE, **wrong})
    camera = Camera('same_depth', process, wait_until_ready=False)
    camera.spin_until(lambda: 'configure failed' in process.output, 'it is refused')
    assert expected in process.output and 'Traceback' not in process.output
    camera.close()


def test_a_camera_info_topic_of_another_type_stops_no_other_output(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('other_type', **{**NODE, 'camera_info_topic': 'image'})
    camera.subscribe('detections', 'detections_3d')
    image = camera.image(photo)
    camera.publish_until(
        image, lambda: 'cannot be subscribed to' in camera.process.output, 'the node says so'
    )
    camera.received.clear()
    camera.publish_until(image, lambda: len(camera.received['detections']) >= 3, 'boxes go on')
    for _ in range(2):  # one a second
        camera.diagnostics('model')
    depth = camera.node.get_subscriptions_info_by_topic('/other_type/depth')
    assert depth == []
    assert 'Traceback' not in camera.process.output


def test_camera_info_that_is_sent_once_is_asked_for_and_kept(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('sent_once', **NODE)
    depth = DepthCamera(camera)
    latched = camera.node.create_publisher(CameraInfo, 'depth_info', LATCHED_QOS)
    image = camera.image(photo)
    latched.publish(camera_info(image.header))
    camera.subscribe('detections_3d')
    camera.publish_until(image, lambda: depth.listened() == 2, 'the node reads depth')

    def said() -> bool:
        depth.publish(depth_image(image.header, 2.0), None)
        return 'depth_info.subscription.durability:=transient_local' in camera.process.output

    camera.publish_until(image, said, 'the node names the override')
    depth.ask(image, depth_image(image.header, 2.0), camera_info(image.header))
    camera.subscribe()
    camera.publish_until(image, lambda: depth.listened() == 0, 'the node does not read depth')
    # The info of before is used.
    camera.subscribe('detections_3d')
    image = camera.image(photo)
    camera.publish_until(image, lambda: depth.listened() == 2, 'the node reads depth')
    camera.ask(image, also=lambda: depth.publish(depth_image(image.header, 2.0), None))


def test_with_the_overrides_camera_info_that_was_sent_before_is_received(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    prefix = 'qos_overrides./sent_before/depth_info.subscription'
    overrides = {f'{prefix}.durability': 'transient_local', f'{prefix}.reliability': 'reliable'}
    camera = connect('sent_before', **NODE, **overrides)
    wall = camera.node.create_publisher(Image, 'depth', RELIABLE)
    latched = camera.node.create_publisher(CameraInfo, 'depth_info', LATCHED_QOS)
    image = camera.image(photo)
    latched.publish(camera_info(image.header))
    camera.subscribe('detections_3d')
    camera.ask(image, also=lambda: wall.publish(depth_image(image.header, 2.0)))
