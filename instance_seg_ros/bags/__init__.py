# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Bags in, bags with what was found out; without ROS, by the PyPI packages of rosbags.

It is imported only where a bag is read or written: rosbags need not be installed, and whoever
imports it says how to install that.
"""
