# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Bags in, bags with what was found out; without ROS, by the PyPI packages of rosbags.

Its modules are imported only where a bag is read or written: rosbags need not be installed, and
whoever imports them says how to install it.
"""

BAG_SUFFIXES = ('.bag', '.mcap', '.db3')
HOW_TO_INSTALL = (
    'pip install "rosbags<0.12" rosbags-image, which the extra instance_seg_ros[bags] has'
)
