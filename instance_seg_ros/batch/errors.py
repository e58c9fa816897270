# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The error that all of this package raises."""


class BatchError(ValueError):
    """A run cannot be begun or went wrong as a whole; the message says what to do."""
