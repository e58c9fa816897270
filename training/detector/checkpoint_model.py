# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The model of a run's checkpoint, its scores adjusted on photos."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from instance_seg_ros import Segmenter
from training.detector.calibrate import background_offset, with_offset
from training.detector.dataset import Photo
from training.detector.export import export_model
from training.graph.config import NetworkConfig
from training.graph.random_model import random_arrays
from training.graph.torch_module import MaskRcnnModule
from training.run.checkpoint import read_checkpoint

LOG = logging.getLogger(__name__)


def calibration_photos(photos: Sequence[Photo], most: int = 400) -> list[Photo]:
    """Draw the photos that scores are adjusted on; the same ones each time."""
    order = np.random.default_rng(0).permutation(len(photos))[:most]
    return [photos[i] for i in order]


def check_classes(folder: Path, classes: Sequence[str]) -> None:
    """Check that classes of photos are those of a run: numbers of others would be confused.

    Raises:
        ValueError: they are other classes, or in another order.
    """
    state = read_checkpoint(folder, 'module', 'a detector')
    trained = json.loads(state['settings'])['classes']
    if list(classes) != trained:
        raise ValueError(
            f'--classes {" ".join(classes)}: {folder} was trained on {" ".join(trained)}. '
            'Expected the same, in the same order'
        )


def export_checkpoint(
    folder: Path,
    stem: Path,
    input_max_side: int = 0,
    proposals: int = 0,
    photos: Sequence[Photo] = (),
    most_false: float = 0.0,
    max_upscale: float = 1.0,
) -> Path:
    """Write the model of a run's checkpoint and return its manifest.

    Args:
        folder: of the run.
        stem: path without ending, as for :func:`training.detector.export.export_model`.
        input_max_side: pixels; 0 is that of the last phase of the training.
        proposals: regions that the first stage hands on; 0 is as trained.
        photos: those that its scores are adjusted on; none leaves them as they are.
        most_false: see :func:`training.detector.calibrate.background_offset`.
        max_upscale: see :func:`training.detector.export.export_model`.

    """
    state = read_checkpoint(folder, 'module', 'a detector')
    settings = json.loads(state['settings'])
    network = NetworkConfig.from_dict(settings['network'])
    network = replace(network, proposals=proposals or network.proposals)
    module = MaskRcnnModule(network, random_arrays(network, 0))
    module.load_state_dict(state['average'])
    arrays, classes = module.arrays(), tuple(settings['classes'])
    side = input_max_side or settings['sizes'][-1][1]
    manifest = export_model(network, arrays, classes, stem, side, max_upscale)
    if photos:
        segmenter = Segmenter(model=str(manifest), refiner='none', confidence_threshold=0.05)
        try:
            offset = background_offset(segmenter, photos, most_false)
        except ValueError as error:
            LOG.warning('the scores were not adjusted: %s', error)
        else:
            LOG.info('added %.2f to the logit of "background"', offset)
            adjusted = with_offset(arrays, offset)
            manifest = export_model(network, adjusted, classes, stem, side, max_upscale)
    return manifest
