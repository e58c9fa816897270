# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Names of the outputs: of the node's topics below its name, and of those that bags get."""

NODE_NAME = 'instance_seg'
DETECTIONS = 'detections'
MASKS = 'instance_masks'
DETECTIONS_3D = 'detections_3d'
OBJECTS = 'objects'
LABEL_IMAGE = 'label_image'
CLASS_IMAGE = 'class_image'
CONFIDENCE_IMAGE = 'confidence_image'
DEBUG_IMAGE = 'debug_image'
DEBUG_JPEG = 'debug_image/compressed'
