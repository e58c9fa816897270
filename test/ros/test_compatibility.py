# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the node does otherwise than rclpy, seen on rclpy itself."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.executors import TimeoutException

from instance_seg_ros.ros.compatibility import Executor


def test_a_callback_is_handed_out_once() -> None:
    """With rclpy's own executor the second call returns the same callback at once, and on."""
    node, executor = rclpy.create_node('handed_out'), Executor(2)
    calls: list[None] = []
    timer = node.create_timer(0.01, lambda: calls.append(None))
    executor.add_node(node)
    try:
        task, entity, _ = executor.wait_for_ready_callbacks(timeout_sec=5.0)
        assert entity is timer
        with pytest.raises(TimeoutException):
            executor.wait_for_ready_callbacks(timeout_sec=0.3)
        task()
        assert len(calls) == 1
        again, entity, _ = executor.wait_for_ready_callbacks(timeout_sec=5.0)
        assert entity is timer
        again()
        assert len(calls) == 2
    finally:
        executor.remove_node(node)
        executor.shutdown()
        node.destroy_node()
