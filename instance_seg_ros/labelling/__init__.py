# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What was found, as labels that a person corrects in an annotation tool."""
