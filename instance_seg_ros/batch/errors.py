# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The errors of this package."""


class BatchError(ValueError):
    """A run cannot be begun or went wrong as a whole; the message says what to do."""


class MissingPackageError(BatchError):
    """A package that every image needs is not installed."""
