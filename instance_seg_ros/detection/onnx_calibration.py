# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Ranges of a network's values on photos, which its int8 parts need, in a file beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.onnx_convert import REGION_INPUTS, VERSION, Change, convert
from instance_seg_ros.detection.onnx_file import OnnxGraph
from instance_seg_ros.detection.onnx_precision import Ranges, observe, to_half, to_int8
from instance_seg_ros.errors import ModelError
from instance_seg_ros.known_models import sha256_of
from instance_seg_ros.onnx_sessions import Sessions
from instance_seg_ros.settings import F16, INT8
from instance_seg_ros.text_files import read_text

# The masks have little to do, and are seen as they are.
_PARTS = 'proposals', 'boxes'
_LARGEST_FILE = 1_000_000  # bytes
_FARTHEST = 1e30


def ranges_file(weights: Path) -> Path:
    """Return the file of a model's ranges."""
    return weights.with_name(f'{weights.stem}_int8.json')


def observe_ranges(
    weights: Path, text_graph: Path, images: Iterable[NDArray[np.uint8]]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Run a model on images, and return the range of each value, by part and name.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        images: BGR, uint8 (H, W, 3), as the network is to see them; a range is the mean of the
            ranges in each.

    Raises:
        ModelError: as :func:`~instance_seg_ros.detection.onnx_convert.convert`, or there is no
            image.

    """
    parts = convert(weights, text_graph, change=_observe)
    sessions = Sessions(parts.by_name(), f'model {weights.stem}')
    names = {
        part: [name for name in sessions.outputs(part) if name.endswith(('_low', '_high'))]
        for part in _PARTS
    }
    regions = {k: v for k, v in REGION_INPUTS.items() if k in sessions.inputs('boxes')}
    seen: dict[str, list[list[float]]] = {part: [] for part in _PARTS}
    for image in images:
        blob = cv2.dnn.blobFromImage(image, swapRB=True, crop=False)
        outputs = [*regions.values(), *names['proposals']]
        *values, features = sessions.run('proposals', {'image': blob}, outputs, ['features'])
        seen['proposals'].append([float(value) for value in values[len(regions) :]])
        feed = {'features': features, **dict(zip(regions, values, strict=False))}
        values = sessions.run('boxes', feed, names['boxes'])
        seen['boxes'].append([float(value) for value in values])
    if not seen['proposals']:
        raise ModelError(f'model {weights.stem}: no image to observe it on')
    ranges: dict[str, dict[str, tuple[float, float]]] = {}
    for part, rows in seen.items():
        means = dict(zip(names[part], np.mean(rows, 0).tolist(), strict=True))
        values_seen = [name.removesuffix('_low') for name in means if name.endswith('_low')]
        ranges[part] = {name: (means[f'{name}_low'], means[f'{name}_high']) for name in values_seen}
    return ranges


def _observe(part: str, graph: OnnxGraph) -> None:
    if part in _PARTS:
        observe(graph)


def write_ranges(
    path: Path, weights: Path, text_graph: Path, ranges: dict[str, dict[str, tuple[float, float]]]
) -> None:
    """Write the file; OSError where it cannot be written."""
    content = {'converter': VERSION, 'model': _digest(weights, text_graph)}
    rounded = {
        part: {name: [float(f'{limit:.6g}') for limit in limits] for name, limits in values.items()}
        for part, values in ranges.items()
    }
    path.write_text(json.dumps(content | rounded, indent=0) + '\n', encoding='utf-8')


def change_of_precision(precision: str, weights: Path, text_graph: Path) -> Change | None:
    """Return what gives the parts of a model a precision of the settings.

    Raises:
        ModelError: it is int8, and the file of the model's ranges is missing or of another model.

    """
    if precision == INT8:
        return _int8_change(weights, text_graph)
    return (lambda _, graph: to_half(graph)) if precision == F16 else None


def _int8_change(weights: Path, text_graph: Path) -> Change:
    """Return what makes int8 parts of a model, by the file of its ranges.

    Raises:
        ModelError: there is no such file, or it is of another model.

    """
    path = ranges_file(weights)
    how = f'instance-seg models calibrate {weights} FOLDER-OF-PHOTOS writes it'
    text = read_text(path, 'precision int8: ranges', how, _LARGEST_FILE)
    try:
        content = json.loads(text)
        right = (content['converter'], content['model']) == (VERSION, _digest(weights, text_graph))
        ranges = {part: _ranges(content[part]) for part in _PARTS}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f'precision int8: {path}: is no file of ranges. {how}') from None
    if not right:
        raise ModelError(f'precision int8: {path}: is of another model or release. {how}')

    def change(part: str, graph: OnnxGraph) -> None:
        if part in _PARTS:
            try:
                to_int8(graph, ranges[part])
            except KeyError as error:
                raise ModelError(
                    f'precision int8: {path}: has no range of {error}. {how}'
                ) from None

    return change


def _ranges(content: dict[str, Any]) -> Ranges:
    ranges = {name: (float(low), float(high)) for name, (low, high) in content.items()}
    if not all(-_FARTHEST < low <= high < _FARTHEST for low, high in ranges.values()):
        raise ValueError('not from a low number to a high one')
    return ranges


def _digest(weights: Path, text_graph: Path) -> str:
    digests = [sha256_of(path) for path in (weights, text_graph)]
    return hashlib.sha256(' '.join(digests).encode()).hexdigest()


__all__ = ['change_of_precision', 'observe_ranges', 'ranges_file', 'write_ranges']
