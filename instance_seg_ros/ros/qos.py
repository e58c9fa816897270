# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Quality of service: the profiles, and why no image arrives."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
# Whoever subscribes late still gets the last message.
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
MOST_SUGGESTIONS = 5


def profile(reliability: str, depth: int) -> QoSProfile:
    """Return a profile that keeps the last messages, volatile.

    The defaults of the parameters give those that REP 2003 asks for. Input: best effort, which a
    camera of either reliability matches; an image that is missed is not sent again, and only the
    newest one is of use. Outputs: reliable, which a subscriber of either reliability matches.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy[reliability.upper()],
    )


def overridden(node: Node, topic: str, endpoint: str) -> QoSOverridingOptions:
    """Return the options that let the user's `qos_overrides.<topic>...` change a profile.

    Only of those that are given: rclpy would declare all, with the values of the profile. At the
    next configure these would go before a profile that the node's own parameters have changed.

    Args:
        node: whose topic it is.
        topic: as it is given to rclpy.
        endpoint: 'publisher' or 'subscription'.
    """
    prefix = f'qos_overrides.{node.resolve_topic_name(topic)}.{endpoint}'
    return QoSOverridingOptions(
        [kind for kind in OVERRIDABLE if _is_given(node, f'{prefix}.{kind.name.lower()}')]
    )


def _is_given(node: Node, name: str) -> bool:
    if node.has_parameter(name):
        return True  # rclpy declared it when the topic was made before
    node.declare_parameter(name, descriptor=ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter(name).value is not None
    node.undeclare_parameter(name)
    return given


@dataclass(frozen=True)
class Silence:
    """Why a subscription gets nothing.

    Attributes:
        text: one line, with what to do.
        can_match: False where no publisher can match the subscription as it is.
    """

    text: str
    can_match: bool


def explain_silence(node: Node, topic: str, type_name: str, qos: QoSProfile) -> Silence:
    """Look at who publishes a topic.

    Args:
        node: that subscribes.
        topic: the full name.
        type_name: of the subscription, such as 'sensor_msgs/msg/Image'.
        qos: of the subscription.

    Returns:
        What is wrong, as far as can be seen from here. Publishers are named with their QoS.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return Silence(f'nobody publishes {topic}{_suggestion(node, topic, type_name)}', False)
    problems = [_problem(publisher, type_name, qos) for publisher in publishers]
    if all(problems):
        return Silence('; '.join(problems), False)
    return Silence(
        f'{_list(_describe(publisher) for publisher in publishers)} matches but sends nothing that '
        'arrives. Fast DDS loses large images with its defaults: set FASTDDS_DEFAULT_PROFILES_FILE '
        "for the camera's process, as docs/ros-interface.md says",
        True,
    )


def _problem(publisher: Any, type_name: str, qos: QoSProfile) -> str:
    """Return why the publisher cannot match; empty if it can."""
    if publisher.topic_type != type_name:
        hint = ''
        if publisher.topic_type in IMAGE_TYPES:
            transport = 'raw' if publisher.topic_type == IMAGE_TYPES[0] else 'compressed'
            hint = f'. Set image_transport: {transport} and name the topic without /compressed'
        return (
            f'{_describe(publisher)} publishes {publisher.topic_type}, expected {type_name}{hint}'
        )
    compatibility, reason = qos_check_compatible(publisher.qos_profile, qos)
    if compatibility != QoSCompatibility.ERROR:
        return ''
    return (
        f'{_describe(publisher)} cannot match this subscription '
        f'({_policies(qos)}): {reason.strip().rstrip(";")}. Set input_reliability, or '
        'qos_overrides of this topic, to what the publisher offers'
    )


def _describe(publisher: Any) -> str:
    namespace = publisher.node_namespace.rstrip('/')
    return f'{namespace}/{publisher.node_name} ({_policies(publisher.qos_profile)})'


def _policies(qos: QoSProfile) -> str:
    return f'{qos.reliability.name.lower()}, {qos.durability.name.lower()}'


def _suggestion(node: Node, topic: str, type_name: str) -> str:
    own = f'{node.get_fully_qualified_name()}/'
    topics = dict(node.get_topic_names_and_types())
    if type_name == IMAGE_TYPES[0] and IMAGE_TYPES[1] in topics.get(f'{topic}/compressed', []):
        return f', but {topic}/compressed is there. Set image_transport: compressed'
    # Our own subscription makes the topic known, and our own images are no input.
    images = [
        name
        for name, types in topics.items()
        if type_name in types
        and name != topic
        and not name.startswith(own)
        and node.count_publishers(name) > 0
    ]
    if not images:
        return f', and there is no other topic of type {type_name}. Is the camera running?'
    closest = difflib.get_close_matches(topic, images, MOST_SUGGESTIONS, cutoff=0.0)
    return f'. Topics of type {type_name} are: {_list(closest)}'


def _list(texts: Iterable[str]) -> str:
    return ', '.join(texts)
