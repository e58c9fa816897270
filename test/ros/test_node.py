# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node in a process of its own, over real DDS, with the model that ships."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_harness import Camera, decode_mask, figures, pixels_of

from instance_seg_ros.msg import InstanceMask
from instance_seg_ros.segmenter import Segmenter

EVERYTHING = ('detections', 'instance_masks', 'debug_image', 'label_image')


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('shared', confidence_threshold=0.3, refiner='auto')


@pytest.fixture(scope='module')
def rle_camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('rle', confidence_threshold=0.3, mask_encoding='rle', refiner='auto')


def boxes(detections: object) -> np.ndarray:
    return np.array(
        [
            [d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y]
            for d in detections.detections
        ]
    )


def test_a_photo_gives_detections_masks_and_pictures(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe(*EVERYTHING)
    answers = camera.ask(camera.image(photo))
    detections = answers['detections'].detections
    assert detections
    first = detections[0]
    assert first.results[0].hypothesis.class_id == '0'
    assert 0.3 <= first.results[0].hypothesis.score <= 1.0
    assert first.id == ''
    assert [mask.class_name for mask in answers['instance_masks'].masks] == ['person'] * len(
        detections
    )
    debug = pixels_of(answers['debug_image'])
    assert debug.shape == photo.shape
    assert (debug != photo).any()


def test_every_output_has_the_header_of_the_image(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe(*EVERYTHING)
    image = camera.image(photo)
    answers = camera.ask(image)
    headers = [answer.header for answer in answers.values()]
    headers += [detection.header for detection in answers['detections'].detections]
    headers += [mask.mask.header for mask in answers['instance_masks'].masks]
    assert len(headers) > len(EVERYTHING)
    assert all(header == image.header for header in headers)


def test_a_stamp_before_1970_is_a_stamp_like_any_other(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('before_1970', refiner='none')
    camera.subscribe('detections')
    image = camera.image(photo)
    image.header.stamp.sec = -1_000_000
    camera.ask(image)
    status = camera.diagnostics_until(
        'image', lambda status: figures(status)['frames_processed'] != '0', 'the frame'
    )
    assert figures(status)['frames_failed'] == '0'
    assert 'ERROR' not in camera.process.output


def test_the_node_answers_what_the_library_finds_in_source_pixels(
    camera: Camera, photo: np.ndarray
) -> None:
    # Larger than any model's input, so that boxes must be scaled back.
    large = cv2.resize(photo, (1600, 1600), interpolation=cv2.INTER_CUBIC)
    instances = Segmenter(model='person_mask_rcnn', confidence_threshold=0.3)(large)
    camera.subscribe('detections', 'label_image')
    answers = camera.ask(camera.image(large))
    x1, y1, x2, y2 = instances.boxes.T
    expected = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    assert len(expected)
    np.testing.assert_allclose(boxes(answers['detections']), expected, rtol=1e-4)
    np.testing.assert_array_equal(pixels_of(answers['label_image']), instances.label_image())


def test_masks_belong_to_the_detections(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections', 'instance_masks', 'label_image')
    answers = camera.ask(camera.image(photo))
    detections, masks = answers['detections'].detections, answers['instance_masks']
    labels = pixels_of(answers['label_image'])
    assert (masks.image_height, masks.image_width) == photo.shape[:2] == labels.shape
    assert [mask.detection_index for mask in masks.masks] == list(range(len(detections)))
    for mask, detection in zip(masks.masks, detections, strict=True):
        assert mask.class_id == detection.results[0].hypothesis.class_id
        assert mask.score == pytest.approx(detection.results[0].hypothesis.score)
        centre, roi = detection.bbox.center.position, mask.roi
        assert roi.x_offset <= centre.x <= roi.x_offset + roi.width
        assert roi.y_offset <= centre.y <= roi.y_offset + roi.height
        assert (mask.mask.height, mask.mask.width) == (roi.height, roi.width)
    best = masks.masks[0]
    window = labels[
        best.roi.y_offset : best.roi.y_offset + best.roi.height,
        best.roi.x_offset : best.roi.x_offset + best.roi.width,
    ]
    assert decode_mask(best).any()
    np.testing.assert_array_equal(window == 1, decode_mask(best))
    assert labels.max() <= len(detections)


def test_run_lengths_hold_the_same_masks(
    camera: Camera, rle_camera: Camera, photo: np.ndarray
) -> None:
    camera.subscribe('instance_masks')
    rle_camera.subscribe('instance_masks')
    crops = camera.ask(camera.image(photo))['instance_masks'].masks
    runs = rle_camera.ask(rle_camera.image(photo))['instance_masks'].masks
    assert runs
    assert {mask.encoding for mask in crops} == {InstanceMask.MONO8_CROP}
    assert {mask.encoding for mask in runs} == {InstanceMask.RLE_CROP}
    for crop, run in zip(crops, runs, strict=True):
        assert crop.roi == run.roi
        np.testing.assert_array_equal(decode_mask(run), decode_mask(crop))


def test_an_empty_frame_gives_empty_arrays(connect: Callable[..., Camera]) -> None:
    camera = connect('strict', confidence_threshold=0.99)
    camera.subscribe(*EVERYTHING)
    black = np.zeros((240, 320, 3), np.uint8)
    image = camera.image(black)
    answers = camera.ask(image)
    assert list(answers['detections'].detections) == []
    assert list(answers['instance_masks'].masks) == []
    assert not pixels_of(answers['label_image']).any()
    np.testing.assert_array_equal(pixels_of(answers['debug_image']), black)
    assert all(answer.header == image.header for answer in answers.values())


def test_files_of_ones_own_are_used_and_read_once(
    connect: Callable[..., Camera], coco_model: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    for name in ('model.pb', 'model.pbtxt'):
        shutil.copy(coco_model.parent / name, tmp_path)
    labels = tmp_path / 'my_labels.txt'
    labels.write_text('\n'.join(f'thing {number}' for number in range(90)))
    camera = connect(
        'own', model_path=tmp_path / 'model.pb', labels_path=labels, confidence_threshold=0.3
    )
    # A node that loads the model for every frame has nothing to load any more.
    shutil.rmtree(tmp_path)
    camera.subscribe('detections', 'instance_masks')
    for _ in range(2):
        answers = camera.ask(camera.image(photo))
        ids = [d.results[0].hypothesis.class_id for d in answers['detections'].detections]
        assert (
            [mask.class_name for mask in answers['instance_masks'].masks]
            == [f'thing {class_id}' for class_id in ids]
            != []
        )


def equivalents(photo: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels in each encoding, and the bgr8 image that they stand for."""
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    grey_bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    uyvy = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_UYVY)
    yuy2 = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_YUY2)
    found = {
        'rgb8': (photo[..., ::-1], photo),
        'bgra8': (np.dstack([photo, alpha]), photo),
        'rgba8': (np.dstack([photo[..., ::-1], alpha]), photo),
        'mono8': (grey, grey_bgr),
        'mono16': (grey.astype(np.uint16) * 257, grey_bgr),
        'yuv422': (uyvy, cv2.cvtColor(uyvy, cv2.COLOR_YUV2BGR_UYVY)),
        'yuv422_yuy2': (yuy2, cv2.cvtColor(yuy2, cv2.COLOR_YUV2BGR_YUY2)),
    }
    # Blue sits where OpenCV's name says that red does: it names the second row.
    for encoding, offset, code in (
        ('bayer_rggb8', (0, 0), cv2.COLOR_BayerBG2BGR),
        ('bayer_bggr8', (1, 1), cv2.COLOR_BayerRG2BGR),
        ('bayer_gbrg8', (1, 0), cv2.COLOR_BayerGR2BGR),
        ('bayer_grbg8', (0, 1), cv2.COLOR_BayerGB2BGR),
    ):
        rows, columns = np.indices(photo.shape[:2]) + np.reshape(offset, (2, 1, 1))
        channel = 2 - rows % 2 - columns % 2  # red, green, green, blue
        mosaic = np.take_along_axis(photo, channel[..., None], axis=2)[..., 0]
        found[encoding] = (mosaic, cv2.cvtColor(mosaic, code))
    return found


@pytest.mark.parametrize(
    'encoding',
    [
        'rgb8',
        'bgra8',
        'rgba8',
        'mono8',
        'mono16',
        'yuv422',
        'yuv422_yuy2',
        'bayer_rggb8',
        'bayer_bggr8',
        'bayer_gbrg8',
        'bayer_grbg8',
    ],
)
def test_each_encoding_gives_what_its_bgr8_image_gives(
    encoding: str, camera: Camera, photo: np.ndarray
) -> None:
    pixels, bgr = equivalents(photo)[encoding]
    camera.subscribe('detections', 'label_image')
    expected = camera.ask(camera.image(bgr))
    found = camera.ask(camera.image(pixels, encoding))
    np.testing.assert_array_equal(boxes(found['detections']), boxes(expected['detections']))
    np.testing.assert_array_equal(
        pixels_of(found['label_image']), pixels_of(expected['label_image'])
    )


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'step': 7}, 'step is 7'),
        ({'height': 1000}, 'bytes of data'),
        ({'encoding': '32FC1'}, "'32FC1' is not supported"),
        ({'encoding': 'rgba8'}, 'step is 960'),
    ],
)
def test_a_bad_image_is_reported_and_the_next_one_answered(
    change: dict[str, object], expected: str, camera: Camera, photo: np.ndarray
) -> None:
    camera.subscribe('detections')
    bad = camera.image(photo)
    for name, value in change.items():
        setattr(bad, name, value)
    # In the log there is one warning in five seconds.
    camera.publish_until(
        bad,
        lambda: expected in figures(camera.diagnostics('/shared/image'))['last_error'],
        f'an error with "{expected}"',
    )
    good = camera.image(photo)
    assert camera.ask(good)['detections'].header == good.header
    assert all(message.header != bad.header for message in camera.received['detections'])


def test_only_what_is_subscribed_to_is_published(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections')
    before = camera.ask(camera.image(photo))['detections']
    assert before.detections
    camera.subscribe('label_image')
    camera.ask(camera.image(photo))
    assert set(camera.received) == {'label_image'}


def test_nothing_is_computed_when_nobody_listens(
    connect: Callable[..., Camera], photo: np.ndarray
) -> None:
    camera = connect('idle')
    # The first image that is converted at all would be reported: nobody listens, so it is not.
    bad = camera.image(photo)
    bad.encoding = 'unheard_of'
    good = camera.image(photo)

    def received() -> int:
        return int(figures(camera.diagnostics('image'))['frames_received'])

    sent = 0
    while received() == 0:
        camera.publish(bad)
        sent += 1
    while received() <= sent:
        camera.publish(good)
    # A good one came after all bad ones: none of them waits.
    camera.subscribe('detections')
    camera.ask(camera.image(photo))
    assert 'unheard_of' not in camera.process.output
    camera.publish_until(
        bad, lambda: 'unheard_of' in camera.process.output, 'a warning now that somebody listens'
    )


def test_a_burst_does_not_pile_up(camera: Camera) -> None:
    camera.subscribe('detections')
    rng = np.random.default_rng(4)
    camera.ask(camera.image(np.zeros((120, 160, 3), np.uint8)))
    camera.received.clear()
    images = [camera.image(rng.integers(0, 256, (120, 160, 3), np.uint8)) for _ in range(40)]
    for image in images:
        camera.publish(image)
    last = camera.ask(images[-1])['detections']
    assert last.header == images[-1].header
    stamps = [message.header.stamp.sec for message in camera.received['detections']]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) < len(images) / 2
