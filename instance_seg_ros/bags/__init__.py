# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Bags in, bags with what was found out; without ROS, by the PyPI packages of rosbags.

Nothing else of this package imports this room but the command ``instance-seg bag``, which says
what to install where rosbags is missing.
"""
