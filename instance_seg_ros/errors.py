# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The errors that a user can do something about. Their messages are one clear line."""


class ModelError(RuntimeError):
    """A model cannot be used; the message names the file, what was expected and what to do."""


class ImageError(ValueError):
    """An image cannot be segmented; the message says what it is, what is expected, what to do."""
