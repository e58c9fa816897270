# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instance segmentation for robots: Mask R-CNN as a library and a ROS 2 node."""

from __future__ import annotations

import importlib
from typing import Any

# Imported when first used: neither ROS's message code nor --help needs OpenCV.
_EXPORTS = {
    'ImageError': 'errors',
    'Instances': 'instances',
    'ModelError': 'errors',
    'Segmenter': 'segmenter',
    'draw_instances': 'drawing',
    'find_model': 'models',
    'load_model': 'functions',
    'run_instance_segmentation': 'functions',
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name == '__version__':
        return importlib.import_module(f'{__name__}.installed').version()
    if name not in _EXPORTS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_EXPORTS[name]}'), name)
