# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What robots do with masks: identities, images of classes, and only what matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import write_manifest, write_model
from ros_harness import Camera, NodeProcess, decode_mask, figures, pixels_of
from std_srvs.srv import Trigger


def moved(photo: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(photo, pixels, axis=1)


def blank() -> np.ndarray:
    return np.full((320, 320, 3), 128, np.uint8)


class TestIdentities:
    def test_ids_last_until_they_are_reset(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('tracked', tracking=True, track_max_age=1.5, refiner='none')
        camera.subscribe('detections', 'instance_masks')

        def ids(pixels: np.ndarray) -> list[str]:
            answers = camera.ask(camera.image(pixels))
            found = [detection.id for detection in answers['detections'].detections]
            assert [mask.id for mask in answers['instance_masks'].masks] == found
            return found

        # The stamps are a second apart.
        assert [ids(moved(photo, 12 * step)) for step in range(5)] == [['1']] * 5
        assert ids(blank()) == ids(blank()) == []
        assert ids(photo) == ['2']  # the one before was not seen for longer than track_max_age
        assert ids(moved(photo, 8)) == ['2']
        answer = camera.call(Trigger, 'reset_tracking', Trigger.Request())
        assert answer.success and 'begin at 1' in answer.message
        assert ids(photo) == ['1']

    def test_without_tracking_there_are_no_ids_until_it_is_switched_on(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('untracked', refiner='none')
        camera.subscribe('detections', 'instance_masks')
        answers = camera.ask(camera.image(photo))
        assert [mask.id for mask in answers['instance_masks'].masks] == ['']
        assert camera.set_parameters(tracking=True).successful
        answers = camera.ask(camera.image(photo))
        assert [detection.id for detection in answers['detections'].detections] == ['1']


class TestImagesOfClasses:
    def test_classes_and_scores_lie_where_the_masks_do(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('classes', refiner='none')
        camera.subscribe('class_label_info')
        camera.spin_until(lambda: bool(camera.received['class_label_info']), 'the labels')
        labels = camera.received['class_label_info'][0]
        values = {entry.class_name: entry.class_id for entry in labels.class_map}
        assert values['background'] == 0

        topics = ('instance_masks', 'label_image', 'class_image', 'confidence_image')
        camera.subscribe(*topics)
        image = camera.image(photo)
        answers = camera.ask(image)
        assert all(answers[topic].header == image.header for topic in topics)
        (mask,) = answers['instance_masks'].masks
        assert answers['class_image'].encoding == answers['confidence_image'].encoding == 'mono8'
        inside = pixels_of(answers['label_image']) > 0
        assert inside.any() and not inside.all()
        expected = np.where(inside, values[mask.class_name], 0)
        np.testing.assert_array_equal(pixels_of(answers['class_image']), expected)
        expected = np.where(inside, round(255 * mask.score), 0)
        np.testing.assert_array_equal(pixels_of(answers['confidence_image']), expected)

    def test_class_ids_that_no_byte_holds_are_reported_at_configure(
        self, start_node: Callable[..., NodeProcess], tmp_path: Path, photo: np.ndarray
    ) -> None:
        write_model(tmp_path, 0.125, 300, {20: 5.0})
        model = write_manifest(tmp_path, [f'class {i}' for i in range(300)])
        process = start_node('many_classes', model=model, refiner='none')
        camera = Camera('many_classes', process)
        warnings = [line for line in process.output.splitlines() if 'class_image' in line]
        assert len(warnings) == 1 and 'class ids up to 299, expected at most 254' in warnings[0]
        camera.subscribe('label_image')
        assert camera.ask(camera.image(photo))
        camera.close()


class TestWhatMatters:
    def test_a_region_of_interest_gives_results_in_pixels_of_the_image(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('region', roi="['200x240+60+10']", refiner='none')
        camera.subscribe('detections', 'instance_masks', 'label_image')
        answers = camera.ask(camera.image(photo))
        labels = pixels_of(answers['label_image'])
        assert labels.shape == (320, 320) and labels.any()
        outside = np.ones((320, 320), bool)
        outside[10:250, 60:260] = False
        assert not labels[outside].any()
        (mask,) = answers['instance_masks'].masks
        x, y = mask.roi.x_offset, mask.roi.y_offset
        cut = labels[y : y + mask.roi.height, x : x + mask.roi.width] > 0
        np.testing.assert_array_equal(cut, decode_mask(mask))
        (detection,) = answers['detections'].detections
        assert detection.bbox.center.position.x - detection.bbox.size_x / 2 >= 60

    def test_an_image_that_lacks_the_region_is_reported(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('no_region', roi="['200x240+160+10']")
        camera.subscribe('detections')
        camera.publish_until(
            camera.image(photo),
            lambda: 'expected one that has the region 200x240+160+10' in camera.process.output,
            'the node says so',
        )

    def test_ignored_pixels_are_in_no_mask_and_what_is_mostly_there_is_dropped(
        self, connect: Callable[..., Camera], photo: np.ndarray, tmp_path: Path
    ) -> None:
        ignored = np.zeros((320, 320), np.uint8)
        ignored[230:] = 255
        path = tmp_path / 'robot.png'
        cv2.imwrite(str(path), ignored)
        camera = connect('ignoring', ignore_mask=f"['{path}']", refiner='none')
        camera.subscribe('detections', 'label_image')
        answers = camera.ask(camera.image(photo))
        labels = pixels_of(answers['label_image'])
        assert labels[:230].any() and not labels[230:].any()
        # The person is now mostly on the robot.
        lower = np.roll(photo, 190, axis=0)
        lower[:190] = 128
        without = camera.ask(camera.image(lower))
        assert not without['detections'].detections and not pixels_of(without['label_image']).any()

        # An image of another size is segmented without the mask, and one warning says so.
        small = cv2.resize(photo, (240, 240))
        camera.subscribe('detections', 'label_image')
        for _ in range(3):
            assert pixels_of(camera.ask(camera.image(small))['label_image'])[200:].any()
        warnings = [line for line in camera.process.output.splitlines() if 'ignore_mask' in line]
        assert len(warnings) == 1
        assert 'it is 320 x 320, the image 240 x 240: expected the same size' in warnings[0]
        status = camera.diagnostics_until(
            '/ignoring/image',
            lambda status: int(figures(status)['frames_incomplete']) >= 3,
            'they are counted',
        )
        assert status.level == b'\1' and 'ignore_mask' in status.message

    def test_max_rate_drops_what_comes_too_soon(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('slowed', max_rate=0.001)
        camera.subscribe('detections')
        camera.ask(camera.image(photo))
        camera.publish_until(
            camera.image(photo),
            lambda: int(figures(camera.diagnostics('/slowed/image'))['frames_dropped']) >= 2,
            'images are dropped',
        )
        assert figures(camera.diagnostics('/slowed/image'))['frames_processed'] == '1'
        for rate in (20.0, 0.0):  # not only after the pause of the rate before
            assert camera.set_parameters(max_rate=0.001).successful
            assert camera.set_parameters(max_rate=rate).successful
            camera.subscribe('detections')
            camera.ask(camera.image(photo))

    def test_thresholds_of_classes_change_live_and_unknown_classes_are_refused(
        self, connect: Callable[..., Camera], photo: np.ndarray
    ) -> None:
        camera = connect('thresholds', class_thresholds="['person:0.999']")
        camera.subscribe('detections')
        assert not camera.ask(camera.image(photo))['detections'].detections
        refused = camera.set_parameters(class_thresholds=['unicorn:0.5'])
        assert not refused.successful
        assert 'class_thresholds' in refused.reason and 'unicorn' in refused.reason
        assert camera.set_parameters(class_thresholds=['person:0.3']).successful
        assert camera.ask(camera.image(photo))['detections'].detections

    @pytest.mark.parametrize(
        ('name', 'value', 'text'),
        [
            ('roi', "['640 by 400']", "roi has '640 by 400': expected width x height + x + y"),
            ('roi', "['99x99+0+0', 'none']", 'roi has 2 entries, and there are 1 cameras'),
            ('ignore_mask', "['/no/such.png']", 'ignore_mask /no/such.png'),
            ('class_thresholds', "['unicorn:0.5']", 'unicorn'),
            ('depth_topic', 'depth', "depth_topic is 'depth' and camera_info_topic ''"),
        ],
    )
    def test_what_cannot_be_is_refused_at_configure(
        self, name: str, value: str, text: str, start_node: Callable[..., NodeProcess]
    ) -> None:
        process = start_node('refused', **{name: value})
        camera = Camera('refused', process, wait_until_ready=False)
        camera.spin_until(lambda: 'configure failed' in process.output, 'the node says so')
        (line,) = (line for line in process.output.splitlines() if 'configure failed' in line)
        assert text in line and name in line
        assert camera.state() == 'unconfigured'
        camera.close()
