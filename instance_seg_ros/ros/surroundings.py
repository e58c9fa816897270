# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The processes around the node, as far as it can see them: whose publisher is where."""

import os
import time
from typing import Any

from rclpy import get_rmw_implementation_identifier
from rclpy.node import Node

from instance_seg_ros.ros import dds_processes
from instance_seg_ros.ros.dds_processes import Participant

LOOK_PERIOD = 10.0  # seconds between two looks at the processes, which take tens of milliseconds


class Machine:
    """The DDS participants of this machine, looked at now and then, from any thread."""

    def __init__(self) -> None:
        self._looked_at = -LOOK_PERIOD
        self._participants: list[Participant] = []

    def participants(self) -> list[Participant]:
        """Return them as they were at most LOOK_PERIOD ago."""
        if time.monotonic() - self._looked_at > LOOK_PERIOD:
            self._participants = dds_processes.participants()
            self._looked_at = time.monotonic()
        return self._participants


_MACHINE = Machine()  # one for all cameras


class Surroundings:
    """What a node can see of others.

    Args:
        node: that subscribes.
        topic: full name of what it subscribes to.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self.node, self.topic = node, topic
        self.domain = node.context.get_domain_id()
        self.middleware = get_rmw_implementation_identifier()
        self.fast_dds = 'fastrtps' in self.middleware

    @property
    def own(self) -> Participant | None:
        """This process in its domain; None where it cannot be seen."""
        return next((p for p in self._here(self.domain) if p.pid == os.getpid()), None)

    @property
    def others(self) -> list[Participant]:
        """Those of the same domain, without the command line's."""
        return [p for p in self._here(self.domain) if p.pid != os.getpid() and not p.is_tool]

    @property
    def elsewhere(self) -> list[Participant]:
        """Those of other domains, without the command line's."""
        return [p for p in _MACHINE.participants() if p.domain != self.domain and not p.is_tool]

    def strangers(self) -> list[Participant]:
        """Those of the same domain that other users run."""
        user = dds_processes.user_name(os.getuid())
        return [p for p in self.others if p.user != user]

    def process_of(self, publisher: Any) -> Participant | None:
        """Return the publisher's process; None where it cannot be seen from here."""
        # Fast DDS writes the machine and the process into what names a participant.
        if not self.fast_dds:
            return None
        low = int.from_bytes(bytes(publisher.endpoint_gid[4:6]), 'little')
        found = (p for p in self.others if p.pid is not None and p.pid & 0xFFFF == low)
        return next(found, None)

    def is_like_us(self, publisher: Any) -> bool:
        """Whether the publisher has this node's implementation of DDS."""
        own = self._own_gid()
        return own is not None and publisher.endpoint_gid[:2] == own[:2]

    def is_here(self, publisher: Any) -> bool:
        """Whether a publisher like us is on this machine, in containers with its network too."""
        own = self._own_gid()
        return own is not None and publisher.endpoint_gid[:4] == own[:4]

    def _own_gid(self) -> Any:
        """Return what names our subscription in DDS; its first bytes are maker and machine."""
        return next(
            (
                info.endpoint_gid
                for info in self.node.get_subscriptions_info_by_topic(self.topic)
                if info.node_name == self.node.get_name()
                and info.node_namespace == self.node.get_namespace()
            ),
            None,
        )

    def _here(self, domain: int) -> list[Participant]:
        return [p for p in _MACHINE.participants() if p.domain == domain]
