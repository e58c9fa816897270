# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Places in space from a depth camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from depth_camera import FOCAL, NODE, DepthCamera, camera_info, depth_image
from random_models import SLOW_SIDE
from ros_harness import Camera, NodeProcess, pixels_of
from sensor_msgs.msg import PointCloud2, RegionOfInterest
from std_srvs.srv import SetBool

from instance_seg_ros.ros.depth_input import KEPT


def points_of(cloud: PointCloud2) -> np.ndarray:
    names = {6: '<u4', 7: '<f4'}
    dtype = np.dtype([(field.name, names[field.datatype]) for field in cloud.fields])
    assert dtype.itemsize == cloud.point_step and [f.offset for f in cloud.fields] == [
        dtype.fields[field.name][1] for field in cloud.fields
    ]
    return np.frombuffer(bytes(cloud.data), dtype)


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('spatial', **NODE)


@pytest.fixture(scope='module')
def depth(camera: Camera) -> DepthCamera:
    return DepthCamera(camera)


@pytest.mark.parametrize(
    ('encoding', 'side', 'step'),
    [('16UC1', 320, 0), ('32FC1', 320, 0), ('16UC1', 160, 6), ('32FC1', 640, 0)],
)
def test_objects_are_where_depth_says(
    encoding: str, side: int, step: int, camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    camera.subscribe('detections', 'label_image', 'detections_3d', 'objects', 'debug_image')
    image = camera.image(photo)
    answers = depth.ask(
        image, depth_image(image.header, 2.0, side, encoding, step), camera_info(image.header, side)
    )
    (flat,) = answers['detections'].detections
    (found,) = answers['detections_3d'].detections
    assert answers['detections_3d'].header == found.header == image.header
    assert found.id == flat.id != ''
    assert found.results[0].hypothesis == flat.results[0].hypothesis
    center = found.bbox.center.position
    assert center.z == pytest.approx(2.0, abs=0.002) and found.bbox.size.z < 0.01
    # The mask and its place, as a pinhole camera sees it.
    rows, columns = np.nonzero(pixels_of(answers['label_image']))
    middle = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
    expected = 2.0 * (middle - 159.5) / FOCAL
    # Thin parts at the border do not count, so the extent is a little smaller.
    assert np.abs(np.array([center.x, center.y]) - expected).max() < 0.1
    width, height = 2.0 * np.array([np.ptp(columns), np.ptp(rows)]) / FOCAL
    assert 0.7 * width < found.bbox.size.x <= 1.02 * width
    assert 0.7 * height < found.bbox.size.y <= 1.02 * height

    cloud = points_of(answers['objects'])
    assert len(cloud) > 0.5 * len(rows) * (side / 320) ** 2
    assert set(cloud['instance_id']) == {int(flat.id)}
    assert set(cloud['class_id']) == {int(flat.results[0].hypothesis.class_id)}
    np.testing.assert_allclose(cloud['z'], 2.0, atol=0.002)
    x = np.round(cloud['x'] / cloud['z'] * FOCAL + 159.5).astype(int)
    y = np.round(cloud['y'] / cloud['z'] * FOCAL + 159.5).astype(int)
    b, g, r = photo[y, x].astype(int).T
    rgb = cloud['rgb'].astype(int)
    # Another resolution may take the pixel beside it.
    near = np.abs(np.stack([rgb >> 16, rgb >> 8 & 255, rgb & 255]) - np.stack([r, g, b])).max(0)
    assert np.mean(near < 40) > (0.999 if side == 320 else 0.8)


def test_a_camera_that_sends_a_part_of_its_sensor(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    image = camera.image(photo)
    whole, part = camera_info(image.header), camera_info(image.header)
    part.width, part.height = 500, 400
    part.p[2] += 100
    part.p[6] += 40
    part.roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=320)
    places = []
    for info in (whole, part):
        camera.subscribe('detections_3d')
        answers = depth.ask(image, depth_image(image.header, 2.0), info)
        (found,) = answers['detections_3d'].detections
        places.append(found.bbox.center.position)
    assert places[1].x == pytest.approx(places[0].x, abs=0.001)
    assert places[1].y == pytest.approx(places[0].y, abs=0.001)


def test_the_debug_image_has_id_and_distance(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    camera.subscribe('debug_image')
    pictures = []
    for metres in (1.0, 3.0):
        camera.subscribe('debug_image', 'detections_3d')  # so that there is depth
        camera.publish_until(camera.image(photo), lambda: depth.listened() == 2, 'depth is read')
        image = camera.image(photo)
        wall, info = depth_image(image.header, metres), camera_info(image.header)
        # Before the image: a picture of an image that comes before its depth has no distance.
        depth.publish(wall, info)
        camera.spin_for(0.5)
        answers = depth.ask(image, wall, info)
        pictures.append(pixels_of(answers['debug_image']))
    assert (pictures[0] != pictures[1]).any()  # the caption alone differs
    assert cv2.norm(pictures[0], pictures[1], cv2.NORM_L1) < 0.02 * 255 * photo.size


def test_without_stamps_the_newest_depth_counts(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    camera.subscribe('detections_3d')
    image = camera.image(photo)
    image.header.stamp.sec = image.header.stamp.nanosec = 0
    info = camera_info(image.header)
    depth.ask(image, depth_image(image.header, 1.0), info)
    for _ in range(3):
        depth.publish(depth_image(image.header, 3.0), info)
        camera.spin_for(0.2)
    camera.received.clear()
    camera.publish(image)
    camera.spin_until(lambda: bool(camera.received['detections_3d']), 'places')
    (found,) = camera.received['detections_3d'][-1].detections
    assert found.bbox.center.position.z == pytest.approx(3.0, abs=0.01)


def test_outputs_in_space_have_the_header_of_the_image(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    camera.subscribe('detections', 'detections_3d', 'objects')
    image = camera.image(photo)
    later = type(image.header)(frame_id=image.header.frame_id)
    later.stamp.sec, later.stamp.nanosec = image.header.stamp.sec, 143_456_789
    answers = depth.ask(image, depth_image(later, 2.0), camera_info(later))
    assert all(answer.header == image.header for answer in answers.values())


def test_depth_is_read_only_while_somebody_wants_it(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    camera.subscribe('detections_3d')
    camera.publish_until(camera.image(photo), lambda: depth.listened() == 2, 'it is read')
    camera.subscribe('detections')
    camera.publish_until(camera.image(photo), lambda: depth.listened() == 0, 'it is not read')


def test_depth_is_read_no_more_without_an_image(
    camera: Camera, depth: DepthCamera, photo: np.ndarray
) -> None:
    def is_read() -> None:
        camera.subscribe('detections_3d')
        camera.publish_until(camera.image(photo), lambda: depth.listened() == 2, 'it is read')

    is_read()
    camera.subscribe()
    camera.spin_until(lambda: depth.listened() == 0, 'nobody wants it')
    is_read()
    assert camera.call(SetBool, 'set_enabled', SetBool.Request(data=False)).success
    camera.spin_until(lambda: depth.listened() == 0, 'the node is paused')
    assert camera.call(SetBool, 'set_enabled', SetBool.Request(data=True)).success


def test_depth_is_not_read_before_the_node_is_active(
    start_node: Callable[..., NodeProcess],
) -> None:
    process = start_node('waiting', autostart=False, **NODE)
    camera = Camera('waiting', process, wait_until_ready=False)
    depth = DepthCamera(camera)
    assert camera.change_state('configure')
    camera.subscribe('detections_3d')
    for _ in range(3):  # one a second, and depth is looked at with each
        camera.diagnostics('model')
        assert depth.listened() == 0
    assert camera.change_state('activate')
    camera.spin_until(lambda: depth.listened() == 2, 'it is read')
    camera.close()


def test_depth_of_an_image_is_kept_while_a_slow_network_works_on_it(
    connect: Callable[..., Camera], photo: np.ndarray, slow_model: Path
) -> None:
    options = {**NODE, 'tracking': False, 'confidence_threshold': 0.3, 'refiner': 'none'}
    camera = connect('slow_depth', **options, model=slow_model, input_max_side=SLOW_SIDE)
    depth = DepthCamera(camera)
    camera.subscribe('detections_3d')
    image = camera.image(cv2.resize(photo, (SLOW_SIDE, SLOW_SIDE)))
    camera.publish_until(camera.image(photo), lambda: depth.listened() == 2, 'depth is read')
    camera.spin_for(3.0)  # until that one is done
    info = camera_info(image.header)
    depth.publish(depth_image(image.header, 2.0), info)
    camera.spin_for(0.5)
    camera.received.clear()
    camera.publish(image)
    busy = camera.process.cpu_seconds + 0.3
    camera.spin_until(lambda: camera.process.cpu_seconds > busy, 'the image is in hand')
    for _ in range(2 * KEPT):
        depth.publish(depth_image(camera.header(), 2.0), info)
        camera.spin_for(0.01)
    assert not camera.received['detections_3d'], 'the model must be slower, to test anything'
    camera.spin_until(lambda: bool(camera.received['detections_3d']), 'places of the image')
    assert camera.received['detections_3d'][0].header == image.header
