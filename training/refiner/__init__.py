# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training of the mask refiner."""
