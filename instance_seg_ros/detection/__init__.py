# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNN in two engines: cv2.dnn and onnxruntime."""

from instance_seg_ros.detection.detections import Detections, Detector
from instance_seg_ros.detection.mask_rcnn import MaskRcnn
from instance_seg_ros.detection.onnx_mask_rcnn import OnnxMaskRcnn

__all__ = ['Detections', 'Detector', 'MaskRcnn', 'OnnxMaskRcnn']
