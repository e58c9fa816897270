# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The line at start that says what runs, for readers of a log and reports of a fault."""

import os

import cv2
from rclpy import get_rmw_implementation_identifier

from instance_seg_ros.segmenter import Segmenter

# What Fast DDS reads, the one that counts first.
TRANSPORT_VARIABLES = (
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)


def what_runs(segmenter: Segmenter) -> str:
    """Describe the model and what it runs on.

    Args:
        segmenter: with a loaded model.

    Returns:
        One line: model, refiner, engine, OpenCV, threads, middleware and its transport.
    """
    return (
        f'model {segmenter.model_name}, refiner {segmenter.refiner}, engine {segmenter.engine}, '
        f'OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads, {middleware()}'
    )


def middleware() -> str:
    """Return the name of the middleware and, of Fast DDS, how it sends."""
    name = str(get_rmw_implementation_identifier())
    if 'fastrtps' not in name:
        return name
    chosen = next((each for each in TRANSPORT_VARIABLES if os.environ.get(each)), None)
    how = "Fast DDS's defaults" if chosen is None else f'{chosen}={os.environ[chosen]}'
    return f'{name}, transport {how}'
