# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What decides about results beside the settings: the content of the files that these lead to.

``model: auto`` is another model once one has been downloaded, and a file can be replaced: a run
that is resumed must not go on with another model than the one it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2

from instance_seg_ros.detection.onnx_cache import folder_beside
from instance_seg_ros.detection.onnx_calibration import ranges_file
from instance_seg_ros.models import ModelManifest, find_model, find_refiner
from instance_seg_ros.onnx_sessions import onnxruntime_version
from instance_seg_ros.paths import given_path
from instance_seg_ros.refinement.loader import AUTO, GAN, NONE, SMOOTH
from instance_seg_ros.settings import INT8, OPENCV


def library_versions(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of those libraries that compute, '' for one that is not installed.

    Args:
        settings: as :func:`digest_of_models` has them.

    """
    versions = {'OpenCV': cv2.__version__}
    if settings['engine'] != OPENCV or str(settings['refiner']) not in (SMOOTH, NONE):
        versions['onnxruntime'] = onnxruntime_version()
    return versions


def digest_of_models(settings: Mapping[str, Any]) -> str:
    """Return the name of the model that settings lead to, and a digest of all its files.

    Args:
        settings: by name, of :class:`~instance_seg_ros.segmenter.Segmenter`: all that name files.

    Raises:
        ModelError: there is no such model.
        OSError: a file of it cannot be read.

    """
    manifest = _manifest_of(settings)
    digest = hashlib.sha256()
    for path in _files(manifest, settings):
        # What is missing is found, and said, when the model is loaded.
        content = path.read_bytes() if path.is_file() else b''
        digest.update(hashlib.sha256(content).digest())
    return f'{manifest.name} {digest.hexdigest()}'


def files_of_models(settings: Mapping[str, Any]) -> list[Path]:
    """Return all files that settings lead to; ONNX parts that lie beside a model are among them.

    Args:
        settings: as :func:`digest_of_models` has them.

    Raises:
        ModelError: there is no such model.

    """
    manifest = _manifest_of(settings)
    files = list(_files(manifest, settings))
    if manifest.weights is not None:
        files += folder_beside(manifest.weights).glob('*')
    return files


def _manifest_of(settings: Mapping[str, Any]) -> ModelManifest:
    return find_model(
        settings['model'],
        model_path=settings['model_path'],
        text_graph_path=settings['text_graph_path'],
        labels_path=settings['labels_path'],
    )


def _files(manifest: ModelManifest, settings: Mapping[str, Any]) -> Iterator[Path]:
    if manifest.path is not None:
        yield manifest.path
    yield from manifest.files.values()
    if settings['precision'] == INT8 and manifest.weights is not None:
        yield ranges_file(manifest.weights)
    refiner = str(settings['refiner'])
    if refiner in (AUTO, GAN):
        shipped = find_refiner()
        if shipped is not None:
            yield shipped
    elif refiner not in (SMOOTH, NONE):
        yield given_path(refiner)


__all__ = ['digest_of_models', 'files_of_models', 'library_versions']
