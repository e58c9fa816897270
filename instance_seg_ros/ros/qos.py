# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Quality of service: the profiles, and what the user's parameters change of them."""

from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

# Late subscribers still get the last message.
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


class OverrideError(ValueError):
    """A QoS override has an invalid value; only another start of the node can correct it."""


_POLICIES: dict[QoSPolicyKind, Any] = {
    QoSPolicyKind.HISTORY: HistoryPolicy,
    QoSPolicyKind.RELIABILITY: ReliabilityPolicy,
    QoSPolicyKind.DURABILITY: DurabilityPolicy,
}
_DEEPEST = 2**31 - 1  # of DDS


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

    Raises:
        OverrideError: a value that the policy does not have.
    """
    prefix = f'qos_overrides.{node.resolve_topic_name(topic)}.{endpoint}'
    return QoSOverridingOptions(
        [kind for kind in OVERRIDABLE if _is_given(node, f'{prefix}.{kind.name.lower()}', kind)]
    )


def _is_given(node: Node, name: str, kind: QoSPolicyKind) -> bool:
    if node.has_parameter(name):
        return True  # rclpy declared it when the topic was made before
    node.declare_parameter(name, descriptor=ParameterDescriptor(dynamic_typing=True))
    value = node.get_parameter(name).value
    node.undeclare_parameter(name)
    if value is not None:
        _check_policy(name, kind, value)
    return value is not None


def _check_policy(name: str, kind: QoSPolicyKind, value: Any) -> None:
    """Check a policy as rclpy will read it, which would not say whose it is."""
    if kind is QoSPolicyKind.DEPTH:
        right = type(value) is int and 0 < value <= _DEEPEST
        expected = f'a whole number from 1 to {_DEEPEST}'
    else:
        names = [key for key in _POLICIES[kind].short_keys() if key != 'unknown']
        right, expected = str(value).lower() in names, f'one of {", ".join(names)}'
    if not right:
        raise OverrideError(
            f'{name} is {value!r}: expected {expected}. It is read at start only: start the node '
            'again with the right value'
        )
