# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The former name of ``class_names``, for scripts that import from it."""

from instance_seg_ros.class_names import read_class_names as read_labels

__all__ = ['read_labels']
