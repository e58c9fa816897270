# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instance segmentation for robots: Mask R-CNN as a library and a ROS 2 node.

- ``Segmenter``: loads a model once, then turns images into ``Instances``.
- ``load_model``, ``run_instance_segmentation``, ``draw_instances``: three functions for a script.
- ``find_model``: the files of a model.
- ``ImageError``, ``ModelError``: what is raised where an image or a model cannot be used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
__all__ = [
    'ImageError',
    'Instances',
    'ModelError',
    'Segmenter',
    'draw_instances',
    'find_model',
    'load_model',
    'run_instance_segmentation',
]

if TYPE_CHECKING:
    from instance_seg_ros.drawing import draw_instances
    from instance_seg_ros.errors import ImageError, ModelError
    from instance_seg_ros.functions import load_model, run_instance_segmentation
    from instance_seg_ros.instances import Instances
    from instance_seg_ros.models import find_model
    from instance_seg_ros.segmenter import Segmenter

    __version__: str
else:  # a type checker would take every name for Any

    def __getattr__(name: str) -> Any:
        """Import a public name from its module."""
        if name == '__version__':
            return importlib.import_module(f'{__name__}.installed').version()
        if name not in _EXPORTS:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        return getattr(importlib.import_module(f'{__name__}.{_EXPORTS[name]}'), name)


def __dir__() -> list[str]:
    """Return the public names, also those that were not used yet: for the tab key."""
    return sorted({*globals(), *__all__, '__version__'})
