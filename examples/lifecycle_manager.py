# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Takes a node that was started with autostart:=false through its life, as a manager does."""

import sys
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

STEPS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
}


class Manager(Node):
    """Calls the services that every lifecycle node has."""

    def call(self, service: Any, name: str, request: Any) -> Any:
        client = self.create_client(service, f'instance_seg/{name}')
        if not client.wait_for_service(timeout_sec=60):
            sys.exit(f'{client.srv_name}: no such service. Does the node run?')
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future)
        return future.result()

    def take(self, step: str) -> None:
        request = ChangeState.Request(transition=Transition(id=STEPS[step]))
        if not self.call(ChangeState, 'change_state', request).success:
            sys.exit(f'{step} failed; the log of the node says why')
        state = self.call(GetState, 'get_state', GetState.Request()).current_state.label
        print(f'{step}: now {state}')


if __name__ == '__main__':
    rclpy.init()
    manager = Manager('manager')
    for step in remove_ros_args(sys.argv)[1:] or STEPS:
        manager.take(step)
    rclpy.shutdown()
