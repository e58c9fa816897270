# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The ROS 2 node and its parts; nothing outside this folder imports ROS."""
