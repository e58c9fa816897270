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


def test_topics_are_those_of_the_node(camera: Camera, photo: np.ndarray) -> None:
    camera.subscribe('detections', 'detections_3d')  # depth is read where places are wanted
    node = camera.node
    wanted = allowed('topic', 'subscribe')

    def subscribed() -> set[str]:
        found = node.get_subscriber_names_and_types_by_node(NODE, f'/{NAMESPACE}')
        return {name for name, _ in found}

    camera.publish_until(camera.image(photo), lambda: subscribed() == wanted, f'{wanted}')
    published = node.get_publisher_names_and_types_by_node(NODE, f'/{NAMESPACE}')
    assert {name for name, _ in published} == allowed('topic', 'publish')


def test_services_are_those_of_the_node(camera: Camera) -> None:
    found = camera.node.get_service_names_and_types_by_node(NODE, f'/{NAMESPACE}')
    assert {name for name, _ in found} | {SINCE_JAZZY} == allowed('service', 'reply')
    assert not camera.node.get_client_names_and_types_by_node(NODE, f'/{NAMESPACE}')
