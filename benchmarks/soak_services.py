# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Calls the services of a node in turn, for soak.py, and prints the milliseconds of each answer.

A process of its own: the answers do not wait here until images have been received.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from itertools import cycle
from typing import Any

import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool, Trigger

PERIOD = 0.25  # seconds
LOST_AFTER = 5.0  # seconds


def main(name: str) -> None:
    """Call until a signal."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('soak_services')
    threshold = Parameter('nms_threshold', value=0.5).to_parameter_msg()
    requests: dict[str, tuple[Any, Any]] = {
        'get_parameters': (GetParameters, GetParameters.Request(names=['confidence_threshold'])),
        'set_parameters': (SetParameters, SetParameters.Request(parameters=[threshold])),
        'set_enabled': (SetBool, SetBool.Request(data=True)),
        'reset_tracking': (Trigger, Trigger.Request()),
        'get_state': (GetState, GetState.Request()),
    }
    clients = {
        service: node.create_client(kind, f'{name}/{service}')
        for service, (kind, _) in requests.items()
    }
    for client in clients.values():
        client.wait_for_service()
    for service, (_, request) in cycle(requests.items()):
        started = time.perf_counter()
        future = clients[service].call_async(request)
        rclpy.spin_until_future_complete(node, future, timeout_sec=LOST_AFTER)
        taken = 1e3 * (time.perf_counter() - started)
        answered = future.done()
        print(json.dumps({'service': service, 'ms': taken, 'answered': answered}), flush=True)
        time.sleep(PERIOD)


if __name__ == '__main__':
    main(sys.argv[1])
