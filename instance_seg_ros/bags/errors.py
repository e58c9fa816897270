# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The error that all of this package raises."""


class BagError(ValueError):
    """A bag cannot be read or written; the message names it and says what to do."""
