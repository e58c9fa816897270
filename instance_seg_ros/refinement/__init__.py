# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What turns the mask head's small probability maps into masks of the image's resolution."""
