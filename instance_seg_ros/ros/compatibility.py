# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What differs between the distributions, from Humble to Lyrical: one entry each.

An entry says which distribution needs it, and goes when that distribution does. One is
elsewhere: image_codec does without a cv_bridge that was built for another numpy.
"""

import os
from collections.abc import Callable
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def add_parameter_callbacks(
    node: Node,
    check: Callable[[list[Parameter]], SetParametersResult],
    apply: Callable[[list[Parameter]], None],
) -> None:
    """Register what checks a set of parameters, and what applies a set that all have accepted.

    Humble lacks the second callback, which came with Iron. There a set is applied when it is
    checked: rclpy's own callback, which comes later, refuses nothing but a use_sim_time that is not
    a bool.
    """
    add_post_callback = getattr(node, 'add_post_set_parameters_callback', None)
    if add_post_callback is not None:
        node.add_on_set_parameters_callback(check)
        add_post_callback(apply)
        return

    def check_and_apply(changes: list[Parameter]) -> SetParametersResult:
        result = check(changes)
        if result.successful:
            apply(changes)
        return result

    node.add_on_set_parameters_callback(check_and_apply)


def convert_parameters(node: Node, convert: Callable[[Parameter], Parameter]) -> None:
    """Register what converts the value of each parameter before its type is checked.

    Humble cannot: there a whole number is refused for a double, by rclpy's own message.
    """
    add_pre_callback = getattr(node, 'add_pre_set_parameters_callback', None)
    if add_pre_callback is not None:
        add_pre_callback(lambda changes: [convert(change) for change in changes])


def large_images_environment() -> dict[str, str]:
    """Return the environment variable that lets Fast DDS deliver large images.

    It names config/fastdds.xml, and is read when rclpy is initialised. Fast DDS 3, from Kilted on,
    has renamed it and warns of the old name. seg.launch.py does the same, but cannot import this.
    """
    old = os.environ.get('ROS_DISTRO') in ('humble', 'jazzy')
    name = 'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE'
    share = get_package_share_directory('instance_seg_ros')
    return {name: os.path.join(share, 'config', 'fastdds.xml')}


def without_events(endpoint: str) -> dict[str, Any]:
    """Return the argument that makes a publisher or subscription without rclpy's QoS events.

    With those of both kinds the executor finds something to do, and then nothing, all the time
    that images arrive: with Fast DDS 3.2 it took half of the processor and doubled the latency.
    They only log that somebody's QoS does not fit. The node tells that of cameras itself, see
    silence.py, and subscribers to its topics log it too.

    Args:
        endpoint: 'publisher' or 'subscription'.
    """
    callbacks = {'publisher': PublisherEventCallbacks, 'subscription': SubscriptionEventCallbacks}
    return {'event_callbacks': callbacks[endpoint](use_default_callbacks=False)}
