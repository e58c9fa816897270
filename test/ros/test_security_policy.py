# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The SROS 2 policy allows what the running node does in the ROS graph, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ros_harness import Camera

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


def names(camera: Camera, query: Callable[[str, str], list]) -> set[str]:
    """Return what the ROS graph knows of the node so far; nothing where it does not know it yet."""
    node = (NODE, f'/{NAMESPACE}')
    if node not in camera.node.get_node_names_and_namespaces():
        return set()  # the query would raise, also where its topics are known already
    return {name for name, _ in query(*node)} - {SINCE_JAZZY}


def test_topics_are_those_of_the_node(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections', 'detections_3d')  # depth is read where places are wanted
    read, written = allowed('topic', 'subscribe'), allowed('topic', 'publish')
    subscribers = camera.node.get_subscriber_names_and_types_by_node
    camera.publish_until(
        camera.image(photo), lambda: names(camera, subscribers) == read, f'reads {read}'
    )
    publishers = camera.node.get_publisher_names_and_types_by_node
    camera.spin_until(lambda: names(camera, publishers) == written, f'writes {written}')


def test_services_are_those_of_the_node(camera: Camera) -> None:
    answered = allowed('service', 'reply') - {SINCE_JAZZY}
    services = camera.node.get_service_names_and_types_by_node
    camera.spin_until(lambda: names(camera, services) == answered, f'answers {answered}')
    assert not names(camera, camera.node.get_client_names_and_types_by_node)
