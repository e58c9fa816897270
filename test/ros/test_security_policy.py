# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The SROS 2 policy allows what the running node does in the ROS graph, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ros_harness import TIMEOUT, Camera

POLICY = Path(__file__).parents[2] / 'config' / 'sros2_policy.xml'
NODE, NAMESPACE = 'instance_seg', 'policy'
SINCE_JAZZY = f'/{NAMESPACE}/{NODE}/get_type_description'


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    return connect_shared(
        NAMESPACE, depth_topic='depth', camera_info_topic='depth_info', refiner='none'
    )


def allowed(kind: str, right: str) -> set[str]:
    """Return the full names that the policy allows."""
    (profile,) = ElementTree.parse(POLICY).iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', NODE)
    names = [entry.text for block in profile.findall(f'{kind}s[@{right}]') for entry in block]
    own = f'/{NAMESPACE}/{NODE}'
    return {name.replace('~', own) if name[0] in '~/' else f'/{NAMESPACE}/{name}' for name in names}


def wait_for_names(query: Callable[[str, str], list], camera: Camera, wanted: set[str]) -> None:
    """Wait until the node has exactly these names: the ROS graph learns of them one by one."""
    node = (NODE, f'/{NAMESPACE}')

    def found() -> set[str]:
        return {name for name, _ in query(*node)} - {SINCE_JAZZY}

    # The graph may know what a node offers before it knows the node, and queries fail then.
    camera.spin_until(lambda: node in camera.node.get_node_names_and_namespaces(), 'its name')
    camera.wait_for(lambda: found() == wanted - {SINCE_JAZZY}, TIMEOUT)
    assert found() == wanted - {SINCE_JAZZY}


def test_topics_are_those_of_the_node(camera: Camera, photo: np.ndarray) -> None:
    node = camera.node
    camera.subscribe('detections', 'detections_3d')  # depth is read where places are wanted
    camera.publish(camera.image(photo))
    wait_for_names(
        node.get_subscriber_names_and_types_by_node, camera, allowed('topic', 'subscribe')
    )
    wait_for_names(node.get_publisher_names_and_types_by_node, camera, allowed('topic', 'publish'))


def test_services_are_those_of_the_node(camera: Camera) -> None:
    node = camera.node
    wait_for_names(node.get_service_names_and_types_by_node, camera, allowed('service', 'reply'))
    wait_for_names(node.get_client_names_and_types_by_node, camera, set())
