# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Latched descriptions, compressed images, quality of service, and what is said of silence."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_harness import (
    BEST_EFFORT,
    LATCHED,
    RELIABLE,
    TOPICS,
    Camera,
    NodeProcess,
    figures,
    pixels_of,
)
from sensor_msgs.msg import CompressedImage

from instance_seg_ros.segmenter import Segmenter


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared('topics', confidence_threshold=0.3)


class TestDescriptions:
    def test_whoever_subscribes_late_gets_them(
        self, connect: Callable[..., Camera], coco_model: Path
    ) -> None:
        camera = connect('described', model=coco_model, confidence_threshold=0.4)
        camera.subscribe('label_info', 'vision_info')
        camera.spin_until(lambda: len(camera.received) == 2, 'both are there')
        (labels,) = camera.received['label_info']
        names = {entry.class_id: entry.class_name for entry in labels.class_map}
        assert names == Segmenter(model=str(coco_model)).class_names
        assert len(names) == 80 and names[89] == 'toothbrush'  # numbered with gaps, up to 90
        assert labels.threshold == pytest.approx(0.4)
        (info,) = camera.received['vision_info']
        assert info.method == 'Mask R-CNN model in opencv'
        assert info.database_location == '/described/instance_seg/label_info'

    def test_class_ids_are_those_of_label_info(self, camera: Camera, photo: np.ndarray) -> None:
        camera.subscribe('label_info')
        camera.spin_until(lambda: bool(camera.received['label_info']), 'it is there')
        names = {
            str(entry.class_id): entry.class_name
            for entry in camera.received['label_info'][0].class_map
        }
        camera.subscribe('detections', 'instance_masks')
        answers = camera.ask(camera.image(photo))
        assert (
            [names[d.results[0].hypothesis.class_id] for d in answers['detections'].detections]
            == [mask.class_name for mask in answers['instance_masks'].masks]
            != []
        )

    def test_a_new_threshold_is_reported(self, camera: Camera) -> None:
        camera.subscribe('label_info')
        for threshold in (0.6, 0.3):
            assert camera.set_parameters(confidence_threshold=threshold).successful
            camera.spin_until(
                lambda threshold=threshold: any(
                    info.threshold == pytest.approx(threshold)
                    for info in camera.received['label_info']
                ),
                'the threshold is published',
            )


@pytest.fixture(scope='module')
def compressed(start_shared_node: Callable[..., NodeProcess]) -> Iterator[Camera]:
    process = start_shared_node('jpeg', confidence_threshold=0.3, image_transport='compressed')
    camera = Camera('jpeg', process, topic='image/compressed', message_type=CompressedImage)
    yield camera
    camera.close()


class TestCompressed:
    @pytest.mark.parametrize(
        ('extension', 'image_format'),
        [('.jpg', 'jpeg'), ('.png', 'png'), ('.jpg', 'rgb8; jpeg compressed bgr8')],
    )
    def test_a_compressed_image_gives_what_its_pixels_give(
        self,
        extension: str,
        image_format: str,
        camera: Camera,
        compressed: Camera,
        photo: np.ndarray,
    ) -> None:
        _, data = cv2.imencode(extension, photo)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
        compressed.subscribe('detections', 'label_image')
        camera.subscribe('detections', 'label_image')
        message = CompressedImage(header=compressed.header(), format=image_format)
        message.data.frombytes(data.tobytes())
        found = compressed.ask(message)
        expected = camera.ask(camera.image(pixels))
        assert found['detections'].header == message.header
        assert found['detections'].detections
        assert [d.bbox for d in found['detections'].detections] == [
            d.bbox for d in expected['detections'].detections
        ]
        np.testing.assert_array_equal(
            pixels_of(found['label_image']), pixels_of(expected['label_image'])
        )

    def test_a_damaged_one_is_reported_and_the_next_one_answered(
        self, compressed: Camera, photo: np.ndarray
    ) -> None:
        compressed.subscribe('detections')
        _, data = cv2.imencode('.jpg', photo)
        bad = CompressedImage(header=compressed.header(), format='jpeg')
        bad.data.frombytes(data.tobytes()[500:900])
        compressed.publish_until(
            bad, lambda: "400 bytes of format 'jpeg', is" in compressed.process.output, 'a warning'
        )
        good = CompressedImage(header=compressed.header(), format='jpeg')
        good.data.frombytes(data.tobytes())
        assert compressed.ask(good)['detections'].header == good.header

    def test_the_debug_image_is_there_compressed(self, camera: Camera, photo: np.ndarray) -> None:
        camera.subscribe('debug_image', 'debug_image/compressed')
        sizes = []
        for quality in (90, 20):
            assert camera.set_parameters(jpeg_quality=quality).successful
            answers = camera.ask(camera.image(photo))
            jpeg = answers['debug_image/compressed']
            assert jpeg.header == answers['debug_image'].header
            assert jpeg.format == 'bgr8; jpeg compressed bgr8'
            drawn = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
            _, expected = cv2.imencode(
                '.jpg', pixels_of(answers['debug_image']), [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            np.testing.assert_array_equal(drawn, cv2.imdecode(expected, cv2.IMREAD_COLOR))
            sizes.append(len(jpeg.data))
        assert sizes[1] < sizes[0] / 2


def policies(camera: Camera, topic: str, *, publisher: bool) -> list[tuple[str, str]]:
    """Reliability and durability of the node's publishers or subscriptions of a topic."""
    get = (
        camera.node.get_publishers_info_by_topic
        if publisher
        else camera.node.get_subscriptions_info_by_topic
    )
    profiles = [
        info.qos_profile
        for info in get(f'/{camera.namespace}/{topic}')
        if info.node_name == 'instance_seg'
    ]
    return [(profile.reliability.name, profile.durability.name) for profile in profiles]


def expect(camera: Camera, topic: str, *expected: str, publisher: bool) -> None:
    """Wait until that is all that is known: what was there before may be reported for a moment."""
    camera.spin_until(
        lambda: policies(camera, topic, publisher=publisher) == [expected],
        f'{topic} has the QoS {expected}',
    )


class TestQuality:
    def test_defaults_match_every_camera_and_every_subscriber(self, camera: Camera) -> None:
        expect(camera, 'image', 'BEST_EFFORT', 'VOLATILE', publisher=False)
        for topic in TOPICS:
            expect(camera, f'instance_seg/{topic}', 'RELIABLE', 'VOLATILE', publisher=True)
        for topic in LATCHED:
            expect(camera, f'instance_seg/{topic}', 'RELIABLE', 'TRANSIENT_LOCAL', publisher=True)

    def test_parameters_change_them(self, connect: Callable[..., Camera]) -> None:
        camera = connect('changed', input_reliability='reliable', output_reliability='best_effort')
        expect(camera, 'image', 'RELIABLE', 'VOLATILE', publisher=False)
        expect(camera, 'instance_seg/detections', 'BEST_EFFORT', 'VOLATILE', publisher=True)
        expect(camera, 'instance_seg/label_info', 'RELIABLE', 'TRANSIENT_LOCAL', publisher=True)

    def test_overrides_go_before_parameters(self, connect: Callable[..., Camera]) -> None:
        prefix = 'qos_overrides./overridden'
        camera = connect(
            'overridden',
            **{
                f'{prefix}/image.subscription.reliability': 'reliable',
                f'{prefix}/instance_seg/detections.publisher.durability': 'transient_local',
            },
        )
        expect(camera, 'image', 'RELIABLE', 'VOLATILE', publisher=False)
        expect(camera, 'instance_seg/detections', 'RELIABLE', 'TRANSIENT_LOCAL', publisher=True)
        # The override of one topic is not that of the others.
        expect(camera, 'instance_seg/instance_masks', 'RELIABLE', 'VOLATILE', publisher=True)

    @pytest.mark.parametrize(
        ('policy', 'value', 'expected'),
        [
            ('subscription.reliability', 'foo', 'expected one of system_default, reliable'),
            ('subscription.depth', -3, 'expected a whole number from 1'),
            ('subscription.depht', 3, 'Did you mean qos_overrides./wrong_policy/image'),
        ],
    )
    def test_an_override_that_is_none_is_named(
        self, policy: str, value: object, expected: str, start_node: Callable[..., NodeProcess]
    ) -> None:
        name = f'qos_overrides./wrong_policy/image.{policy}'
        process = start_node('wrong_policy', **{name: value})
        camera = Camera('wrong_policy', process, wait_until_ready=False)
        camera.spin_until(lambda: expected in process.output, 'the node says so')
        assert name in process.output and 'Traceback' not in process.output
        camera.close()

    def test_another_configure_takes_parameters_but_keeps_overrides(
        self, connect: Callable[..., Camera]
    ) -> None:
        topic = '/reconfigured/instance_seg/debug_image'
        override = {f'qos_overrides.{topic}.publisher.reliability': 'reliable'}
        camera = connect('reconfigured', **override)
        for transition in ('deactivate', 'cleanup'):
            assert camera.change_state(transition)
        assert camera.set_parameters(
            input_reliability='reliable', output_reliability='best_effort'
        ).successful
        for transition in ('configure', 'activate'):
            assert camera.change_state(transition)
        expect(camera, 'image', 'RELIABLE', 'VOLATILE', publisher=False)
        expect(camera, 'instance_seg/detections', 'BEST_EFFORT', 'VOLATILE', publisher=True)
        expect(camera, 'instance_seg/debug_image', 'RELIABLE', 'VOLATILE', publisher=True)

    def test_a_best_effort_camera_is_heard(
        self, start_node: Callable[..., NodeProcess], photo: np.ndarray
    ) -> None:
        camera = Camera('sensor', start_node('sensor'), qos=BEST_EFFORT)
        camera.subscribe('detections')
        image = camera.image(photo)
        assert camera.ask(image)['detections'].header == image.header
        camera.close()


class TestSilence:
    def warning(self, camera: Camera, text: str) -> str:
        """Wait for the node's warning that no images arrive, with a text: it may learn slowly."""

        def lines() -> list[str]:
            return [
                line
                for line in camera.process.output.splitlines()
                if 'no image on' in line and text in line
            ]

        camera.spin_until(lambda: bool(lines()), f'a warning that no images arrive: {text}')
        return lines()[0]

    def test_after_five_seconds_the_publishers_are_named_with_their_qos(
        self, start_node: Callable[..., NodeProcess]
    ) -> None:
        process = start_node('mismatch', input_reliability='reliable')
        camera = Camera('mismatch', process, wait_until_ready=False, qos=BEST_EFFORT)
        warning = self.warning(camera, '/mismatch/camera (best_effort, volatile) cannot match')
        assert 'WARN' in warning
        assert 'no image on /mismatch/image for 5 s' in warning
        assert '(reliable, volatile)' in warning
        assert 'Set input_reliability' in warning
        status = camera.diagnostics('/mismatch/image')
        assert status.level == b'\2'
        assert '/mismatch/camera (best_effort, volatile)' in status.message
        camera.close()

    def test_a_missing_camera_is_reported_with_what_there_is(
        self, start_node: Callable[..., NodeProcess]
    ) -> None:
        process = start_node('wrong_name', image_timeout=1.0)
        camera = Camera('wrong_name', process, wait_until_ready=False, topic='image_raw')
        warning = self.warning(camera, '/wrong_name/image_raw')
        assert 'nobody publishes /wrong_name/image' in warning
        assert '/wrong_name/instance_seg/' not in warning
        camera.close()

    def test_outputs_of_cameras_are_not_what_there_is(
        self, start_node: Callable[..., NodeProcess]
    ) -> None:
        topics = "['front/image_raw', 'rear/image_raw']"
        process = start_node('own_outputs', image_timeout=1.0, image_topics=topics)
        camera = Camera('own_outputs', process, wait_until_ready=False, topic='front/image')
        # It warns again once it knows of the camera.
        self.warning(camera, 'Topics of type sensor_msgs/msg/Image are: /own_outputs/front/image')
        for own in ('/own_outputs/front/instance_seg/', '/own_outputs/rear/instance_seg/'):
            assert own not in process.output
        camera.close()

    def test_a_camera_that_is_slower_than_the_timeout_is_reported_once(
        self, start_node: Callable[..., NodeProcess], photo: np.ndarray
    ) -> None:
        process = start_node('seldom', image_timeout=1.0)
        camera = Camera('seldom', process, qos=RELIABLE)
        for _ in range(4):
            camera.publish(camera.image(photo))
            camera.spin_for(3.0)
        warnings = re.findall('no image on .*', process.output)
        # Another cause is another warning: on a busy machine the node may learn slowly.
        assert 1 <= len(warnings) == len(set(warnings))
        assert 1 <= process.output.count('images arrive') <= len(warnings)
        camera.close()

    def test_a_camera_of_the_other_transport_is_reported(
        self, start_node: Callable[..., NodeProcess]
    ) -> None:
        process = start_node('transport', image_timeout=1.0)
        camera = Camera(
            'transport',
            process,
            wait_until_ready=False,
            topic='image/compressed',
            message_type=CompressedImage,
        )
        assert 'WARN' in self.warning(camera, 'Set image_transport: compressed')
        camera.close()

    def test_images_end_the_warning(
        self, start_node: Callable[..., NodeProcess], photo: np.ndarray
    ) -> None:
        process = start_node('late', image_timeout=1.0)
        camera = Camera('late', process, qos=RELIABLE)
        warning = self.warning(camera, '/late/camera (reliable, volatile) matches but sends')
        assert 'ros2 topic hz /late/image' in warning
        assert camera.diagnostics('/late/image').level == b'\1'
        camera.node.create_timer(0.2, lambda: camera.publish(camera.image(photo)))
        camera.spin_until(
            lambda: 'images arrive on /late/image' in process.output, 'the node says so'
        )
        camera.diagnostics_until('/late/image', lambda status: status.level == b'\0', 'all is well')
        camera.close()


class TestTime:
    def test_simulated_time_and_a_bag_from_long_ago(
        self, start_node: Callable[..., NodeProcess], photo: np.ndarray
    ) -> None:
        from builtin_interfaces.msg import Time
        from rosgraph_msgs.msg import Clock

        process = start_node('replay', use_sim_time=True, confidence_threshold=0.3)
        camera = Camera('replay', process)
        clock = camera.node.create_publisher(Clock, '/clock', BEST_EFFORT)
        camera.spin_until(lambda: clock.get_subscription_count() > 0, 'the node reads the clock')
        camera.subscribe('detections', 'label_image', 'debug_image')
        now = 1_000_000
        for _ in range(3):
            image = camera.image(photo)
            now = image.header.stamp.sec
            clock.publish(Clock(clock=Time(sec=now + 2, nanosec=123_456_789)))
            answers = camera.ask(image)
            assert {answer.header.stamp.sec for answer in answers.values()} == {now}
        # The clock stands still: so the frames are two seconds old, by the time of the bag.
        status = camera.diagnostics_until(
            '/replay/image', lambda status: figures(status)['age_mean_ms'] != '', 'an age'
        )
        assert 1000 <= float(figures(status)['age_mean_ms']) <= 3000
        camera.close()
