# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Places in space: masks, depth and the camera's intrinsics to points and boxes in metres."""

from instance_seg_ros.depth.images import DepthError, depth_in_metres
from instance_seg_ros.depth.intrinsics import Intrinsics
from instance_seg_ros.depth.objects import Object3D, locate

__all__ = ['DepthError', 'Intrinsics', 'Object3D', 'depth_in_metres', 'locate']
