# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How accurate a model is on annotated photos: COCO files in, average precision and a report out.

The reader needs no more than the library; ``metrics`` and ``report`` need the extra ``evaluate``.
"""
