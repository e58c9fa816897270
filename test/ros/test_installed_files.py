# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The files beside the node, in use: the Fast DDS profile, the sample camera, RViz's view."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
import yaml
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from rclpy.qos import (
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
)
from ros_harness import BEST_EFFORT, RELIABLE, TIMEOUT, Camera, kill_process
from sensor_msgs.msg import CompressedImage, Image

from instance_seg_ros.ros.compressed_codec import compressed_to_bgr8

SHARE = Path(get_package_share_directory('instance_seg_ros'))
PROFILE = SHARE / 'config' / 'fastdds.xml'
IMAGES = 20
# A camera that sends images of 1280 x 720 as soon as somebody listens.
SENDER = f"""
import array
import time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node('sender')
publisher = node.create_publisher(Image, 'large_images', qos_profile_sensor_data)
while publisher.get_subscription_count() == 0:
    rclpy.spin_once(node, timeout_sec=0.05)
data = array.array('B', bytes(1280 * 720 * 3))
for number in range({IMAGES}):
    publisher.publish(Image(height=720, width=1280, step=3840, encoding='bgr8', data=data))
    time.sleep(0.05)  # the pace of a camera
rclpy.spin(node)
"""
RECEIVER = f"""
import time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node('receiver')
received = []
node.create_subscription(Image, 'large_images', received.append, qos_profile_sensor_data)
deadline = time.monotonic() + {TIMEOUT}
while time.monotonic() < deadline and not received:
    rclpy.spin_once(node, timeout_sec=0.1)
last = time.monotonic()
while len(received) < {IMAGES} and time.monotonic() < last + 3:
    count = len(received)
    rclpy.spin_once(node, timeout_sec=0.1)
    last = time.monotonic() if len(received) > count else last
print(len(received))
"""


@pytest.mark.skipif(
    'fastrtps' not in rclpy.get_rmw_implementation_identifier(),
    reason='the middleware is not Fast DDS',
)
@pytest.mark.slow
def test_large_images_of_a_process_with_the_profile_reach_one_without(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith('FAST')}
    name = 'FASTRTPS' if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 'FASTDDS'
    sender = subprocess.Popen(
        [sys.executable, '-c', SENDER], env={**plain, f'{name}_DEFAULT_PROFILES_FILE': str(PROFILE)}
    )
    try:
        receiver = subprocess.run(
            [sys.executable, '-c', RECEIVER],
            env=plain,
            capture_output=True,
            text=True,
            timeout=TIMEOUT + 30,
        )
    finally:
        kill_process(sender)
    # With Fast DDS's defaults in both it is one or two; best effort promises none.
    assert int(receiver.stdout) >= IMAGES // 2, receiver.stderr


def test_the_sample_camera_publishes_photos() -> None:
    script = Path(get_package_prefix('instance_seg_ros'), 'lib', 'instance_seg_ros')
    camera = subprocess.Popen(
        [str(script / 'sample_camera'), '--rate', '20', '--ros-args', '-r', '__ns:=/sample']
    )
    received: list[Image] = []
    node = rclpy.create_node('viewer', namespace='sample')
    try:
        node.create_subscription(Image, 'image', received.append, qos_profile_sensor_data)
        deadline = node.get_clock().now().nanoseconds + int(TIMEOUT * 1e9)
        while not received and node.get_clock().now().nanoseconds < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        assert received and received[0].encoding == 'bgr8' and received[0].width > 100
        jpegs: list[CompressedImage] = []
        node.create_subscription(
            CompressedImage, 'image/compressed', jpegs.append, qos_profile_sensor_data
        )
        while not jpegs and node.get_clock().now().nanoseconds < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        assert jpegs and compressed_to_bgr8(jpegs[0]).shape[1] > 100
        camera.send_signal(signal.SIGINT)
        assert camera.wait(TIMEOUT) == 0
    finally:
        node.destroy_node()
        kill_process(camera)


# The displays of RViz, the last one of vision_msgs_rviz_plugins, and what they show.
SHOWN = {
    'rviz_default_plugins/Image': 'sensor_msgs/msg/Image',
    'rviz_default_plugins/PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'vision_msgs_rviz_plugins/Detection3DArray': 'vision_msgs/msg/Detection3DArray',
}


# What rviz_default_plugins 14.3 and vision_msgs_rviz_plugins 4.1 read of a display; by its sources.
OF_ANY_DISPLAY = {'Class', 'Name', 'Enabled', 'Value', 'Topic'}
OF_TOPICS = {
    'Value',
    'Depth',
    'History Policy',
    'Reliability Policy',
    'Durability Policy',
    'Filter size',
}
PROPERTIES = {
    'rviz_default_plugins/Image': {'Normalize Range', 'Min Value', 'Max Value', 'Median window'},
    'rviz_default_plugins/PointCloud2': {
        'Selectable',
        'Style',
        'Size (m)',
        'Size (Pixels)',
        'Alpha',
        'Decay Time',
        'Position Transformer',
        'Color Transformer',
    },
    'vision_msgs_rviz_plugins/Detection3DArray': {
        'Only Edge',
        'Line Width',
        'Alpha',
        'Show Score',
        'ConfigPath',
    },
}


def test_rviz_knows_every_property_of_the_view() -> None:
    view = yaml.safe_load((SHARE / 'config' / 'seg.rviz').read_text())
    for display in view['Visualization Manager']['Displays']:
        assert set(display['Topic']) <= OF_TOPICS
        assert set(display) - OF_ANY_DISPLAY <= PROPERTIES[display['Class']]


def test_rviz_shows_topics_that_the_node_has(start_node) -> None:
    view = yaml.safe_load((SHARE / 'config' / 'seg.rviz').read_text())
    displays = view['Visualization Manager']['Displays']
    camera = Camera('viewed', start_node('viewed'))
    types = dict(camera.node.get_topic_names_and_types())
    for display in displays:
        topic = display['Topic']['Value']
        assert types[f'/viewed{topic}'] == [SHOWN[display['Class']]], topic
        # Whatever the parameter output_reliability is.
        wanted = display['Topic']['Reliability Policy'].upper().replace(' ', '_')
        for offered in (RELIABLE, BEST_EFFORT):
            view_qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[wanted])
            assert qos_check_compatible(offered, view_qos)[0] != QoSCompatibility.ERROR
    camera.close()
