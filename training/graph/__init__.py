# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The network: one description, three forms."""

from training.graph.config import NetworkConfig
from training.graph.network import describe
from training.graph.random_model import random_arrays, write_random_model
from training.graph.tensorflow_files import frozen_graph, text_graph, write_model

__all__ = [
    'NetworkConfig',
    'describe',
    'frozen_graph',
    'random_arrays',
    'text_graph',
    'write_model',
    'write_random_model',
]
