# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A node whose network runs in onnxruntime, with two cameras."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from ros_harness import Camera, figures

from instance_seg_ros import Segmenter

pytest.importorskip('onnxruntime', reason='the engine under test')

ENGINE = 'onnxruntime (CPUExecutionProvider)'
NAMES = ('left', 'right')


@pytest.fixture(scope='module')
def cameras(start_shared_node: Callable[..., object]) -> Iterator[list[Camera]]:
    process = start_shared_node(
        'onnx',
        image_topics="['left/image', 'right/image']",
        engine='onnxruntime',
        refiner='none',
        confidence_threshold=0.3,
    )
    cameras = [
        Camera('onnx', process, topic=f'{name}/image', outputs=f'{name}/instance_seg')
        for name in NAMES
    ]
    yield cameras
    for camera in cameras:
        camera.close()


def test_both_cameras_get_what_the_library_finds(cameras: list[Camera], photo: np.ndarray) -> None:
    segmenter = Segmenter(
        model='person_mask_rcnn', engine='onnxruntime', refiner='none', confidence_threshold=0.3
    )
    for camera, image in zip(cameras, (photo, photo[:, ::-1].copy()), strict=True):
        expected = segmenter(image)
        camera.subscribe('detections')
        found = camera.ask(camera.image(image))['detections'].detections
        scores = [detection.results[0].hypothesis.score for detection in found]
        assert len(found) > 0
        np.testing.assert_allclose(scores, expected.scores, atol=1e-6)


def test_the_node_tells_its_engine(cameras: list[Camera]) -> None:
    camera = cameras[0]
    assert figures(camera.diagnostics('model'))['engine'] == ENGINE
    camera.subscribe('vision_info')
    camera.spin_until(lambda: bool(camera.received['vision_info']), 'vision_info')
    assert ENGINE in camera.received['vision_info'][-1].method
    assert f'engine {ENGINE}' in camera.process.output


def test_parameters_change_live_but_not_the_engine(
    cameras: list[Camera], photo: np.ndarray
) -> None:
    camera = cameras[0]
    camera.subscribe('detections')
    assert camera.set_parameters(confidence_threshold=0.999).successful
    assert not camera.ask(camera.image(photo))['detections'].detections
    assert camera.set_parameters(confidence_threshold=0.3).successful
    assert camera.ask(camera.image(photo))['detections'].detections
    for name, value in (('engine', 'opencv'), ('precision', 'int8')):
        refused = camera.set_parameters(**{name: value})
        assert not refused.successful and name in refused.reason
