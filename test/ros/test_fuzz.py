# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Messages, parameters and requests of all kinds: used, or refused in words. See `make fuzz`."""

import array
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fuzzing import assert_clear, damaged_images, in_bounded_time, tried
from hypothesis import given
from hypothesis import strategies as st
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from ros_harness import Camera, pixels_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from instance_seg_ros.errors import ImageError
from instance_seg_ros.ros.compressed_codec import compressed_to_bgr8
from instance_seg_ros.ros.image_codec import ENCODINGS, to_bgr8
from instance_seg_ros.ros.parameters import ParameterValues
from instance_seg_ros.ros.scene import parse_roi
from instance_seg_ros.ros.settings import all_settings
from instance_seg_ros.srv import Segment

OTHERS = (
    '', '32FC1', '16SC1', 'rgb16', 'bgra16', 'bayer_rggb16', 'nv21', 'jpeg', 'BGR8', 'bgr8 ',
    '64FC4', '8UC5', '8UC', 'yuv420', 'bgr8; jpeg compressed bgr8',
)  # fmt: skip
SIDES = st.integers(0, 48) | st.sampled_from([1, 2, 33, 34, 2**15, 2**16, 2**31, 2**32 - 1])
SHORT_TEXT = st.text(max_size=12)
FORMATS = st.sampled_from(
    [
        'jpeg', 'png', '', 'webp', 'bgr8; jpeg compressed bgr8', 'rgb8; png compressed rgb8',
        'mono16; png compressed mono16', 'bayer_rggb8; png compressed bayer_rggb8',
        'bayer_grbg8; jpeg compressed bgr8', '16UC1; compressedDepth png', ';', 'bayer_8; png',
        'rgba8;jpeg compressed', 'bayer_x8; png compressed ',
    ]
) | SHORT_TEXT  # fmt: skip


def filled(size: int, value: int) -> array.array:
    return array.array('B', bytes([value, (7 * value + 3) % 256, 90]) * (size // 3 + 1))[:size]


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Image messages; about half of them are whole."""
    encoding = draw(st.sampled_from(ENCODINGS) | st.sampled_from(OTHERS) | SHORT_TEXT)
    width, height = draw(SIDES), draw(SIDES)
    row = width * draw(st.sampled_from([1, 2, 3, 4]))
    step = draw(st.sampled_from([row, row, row + 5, row - 1, 0]) | st.integers(0, 2**32 - 1))
    step = min(max(step, 0), 2**32 - 1)
    size = step * height + draw(st.sampled_from([0, 0, 0, 1, -1]))
    if not 0 <= size <= 40_000:
        size = draw(st.integers(0, 400))
    return Image(
        encoding=encoding,
        width=width,
        height=height,
        step=step,
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
        data=filled(size, draw(st.integers(0, 255))),
    )


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    data = draw(damaged_images() | st.binary(max_size=60))
    return CompressedImage(format=draw(FORMATS), data=array.array('B', data))


def check_conversion(convert: Callable[[Any], np.ndarray], message: Any) -> None:
    with in_bounded_time():
        try:
            pixels = convert(message)
        except ImageError as error:
            assert_clear(str(error))
            return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    if isinstance(message, Image):
        assert pixels.shape[:2] == (message.height, message.width)


@tried(5.0)
@given(images())
def test_any_image_message_is_converted_or_refused(message: Image) -> None:
    check_conversion(to_bgr8, message)


@tried(5.0)
@given(compressed_images())
def test_any_compressed_image_is_decoded_or_refused(message: CompressedImage) -> None:
    check_conversion(compressed_to_bgr8, message)


# ---- parameters
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    SHORT_TEXT,
    st.sampled_from(['person', '0', '1e999', 'person:0.5', '3x3', '640x400+0+80', 'gan', '\0']),
    st.lists(SHORT_TEXT, max_size=3),
    st.lists(st.integers(-9, 9), max_size=3),
    st.lists(st.floats(), max_size=3),
    st.lists(st.booleans(), max_size=3),
)
NAMES = [setting.name for setting in all_settings()]
DEFAULTS = {setting.name: setting.default for setting in all_settings()}


@tried(2.0)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4))
def test_any_values_of_parameters_are_taken_or_refused(changes: dict[str, Any]) -> None:
    try:
        ParameterValues.of({**DEFAULTS, **changes})
    except ValueError as error:
        assert_clear(str(error))
        assert any(name in str(error) for name in changes)


@tried()
@given(SHORT_TEXT | st.from_regex(r'[0-9]{1,25}x[0-9]{1,25}\+[0-9]{1,25}\+[0-9]{1,25}'))
def test_any_region_is_read_or_refused(text: str) -> None:
    try:
        parse_roi(text)
    except ValueError as error:
        assert_clear(str(error).replace(text, '?'))


# ---- a share of them over DDS, to a node
@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared(
        'fuzzed', confidence_threshold=0.3, refiner='none', tracking=True,
        depth_topic='depth', camera_info_topic='depth_info',
    )  # fmt: skip


@pytest.fixture(scope='module')
def right(camera: Camera, photo: np.ndarray) -> np.ndarray:
    """The label image of the photo before anything else was sent."""
    camera.subscribe('label_image')
    return pixels_of(camera.ask(camera.image(photo))['label_image'])


def assert_as_before(camera: Camera, photo: np.ndarray, right: np.ndarray) -> None:
    found = pixels_of(camera.ask(camera.image(photo))['label_image'])
    np.testing.assert_array_equal(found, right)
    for line in camera.process.output.splitlines():
        assert len(line) < 1200 and 'Traceback' not in line, line


def test_requests_with_any_image_are_answered(
    camera: Camera, photo: np.ndarray, right: np.ndarray
) -> None:
    @tried(0.3)
    @given(images())
    def request(message: Image) -> None:
        response = camera.call(Segment, 'segment', Segment.Request(image=message))
        assert response.success or response.message
        if not response.success:
            assert_clear(response.message)

    request()
    assert_as_before(camera, photo, right)


FLOATS = st.floats() | st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e-300, 1e300, 300.0])
STAMPS = st.tuples(
    st.sampled_from([0, -1, 1, 2**31 - 1, -(2**31)]), st.sampled_from([0, 1, 2**32 - 1])
)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Image, CameraInfo, Header]:
    """A depth image, its camera info, and the header of an image that goes with them."""
    header = Header(frame_id=draw(st.sampled_from(['camera', '', 'x' * 3000])))
    header.stamp.sec, header.stamp.nanosec = draw(STAMPS)
    side = draw(st.sampled_from([0, 1, 40, 320, 2**32 - 1]))
    encoding = draw(st.sampled_from(['16UC1', '32FC1', 'mono16', '8UC1', '']))
    size = {'32FC1': 4}.get(encoding, 2)
    step = min(side * size, 2**32 - 1)
    value = struct.pack('<f', draw(st.floats(width=32)))
    length = min(step * side, 320 * 320 * 4)
    depth = Image(header=header, width=side, height=side, encoding=encoding, step=step)
    depth.data = array.array('B', value * (length // 4 + 1))[:length]
    info = CameraInfo(header=header, width=side, height=draw(st.sampled_from([side, 0, 7])))
    info.p = draw(st.lists(FLOATS, min_size=12, max_size=12))
    return depth, info, header


def test_any_depth_and_camera_info_leave_the_other_outputs_alone(
    camera: Camera, photo: np.ndarray, right: np.ndarray
) -> None:
    depths = camera.node.create_publisher(Image, 'depth', 10)
    infos = camera.node.create_publisher(CameraInfo, 'depth_info', 10)
    camera.subscribe('label_image', 'detections_3d', 'objects')
    camera.publish_until(
        camera.image(photo), lambda: depths.get_subscription_count() > 0, 'the node reads depth'
    )

    @tried(0.1)
    @given(scenes())
    def send(scene: tuple[Image, CameraInfo, Header]) -> None:
        depth, info, header = scene
        infos.publish(info)
        depths.publish(depth)
        image = camera.image(photo)
        image.header = header
        before = len(camera.received['label_image'])
        camera.publish_until(
            image, lambda: len(camera.received['label_image']) > before, 'an answer'
        )

    send()
    camera.subscribe('label_image')
    assert_as_before(camera, photo, right)


def raw_parameters() -> st.SearchStrategy[ParameterMessage]:
    """Parameters as a sender may write them: any type, whatever value belongs to it."""
    values = st.builds(
        ParameterValue,
        type=st.integers(0, 12) | st.sampled_from([255]),
        bool_value=st.booleans(),
        integer_value=st.integers(-(2**63), 2**63 - 1),
        double_value=st.floats(),
        string_value=st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=9),
        string_array_value=st.lists(st.sampled_from(['person', 'x', '']), max_size=3),
    )
    return st.builds(ParameterMessage, name=st.sampled_from([*NAMES, '', 'x']), value=values)


def test_any_request_for_parameters_is_answered_or_logged_once(
    camera: Camera, photo: np.ndarray, right: np.ndarray
) -> None:
    values = camera.parameters(*NAMES)

    @tried(0.5)
    @given(st.lists(raw_parameters().filter(lambda p: p.value.type <= 9), max_size=3))
    def request(parameters: list[ParameterMessage]) -> None:
        # A refiner of another name would be looked for; the time is that of the test's ROS nodes.
        named = [each for each in parameters if each.name not in ('refiner', 'use_sim_time')]
        result = camera.call(
            SetParametersAtomically,
            'set_parameters_atomically',
            SetParametersAtomically.Request(parameters=named),
        ).result
        assert result.successful or result.reason

    request()
    now = camera.parameters(*NAMES)
    changed = {name: value for name, value in values.items() if now[name] != value}
    assert not changed or camera.set_parameters(**changed).successful
    assert_as_before(camera, photo, right)
