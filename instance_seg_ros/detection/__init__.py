# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNN through cv2.dnn."""

from instance_seg_ros.detection.mask_rcnn import Detections, MaskRcnn

__all__ = ['Detections', 'MaskRcnn']
