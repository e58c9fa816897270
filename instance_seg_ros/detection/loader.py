# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Loads the detector of a model in the engine that a setting names."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import replace

from instance_seg_ros.detection.detections import Detector
from instance_seg_ros.detection.mask_rcnn import MaskRcnn
from instance_seg_ros.detection.net_loader import opencv_problem
from instance_seg_ros.detection.onnx_cache import onnx_parts
from instance_seg_ros.detection.onnx_mask_rcnn import OnnxMaskRcnn
from instance_seg_ros.errors import ModelError
from instance_seg_ros.models import PART_ROLES, ModelManifest
from instance_seg_ros.settings import (
    AUTO,
    BF16,
    CPU_PROVIDER,
    F16,
    F32,
    INT8,
    ONNXRUNTIME,
    OPENCV,
    OPENVINO_PROVIDER,
    ModelSettings,
)

LOG = logging.getLogger(__name__)


def load_detector(manifest: ModelManifest, settings: ModelSettings) -> Detector:
    """Load a model.

    Args:
        manifest: its files; see docs/models.md.
        settings: of which ``engine``, ``providers``, ``precision``, ``num_threads``,
            ``parallel_nets`` and ``low_memory`` count here.

    Raises:
        ModelError: the engine cannot be used, or a file is missing, broken or of another model.

    """
    if choose_engine(manifest, settings) == OPENCV:
        return _load_opencv(manifest, settings)
    try:
        return _load_onnxruntime(manifest, settings)
    except ModelError as error:
        if not may_fall_back(manifest, settings):
            raise
        detector = _load_opencv(manifest, settings)
        LOG.warning('%s. It runs in OpenCV instead', error)
        return detector


def _load_opencv(manifest: ModelManifest, settings: ModelSettings) -> MaskRcnn:
    return MaskRcnn(
        *manifest.tensorflow_files(),
        manifest.proposals,
        settings.parallel_nets,
        settings.low_memory,
    )


def _load_onnxruntime(manifest: ModelManifest, settings: ModelSettings) -> OnnxMaskRcnn:
    precision = F32 if settings.precision == AUTO else settings.precision
    if precision == BF16 and OPENVINO_PROVIDER not in settings.providers:
        raise ModelError(
            f'precision {BF16}: only {OPENVINO_PROVIDER} computes in it, and providers are '
            f'{", ".join(settings.providers)}; see docs/models.md'
        )
    if precision in (F16, INT8) and manifest.parts:
        raise ModelError(
            f'precision {precision}: model {manifest.name!r} names its own ONNX parts, which are '
            f'taken as they are. {_instead(manifest)}'
        )
    on_processor = settings.providers[:1] in ((CPU_PROVIDER,), (OPENVINO_PROVIDER,))
    return OnnxMaskRcnn(
        manifest.parts or onnx_parts(*manifest.tensorflow_files(), on_processor, precision),
        f'model {manifest.name}',
        manifest.proposals,
        settings.num_threads,
        settings.providers,
        settings.low_memory,
        precision,
    )


def _instead(manifest: ModelManifest) -> str:
    if manifest.weights is None:
        return 'Export them in that precision'
    return f'Without {", ".join(PART_ROLES)} in {manifest.path}, its frozen graph is converted'


def may_fall_back(manifest: ModelManifest, settings: ModelSettings) -> bool:
    """Whether OpenCV may run a model in place of onnxruntime, which only its manifest prefers."""
    engines = [choose_engine(each, settings) for each in (manifest, replace(manifest, engine=''))]
    return engines == [ONNXRUNTIME, OPENCV]


def choose_engine(manifest: ModelManifest, settings: ModelSettings) -> str:
    """Return the engine for a model, where the setting may say ``auto``.

    OpenCV where it reads the model's files right; onnxruntime where it does not, and where it is
    installed and the model's manifest prefers it, or a precision or providers that only it has are
    asked for.

    Raises:
        ModelError: that engine cannot be used here.

    """
    has_runtime = importlib.util.find_spec('onnxruntime') is not None
    problem = opencv_problem()
    if manifest.weights is None:
        problem = f'model {manifest.name!r} has ONNX parts only, which OpenCV is not asked to read'
    engine = settings.engine
    reduced = settings.precision not in (AUTO, F32)
    if engine == AUTO:
        preferred = (
            manifest.engine == ONNXRUNTIME or reduced or settings.providers[:1] != (CPU_PROVIDER,)
        )
        engine = ONNXRUNTIME if problem or (has_runtime and preferred) else OPENCV
    if engine == OPENCV and reduced:
        raise ModelError(
            f'precision {settings.precision}: engine {OPENCV} computes in {F32} only. '
            f'Choose engine {ONNXRUNTIME}' + ('' if has_runtime else ' (pip install onnxruntime)')
        )
    if engine == OPENCV and problem:
        raise ModelError(f'engine {OPENCV}: {problem}. Choose engine {ONNXRUNTIME} or {AUTO}')
    if engine == ONNXRUNTIME and not has_runtime:
        reason = f', and {problem}' if problem else ''
        raise ModelError(
            f'engine {ONNXRUNTIME}: onnxruntime is not installed{reason}. pip install onnxruntime'
        )
    return engine


__all__ = ['choose_engine', 'load_detector', 'may_fall_back']
