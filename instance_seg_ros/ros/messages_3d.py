# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Objects in space to messages: pure functions."""

import array
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray

from instance_seg_ros.depth import Object3D
from instance_seg_ros.instances import Instances
from instance_seg_ros.ros.messages import hypothesis_of, id_text

# Four bytes each.
_FIELDS = [
    ('x', '<f4'),
    ('y', '<f4'),
    ('z', '<f4'),
    ('rgb', '<u4'),
    ('instance_id', '<u4'),
    ('class_id', '<u4'),
]
_POINT = np.dtype(_FIELDS)
_FIELD_TYPES = {'<f4': PointField.FLOAT32, '<u4': PointField.UINT32}


def to_detections_3d(
    instances: Instances, objects: Sequence[Object3D], header: Header
) -> Detection3DArray:
    """Convert objects in space.

    Args:
        instances: that the objects belong to.
        objects: of depth.locate.
        header: of the depth image.

    Returns:
        A detection for each object: centre and size of its visible surface in metres, along the
        axes of the optical frame; id and hypothesis as in the Detection2DArray.
    """
    return Detection3DArray(
        header=header, detections=[_detection(instances, each, header) for each in objects]
    )


def to_point_cloud(
    instances: Instances, objects: Sequence[Object3D], image_bgr: np.ndarray, header: Header
) -> PointCloud2:
    """Convert the surfaces of objects to one cloud.

    Args:
        instances: that the objects belong to.
        objects: of depth.locate.
        image_bgr: uint8 (H, W, 3), the image that the colours are taken from.
        header: of the depth image.

    Returns:
        An unordered cloud with the fields x, y, z (metres), rgb (as RViz reads it), instance_id
        (the track id, or the position + 1 where nothing is tracked) and class_id.
    """
    cloud = np.zeros(sum(len(each.points) for each in objects), _POINT)
    start = 0
    for each in objects:
        part = cloud[start : start + len(each.points)]
        start += len(each.points)
        part['x'], part['y'], part['z'] = each.points.T
        part['rgb'] = _colours(image_bgr, each)
        ids = instances.track_ids
        part['instance_id'] = each.index + 1 if ids is None else ids[each.index]
        part['class_id'] = instances.class_ids[each.index]
    return PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=[
            PointField(name=name, offset=4 * index, datatype=_FIELD_TYPES[kind], count=1)
            for index, (name, kind) in enumerate(_FIELDS)
        ],
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(cloud),
        data=array.array('B', cloud.tobytes()),
        is_dense=True,
    )


def _detection(instances: Instances, found: Object3D, header: Header) -> Detection3D:
    x, y, z = found.center.tolist()
    width, height, depth = found.size.tolist()
    center = Pose(position=Point(x=x, y=y, z=z))
    hypothesis = hypothesis_of(instances, found.index)
    hypothesis.pose.pose = center
    return Detection3D(
        header=header,
        results=[hypothesis],
        bbox=BoundingBox3D(center=center, size=Vector3(x=width, y=height, z=depth)),
        id=id_text(instances, found.index),
    )


def _colours(image_bgr: np.ndarray, found: Object3D) -> np.ndarray:
    """Return 0xRRGGBB of each point; the image may be of another size than the depth image."""
    scale = np.array(found.depth_size[::-1]) / (image_bgr.shape[1], image_bgr.shape[0])
    columns, rows = ((found.pixels + 0.5) / scale).astype(int).T
    b, g, r = image_bgr[rows, columns].astype(np.uint32).T
    return (r << 16) | (g << 8) | b
