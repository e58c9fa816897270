# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What /diagnostics tells of the running node."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_harness import Camera, figures, slowness

STAGES = ('convert', 'detect', 'masks', 'refine', 'draw', 'publish')
OK, WARN, ERROR = b'\0', b'\1', b'\2'


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('watched', confidence_threshold=0.3, refiner='auto')


def stamped(camera: Camera, photo: np.ndarray, age: float = 0.0) -> object:
    """Return an image that was taken some seconds ago."""
    image = camera.image(photo)
    now = camera.node.get_clock().now().nanoseconds - round(age * 1e9)
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(now, 10**9)
    return image


@contextmanager
def streaming(camera: Camera, photo: np.ndarray, rate: float, age: float = 0.0) -> Iterator[None]:
    """Send images at a rate whenever the camera waits for something."""
    timer = camera.node.create_timer(1 / rate, lambda: camera.publish(stamped(camera, photo, age)))
    try:
        yield
    finally:
        camera.node.destroy_timer(timer)


def test_it_tells_all_about_model_and_camera(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections', 'debug_image')
    camera.ask(stamped(camera, photo))
    model = camera.diagnostics('model')
    assert model.name == 'watched/instance_seg: model'
    assert (model.level, model.message) == (OK, 'active')
    assert model.hardware_id == 'person_mask_rcnn'
    values = figures(model)
    names = 'model', 'engine', 'refiner', 'state', 'enabled'
    assert tuple(values[name] for name in names) == (
        'person_mask_rcnn',
        'opencv',
        'gan',
        'active',
        'True',
    )
    status = camera.diagnostics_until(
        'image', lambda status: figures(status)['frames_processed'] != '0', 'a frame'
    )
    assert status.name == 'watched/instance_seg: /watched/image'
    assert status.level == OK
    values = figures(status)
    for stage in STAGES:
        assert float(values[f'{stage}_ms']) > 0
    assert 0 < float(values['age_mean_ms']) <= float(values['age_max_ms']) < 60e3
    total = sum(float(values[f'{stage}_ms']) for stage in STAGES)
    assert total <= float(values['age_max_ms']) + 1


def test_it_comes_once_a_second(camera: Camera) -> None:
    camera.diagnostics('model')
    started = time.monotonic()
    for _ in range(4):
        camera.diagnostics('model')
    assert 3.0 < time.monotonic() - started < 5.5 * slowness()


def test_a_pause_without_subscribers_makes_nothing_slow(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('paused', processed_rate_error=1.0)
    small = np.ascontiguousarray(photo[:64, :64])
    levels = []
    with streaming(camera, small, rate=2.0):
        camera.subscribe('detections')
        camera.spin_until(lambda: len(camera.received['detections']) > 6, 'boxes')
        camera.subscribe()
        camera.spin_for(8.0)
        camera.subscribe('detections')
        for _ in range(3):
            levels.append(camera.diagnostics('image').level)
    assert levels == [OK] * 3


@pytest.mark.parametrize('rate', [5.0, 0.5])
def test_rates_are_right(rate: float, connect: Callable[..., Camera], photo: np.ndarray) -> None:
    camera = connect(f'rate_{round(10 * rate)}')
    camera.subscribe('detections')
    small = np.ascontiguousarray(photo[:64, :64])

    def right(status: DiagnosticStatus) -> bool:
        values = figures(status)
        return all(
            float(values[key]) == pytest.approx(rate, rel=0.25)
            for key in ('input_rate_hz', 'processed_rate_hz')
        )

    with streaming(camera, small, rate):
        camera.diagnostics_until('image', right, f'a rate of {rate} Hz')
        # Not by chance, on the way to another rate.
        assert all(right(camera.diagnostics('image')) for _ in range(4))


def test_dropped_and_malformed_frames_are_counted(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections', 'instance_masks', 'debug_image', 'label_image')
    before = figures(camera.diagnostics('image'))

    def dropped() -> bool:
        values = figures(camera.diagnostics('image'))
        return int(values['frames_dropped']) > int(before['frames_dropped'])

    # Not one burst: DDS may thin that out to an image or two.
    with streaming(camera, photo, 200.0):
        assert any(dropped() for _ in range(10))
    bad = stamped(camera, photo)
    bad.step = 7

    def told() -> bool:
        values = figures(camera.diagnostics('image'))
        return int(values['frames_malformed']) > int(before['frames_malformed'])

    camera.publish_until(bad, told, 'the bad frame is counted')
    status = camera.diagnostics('image')
    values = figures(status)
    assert status.level == WARN
    assert 'malformed frames' in status.message and 'step is 7' in status.message
    received = int(values['frames_received']) - int(before['frames_received'])
    parts = sum(
        int(values[f'frames_{part}']) - int(before[f'frames_{part}'])
        for part in ('processed', 'dropped', 'malformed')
    )
    assert received - 3 <= parts <= received  # one in each stage, one that waits


@pytest.mark.parametrize(
    ('parameters', 'level', 'told'),
    [
        ({'processed_rate_warn': 100.0}, WARN, 'processed_rate_warn is 100 Hz'),
        (
            {'processed_rate_warn': 100.0, 'processed_rate_error': 50.0},
            ERROR,
            'processed_rate_error is 50 Hz',
        ),
        ({'age_warn': 3.0}, WARN, 'age_warn is 3 s'),
        ({'age_warn': 3.0, 'age_error': 8.0}, ERROR, 'age_error is 8 s'),
        ({'processed_rate_warn': 0.01, 'age_warn': 600.0}, OK, 'active'),
    ],
)
def test_levels_are_set_by_parameters(
    parameters: dict[str, float],
    level: bytes,
    told: str,
    connect: Callable[..., Camera],
    photo: np.ndarray,
) -> None:
    camera = connect('levels_' + str(abs(hash(str(parameters)))), **parameters)
    camera.subscribe('detections')
    small = np.ascontiguousarray(photo[:64, :64])

    def judged(status: DiagnosticStatus) -> bool:
        return (
            status.level == level
            and told in status.message
            and int(figures(status)['frames_processed']) > 0
        )

    with streaming(camera, small, rate=4.0, age=10.0):
        camera.diagnostics_until('image', judged, told)
    # Where nobody listens nothing is processed, and nothing is too slow.
    camera.subscribe()
    with streaming(camera, small, rate=4.0):
        camera.diagnostics_until('image', lambda status: status.level == OK, 'all is well')
