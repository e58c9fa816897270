# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A trained model as the files that the Segmenter loads: weights, text graph, labels, manifest."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from instance_seg_ros.errors import ModelError
from instance_seg_ros.known_models import sha256_of
from training.graph.config import NetworkConfig
from training.graph.network import FEATURE_STRIDE, describe
from training.graph.nodes import Node
from training.graph.tensorflow_files import write_atomically, write_nodes

# Shares of the input's side and of the proposals; docs/performance.md has what they cost and gain.
_PRESETS = {'balanced': (0.8, 0.7), 'fast': (0.6, 0.5)}
_FILES = {'weights': '.pb', 'text_graph': '.pbtxt', 'labels': '_labels.txt'}
_OWN_KEYS = ('name', *_FILES, 'proposal_part', 'box_part', 'mask_part', 'sha1', 'sha256')


def export_model(
    network: NetworkConfig,
    arrays: Mapping[str, np.ndarray],
    classes: Sequence[str],
    stem: Path,
    input_max_side: int,
    max_upscale: float = 1.0,
) -> Path:
    """Write ``stem``.pb, .pbtxt, _labels.txt and .yaml.

    Args:
        network: the graph.
        arrays: its trained arrays, in TensorFlow's layout.
        classes: names in the order of the class ids.
        stem: path without ending.
        input_max_side: longest side in pixels that images are scaled down to.
        max_upscale: smaller images are scaled up towards it, by this factor at most.

    Returns:
        The path of the manifest, which the Segmenter takes as ``model``.

    Raises:
        OSError: a file cannot be written; the message names it. Each file is written whole or not
            at all, the manifest last.
        ValueError: an array is missing, misshapen or not finite, or the manifest would not load;
            then nothing is written.

    """
    return export_nodes(
        describe(network),
        arrays,
        classes,
        stem,
        {
            'input_max_side': input_max_side,
            'max_upscale': max_upscale,
            # Samples of the training are such: elsewhere TensorFlow's padding shifts the features
            # by up to half a cell against what was learnt.
            'size_multiple': FEATURE_STRIDE,
            'proposals': network.proposals,
            'presets': _presets(input_max_side, network.proposals),
        },
    )


def export_nodes(
    nodes: list[Node],
    arrays: Mapping[str, np.ndarray],
    labels: Sequence[str],
    stem: Path,
    settings: Mapping[str, Any],
    float16: bool = False,
) -> Path:
    """Write the four files of any described network; ``settings`` goes into the manifest.

    Raises:
        OSError, ValueError: as :func:`export_model`, and as ``write_nodes`` with ``float16``.
    """
    try:
        check_settings(settings, stem.name)
    except ValueError as error:
        raise ValueError(f'{_beside(stem, ".yaml")}: {error}. Nothing was written') from None
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = {key: _beside(stem, ending) for key, ending in _FILES.items()}
    write_nodes(nodes, arrays, paths['weights'], paths['text_graph'], float16)
    write_atomically(paths['labels'], ('\n'.join(labels) + '\n').encode())
    digests = {key: sha256_of(path) for key, path in paths.items()}
    path = _beside(stem, '.yaml')
    write_atomically(path, _manifest(stem.name, digests, settings))
    return path


def check_settings(settings: Mapping[str, Any], name: str = 'model') -> None:
    """Check that a manifest with these settings will load, where a manifest can be read.

    Args:
        settings: as for :func:`export_nodes`.
        name: of the model.

    Raises:
        ValueError: it would not, or a key is one that the export writes itself; the message names
            the key, not a file.

    """
    if own := [key for key in _OWN_KEYS if key in settings]:
        raise ValueError(f'has {", ".join(own)}, which the export itself writes. Leave it out')
    try:
        from instance_seg_ros.models import read_manifest
    except ModuleNotFoundError:  # OpenCV may be missing where the GPU is
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'model.yaml')
        path.write_bytes(_manifest(name, dict.fromkeys(_FILES, 64 * '0'), settings))
        try:
            read_manifest(path)
        except ModelError as error:
            raise ValueError(str(error).removeprefix(f'manifest {path}: ')) from None


def _manifest(name: str, digests: Mapping[str, str], settings: Mapping[str, Any]) -> bytes:
    files = {key: f'{name}{ending}' for key, ending in _FILES.items()}
    content = {'name': name} | files | {'sha256': dict(digests)} | dict(settings)
    return yaml.safe_dump(content, sort_keys=False).encode()


def _presets(side: int, proposals: int) -> dict[str, dict[str, int]]:
    return {
        name: {
            'input_max_side': max(round(side * of_side / 32) * 32, 64),
            'proposals': max(round(proposals * of_proposals), 1),
        }
        for name, (of_side, of_proposals) in _PRESETS.items()
    }


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)
