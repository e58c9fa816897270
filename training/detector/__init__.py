# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Trains a small Mask R-CNN on your own objects; see docs/train-your-own.md."""
