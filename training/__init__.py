# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What made the shipped models, and what trains your own. Not installed on robots."""
