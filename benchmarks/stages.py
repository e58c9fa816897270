# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Where the time of a frame goes, from the image message to the results as bytes.

The network runs on a photo, with random weights of the published size. What random weights detect
are specks, so masks, drawing and messages are timed with as many ellipses of the size of people.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from library import FullSizeModel, Run, photo
from numpy.typing import NDArray
from people import pasted, people
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from timing import Spread, measure

from instance_seg_ros import draw_instances
from instance_seg_ros.ros.image_codec import to_bgr8, to_message
from instance_seg_ros.ros.messages import to_detections, to_instance_masks, to_label_image

# In the net from the image to the proposals.
_BACKBONE = 'FirstStageFeatureExtractor'


def measure_stages(width: int, height: int, count: int, repeats: int) -> dict[str, Any]:
    """Return milliseconds by stage: ``network`` from cv2.dnn's own clock, ``around`` from ours."""
    image = photo(width, height)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(FullSizeModel(Path(folder)).segmenter(refiner='none'), image, count)
        found = len(run())
        layers = _layers(run, repeats)
    network: dict[str, float] = defaultdict(float)
    by_name: dict[str, float] = defaultdict(float)
    for (stage, name), milliseconds in layers.items():
        network[_named(stage, name)] += milliseconds
        by_name[name] += milliseconds
    slowest = sorted(by_name.items(), key=lambda item: -item[1])[:5]
    around = measure(_around(image, count), 4 * repeats)
    return {
        'width': width,
        'height': height,
        'instances': found,
        'network': dict(network),
        'slowest_layers': dict(slowest),
        'around': {name: Spread.of(times).median for name, times in around.items()},
    }


def _layers(run: Run, repeats: int) -> dict[tuple[str, str], float]:
    """Return the median milliseconds of every layer, by stage and name."""
    frames = [run.segmenter.layer_times(run.image) for _ in range(repeats)]
    return {
        (stage, name): float(np.median([frame[stage][name] for frame in frames]))
        for stage, layers in frames[0].items()
        for name in layers
    }


def _named(stage: str, layer: str) -> str:
    if stage == 'proposals':
        return 'backbone' if layer.startswith(_BACKBONE) else 'region proposals'
    return {'boxes': 'box stage', 'masks': 'mask stage'}[stage]


def _around(image: NDArray[np.uint8], count: int) -> dict[str, Callable[[], object]]:
    """Return all that is not the network, as the node does it."""
    header = Header(frame_id='camera')
    message = to_message(image, 'bgr8', header)
    received = serialize_message(message)
    instances = people(image.shape[0], image.shape[1], count)
    drawn = draw_instances(image, instances)
    return {
        'read the image message': lambda: deserialize_message(received, Image),
        'convert it to BGR': lambda: to_bgr8(message),
        'paste and threshold masks': lambda: pasted(instances),
        'detections message': lambda: serialize_message(to_detections(instances, header)),
        'masks message, rle': lambda: serialize_message(
            to_instance_masks(instances, header, 'rle')
        ),
        'draw the debug image': lambda: draw_instances(image, instances),
        'debug image message': lambda: serialize_message(to_message(drawn, 'bgr8', header)),
        'label image message': lambda: serialize_message(to_label_image(instances, header)),
    }
