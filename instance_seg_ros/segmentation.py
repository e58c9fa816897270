# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The names of ``functions``, from where scripts import them."""

from instance_seg_ros.functions import (
    Instance,
    draw_instances,
    load_model,
    run_instance_segmentation,
)

__all__ = ['Instance', 'draw_instances', 'load_model', 'run_instance_segmentation']
