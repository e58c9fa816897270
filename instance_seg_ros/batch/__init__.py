# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Many images by several workers: shards of the sorted list of inputs, each written once, whole."""
