# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Identities: which instance of this frame is which of the frames before."""

from instance_seg_ros.tracking.tracker import InstanceTracker

__all__ = ['InstanceTracker']
