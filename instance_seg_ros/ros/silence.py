# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Why no image arrives: looks at who publishes, then at the processes of this machine.

docs/no-image-arrives.md has a section for each cause. A message names the cause that the evidence
speaks for, the evidence and what to do.
"""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

from instance_seg_ros.installed import DOCS
from instance_seg_ros.ros import dds_processes
from instance_seg_ros.ros.compatibility import large_images_environment
from instance_seg_ros.ros.dds_processes import Participant
from instance_seg_ros.ros.surroundings import Surroundings

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
PAGE = f'{DOCS}/no-image-arrives.md'
# The variable has another name in Humble and Jazzy.
PROFILE = f"{next(iter(large_images_environment()))} to this package's config/fastdds.xml"
MOST_SUGGESTIONS = 5
# With less shared memory, Fast DDS sends an image of 1920 x 1080 in pieces that are lost.
LARGE_IMAGE = 6 << 20
PROFILE_MEMORY = 28 << 20  # what a process takes with config/fastdds.xml
MIB = 1 << 20


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
    """Find out why no message arrives.

    Args:
        node: that subscribes.
        topic: the full name.
        type_name: of the subscription, such as 'sensor_msgs/msg/Image'.
        qos: of the subscription.

    Returns:
        What is wrong, as far as can be seen from here. Publishers are named with their QoS.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    around = Surroundings(node, topic)
    if not publishers:
        return Silence(f'nobody publishes {topic}{_why_unpublished(around, type_name)}', False)
    problems = [_problem(publisher, type_name, qos) for publisher in publishers]
    if all(problems):
        return Silence('; '.join(problems), False)
    matching = [
        publisher for publisher, problem in zip(publishers, problems, strict=True) if not problem
    ]
    may_lose = type_name == IMAGE_TYPES[0] and qos.reliability != ReliabilityPolicy.RELIABLE
    return Silence(_why_undelivered(around, matching, may_lose), True)


# --- somebody publishes, but it does not match


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


# --- somebody publishes and matches, but nothing arrives


def _why_undelivered(around: Surroundings, publishers: list[Any], may_lose: bool) -> str:
    for publisher in publishers:
        reason = _fast_dds_problem(around, publisher) if around.fast_dds else ''
        if reason:
            return f'{_describe(publisher)} matches, but its images do not arrive: {reason}'
    return (
        f'{_list(_describe(publisher) for publisher in publishers)} matches but sends nothing that '
        f'arrives. See whether it sends: ros2 topic hz {around.topic} {_see("it-sends-nothing")}'
        f'{_larger_than_memory(around, publishers) if may_lose else ""}'
    )


def _larger_than_memory(around: Surroundings, publishers: list[Any]) -> str:
    """Return above which size images are lost that are sent as best effort."""
    processes = map(around.process_of, filter(around.is_here, publishers))
    sizes = [process.memory for process in processes if process is not None and process.memory]
    if not sizes:
        return ''
    return (
        f'. If it does, images of more than {min(sizes) / MIB:.0f} MiB are lost here, unless '
        f'input_reliability is reliable {_see("images-larger-than-the-memory")}'
    )


def _fast_dds_problem(around: Surroundings, publisher: Any) -> str:
    if not around.is_like_us(publisher):
        return ''  # another middleware, of which nothing is known
    if not around.is_here(publisher):
        return _other_machine(around, publisher)
    process = around.process_of(publisher)
    # The names of nodes come by shared memory, the publisher itself is announced by UDP.
    nameless = _is_nameless(publisher)
    strangers = around.strangers()
    if (process in strangers) if process is not None else (nameless and strangers):
        owner = (process or strangers[0]).user
        return (
            f"it belongs to user '{owner}' and this node to "
            f"'{dds_processes.user_name(os.getuid())}', and Fast DDS shares no memory between "
            f'users. Run both as the same user {_see("another-user")}'
        )
    known = _removed_memory(around, process) or _no_memory(around, process)
    if nameless and not known:
        return _without_name(process)
    return known or _little_memory(around, process)


def _other_machine(around: Surroundings, publisher: Any) -> str:
    if _is_nameless(publisher):
        return (
            'it is on another machine, or in a container with a network of its own, and does not '
            'hear this one. A firewall may '
            f'block UDP ports {dds_processes.ports(around.domain)} {_see("another-machine")}'
        )
    return (
        f'it is on another machine. Either it sends none (ros2 topic hz {around.topic}, there), or '
        'they are too large for the network: take image_transport: compressed, or '
        f'transports:=large_data on both {_see("another-machine")}'
    )


def _removed_memory(around: Surroundings, process: Participant | None) -> str:
    """Return whose shared memory was removed; empty where nobody's was."""
    removed = [p for p in (process, around.own) if p is not None and p.memory_removed]
    if not removed:
        return ''
    names = _names_with_ours(removed)
    return (
        f'files of shared memory in /dev/shm were removed while {names} used them: by systemd when '
        'a user logs out, or by Fast DDS after a pause of the machine. '
        f'Start {names} again {_see("shared-memory-was-removed")}'
    )


def _without_name(process: Participant | None) -> str:
    if process is not None and process.sees_our_memory:
        return (
            f'what {process.describe()} announced has been lost. Start it again '
            f'{_see("a-lost-announcement")}'
        )
    return (
        'it is on this machine but has a /dev/shm of its own, as a container has. Start the '
        f'container with --ipc=host {_see("a-container")}'
    )


def _no_memory(around: Surroundings, process: Participant | None) -> str:
    """Return why one of the two shares no memory; empty where both do, or do by TCP."""
    without = [p for p in (process, around.own) if p is not None and p.memory == 0]
    space = dds_processes.free_shared_memory()
    if not without or space is None:
        return ''
    names = _names_with_ours(without)
    free, size = (count // MIB for count in space)
    if space[0] < PROFILE_MEMORY:
        return (
            f'{names} got no shared memory: /dev/shm has {size} MiB, {free} MiB of them free, and '
            f'each process needs {PROFILE_MEMORY // MIB} MiB. In Docker take --shm-size=1g or '
            f'--ipc=host {_see("shared-memory-is-too-small")}'
        )
    return (
        f'no memory is shared by {names}, so that images go by UDP, and large ones are lost. Unset '
        f'FASTDDS_BUILTIN_TRANSPORTS there, and set {PROFILE} {_see("large-images-are-lost")}'
    )


def _little_memory(around: Surroundings, process: Participant | None) -> str:
    if process is None or process.memory is None or process.memory >= LARGE_IMAGE:
        return ''
    cause, remedy = 'it has no profile', 'set'
    if process.restricted:
        cause = 'with ROS_AUTOMATIC_DISCOVERY_RANGE it takes no profile'
        remedy = 'unset that, and set'
    return (
        f'either it sends none (ros2 topic hz {around.topic}), or they are lost because '
        f'{process.describe()} shares {process.memory / MIB:.1f} MiB of memory, less than a large '
        f'image: {cause}. For the camera, {remedy} {PROFILE} {_see("large-images-are-lost")}'
    )


# --- nobody publishes, as far as this node knows


def _why_unpublished(around: Surroundings, type_name: str) -> str:
    topics = dict(around.node.get_topic_names_and_types())
    compressed = f'{around.topic}/compressed'
    if type_name == IMAGE_TYPES[0] and IMAGE_TYPES[1] in topics.get(compressed, []):
        return f', but {compressed} is there. Set image_transport: compressed'
    if 'zenoh' in around.middleware:
        unseen = f'. Is the router running: ros2 run rmw_zenoh_cpp rmw_zenohd? {_see("middleware")}'
    else:
        unseen = _certainly_unseen(around)
    images = _other_images(around, topics, type_name)
    if images and not unseen:
        return f'. Topics of type {type_name} are: {_list(images)} {_see("another-name")}'
    return unseen or (f', and there is no other topic of type {type_name}{_perhaps_unseen(around)}')


def _other_images(around: Surroundings, topics: dict[str, Any], type_name: str) -> list[str]:
    """Return the topics of that type, the most similar first."""
    node = around.node
    # Our own subscription makes the topic known, and our own images are no input.
    own = dict(node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace()))
    images = [
        name
        for name, types in topics.items()
        if type_name in types
        and name != around.topic
        and name not in own
        and node.count_publishers(name) > 0
    ]
    return difflib.get_close_matches(around.topic, images, MOST_SUGGESTIONS, cutoff=0.0)


def _certainly_unseen(around: Surroundings) -> str:
    """Return which processes this node cannot find, and why; empty if there are none."""
    own = around.own
    if os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper() == 'OFF':
        return (
            '. ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so this node finds no other process: unset '
            f'it {_see("another-discovery-range")}'
        )
    if own is None or not around.fast_dds:
        return ''
    unlike = [p for p in around.others if p.large_data != own.large_data]
    if not unlike:
        return ''
    these, those = f'{_names(unlike)} does', 'this node does not'
    if own.large_data:
        these, those = 'this node does', f'{_names(unlike)} does not'
    return (
        f' that this node can find: {these} use FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA, {those}, '
        f'and the two never find each other. Set it for all or for none {_see("mixed-transports")}'
    )


def _perhaps_unseen(around: Surroundings) -> str:
    """Return what may hide the camera, with the evidence that there is."""
    restricted = [p for p in around.others if p.restricted]
    if around.strangers():
        users = _list(sorted({p.user for p in around.strangers()}))
        return (
            f'. A process of user {users} is in the same domain: if it is the camera, run both as '
            f'the same user {_see("another-user")}'
        )
    if restricted:
        return (
            f'. {_names(restricted)} listens to no announcements: if it is the camera, unset its '
            f'ROS_AUTOMATIC_DISCOVERY_RANGE {_see("another-discovery-range")}'
        )
    if around.elsewhere:
        domains = _list(f'{p.domain} ({p.describe()})' for p in _first(around.elsewhere))
        return (
            f'. This node is in ROS_DOMAIN_ID {around.domain}; on this machine there are also '
            f'processes in {domains}. Is the camera one of them? {_see("another-domain")}'
        )
    if not around.others:
        return _nobody_here()
    return f'. Is the camera running? {_see("nobody-publishes")}'


def _nobody_here() -> str:
    limited = [
        name
        for name in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY')
        if os.environ.get(name, '').upper() in ('LOCALHOST', '1')
    ]
    if limited:
        return (
            f'. This node sees no other ROS process on this machine, and {limited[0]} hides those '
            f'of others {_see("another-discovery-range")}'
        )
    return (
        '. This node sees no other ROS process on this machine. Is the camera running? If it is on '
        f'another machine or in a container, see whether multicast passes {_see("another-machine")}'
    )


# --- words


def _describe(publisher: Any) -> str:
    policies = _policies(publisher.qos_profile)
    if _is_nameless(publisher):
        return f'a publisher whose name has not arrived ({policies})'
    return f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name} ({policies})'


def _is_nameless(publisher: Any) -> bool:
    return publisher.node_name == '_NODE_NAME_UNKNOWN_'


def _policies(qos: QoSProfile) -> str:
    return f'{qos.reliability.name.lower()}, {qos.durability.name.lower()}'


def _names_with_ours(participants: list[Participant]) -> str:
    return ' and '.join('this node' if p.pid == os.getpid() else p.describe() for p in participants)


def _names(participants: list[Participant]) -> str:
    return _list(p.describe() for p in _first(participants))


def _first(participants: list[Participant]) -> list[Participant]:
    return participants[:MOST_SUGGESTIONS]


def _list(texts: Iterable[str]) -> str:
    return ', '.join(texts)


def _see(section: str) -> str:
    return f'({PAGE}#{section})'
