# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The model of a run's checkpoint, its scores adjusted on photos."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros import Segmenter
from training.detector.calibrate import background_offset, with_offset
from training.detector.dataset import Photo
from training.detector.export import check_settings, export_model
from training.graph.config import NetworkConfig
from training.graph.random_model import random_arrays
from training.graph.tensorflow_files import write_atomically
from training.graph.torch_module import MaskRcnnModule
from training.run.checkpoint import read_checkpoint

LOG = logging.getLogger(__name__)

_OFFSET = 'background_offset.json'


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


@dataclass(frozen=True)
class _Checkpoint:
    """The network of a run's checkpoint, and how it is to be exported."""

    folder: Path
    step: int
    network: NetworkConfig
    arrays: Mapping[str, NDArray[np.float32]]
    classes: tuple[str, ...]
    input_max_side: int
    max_upscale: float = 1.0

    def write(self, stem: Path, offset: float | None) -> Path:
        """Write the model; an offset is added to the logit of "background"."""
        if offset is not None:
            LOG.info('added %.2f to the logit of "background"', offset)
        return export_model(
            self.network, with_offset(self.arrays, offset or 0.0), self.classes, stem, **self.sizes
        )

    @property
    def sizes(self) -> dict[str, Any]:
        """What the manifest says of the sizes of images."""
        return {'input_max_side': self.input_max_side, 'max_upscale': self.max_upscale}

    def measured_offset(self, photos: Sequence[Photo], most_false: float) -> float | None:
        """Return the offset that photos ask for; None, with a warning, where they do not tell."""
        with tempfile.TemporaryDirectory() as folder:
            model = self.write(Path(folder, 'model'), None)
            segmenter = Segmenter(model=str(model), refiner='none', confidence_threshold=0.05)
            try:
                return background_offset(segmenter, photos, most_false)
            except ValueError as error:
                LOG.warning('the scores were not adjusted: %s', error)
                return None

    def kept_offset(self) -> float | None:
        """Return the offset of the end of the training; None, with a warning, without one."""
        try:
            kept = json.loads((self.folder / _OFFSET).read_text())
            if kept['step'] == self.step:
                return float(kept['background'])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        LOG.warning('the scores are as trained: give --data and --classes to adjust them')
        return None

    def keep_offset(self, offset: float) -> None:
        """Keep the offset for later exports of this checkpoint."""
        kept = {'step': self.step, 'background': offset}
        write_atomically(self.folder / _OFFSET, json.dumps(kept).encode())


def _read(
    folder: Path, input_max_side: int = 0, proposals: int = 0, max_upscale: float = 1.0
) -> _Checkpoint:
    state = read_checkpoint(folder, 'module', 'a detector')
    settings = json.loads(state['settings'])
    network = NetworkConfig.from_dict(settings['network'])
    network = replace(network, proposals=proposals or network.proposals)
    module = MaskRcnnModule(network, random_arrays(network, 0))
    module.load_state_dict(state['average'])
    return _Checkpoint(
        folder,
        state['step'],
        network,
        module.arrays(),
        tuple(settings['classes']),
        input_max_side or settings['sizes'][-1][1],
        max_upscale,
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
        photos: those that its scores are adjusted on; without any, they are adjusted as at the end
            of the training.
        most_false: see :func:`training.detector.calibrate.background_offset`.
        max_upscale: see :func:`training.detector.export.export_model`.

    Raises:
        ValueError: a size with which the model would not load; nothing is written.

    """
    checkpoint = _read(folder, input_max_side, proposals, max_upscale)
    check_settings(checkpoint.sizes)  # before the photos are measured
    measured = checkpoint.measured_offset(photos, most_false) if photos else None
    return checkpoint.write(stem, measured if photos else checkpoint.kept_offset())


def finish_run(folder: Path, photos: Sequence[Photo]) -> None:
    """Write the model of a run into its folder, its scores adjusted on photos, also for exports."""
    checkpoint = _read(folder)
    offset = checkpoint.measured_offset(photos, 0.0)
    if offset is not None:
        checkpoint.keep_offset(offset)
    checkpoint.write(folder / 'model', offset)
