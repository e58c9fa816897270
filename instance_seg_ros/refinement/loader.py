# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Loads the refiner that a setting names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from instance_seg_ros.errors import ModelError
from instance_seg_ros.model_folders import SEARCH_PATH_VARIABLE
from instance_seg_ros.models import check_recorded_digest, find_refiner
from instance_seg_ros.paths import given_path
from instance_seg_ros.refinement.interface import Refiner
from instance_seg_ros.refinement.plain import PlainMasks
from instance_seg_ros.refinement.refiner import MaskRefiner
from instance_seg_ros.refinement.smoother import MaskSmoother
from instance_seg_ros.settings import CPU_PROVIDER
from instance_seg_ros.trial import try_refiner

SMOOTH, NONE, GAN, AUTO = 'smooth', 'none', 'gan', 'auto'


def load_refiner(
    name: str,
    num_threads: int = 0,
    providers: Sequence[str] = (CPU_PROVIDER,),
    *,
    trusted: bool = False,
) -> Refiner:
    """Load a refiner.

    Args:
        name: ``smooth``, ``none``, ``gan`` (the network that ships with the package), ``auto``
            (``gan`` where it and onnxruntime are installed, else ``smooth``), or the path of an
            ONNX file.
        num_threads: of the network, 0 for all cores.
        providers: onnxruntime's execution providers, the preferred one first.
        trusted: load an unknown network without a trial in another process.

    Raises:
        ModelError: no such refiner, its file is missing or cannot be used, or OpenCV lacks its
            contributed modules.
        ValueError: the providers are no list of names.
    """
    if name == NONE:
        return PlainMasks()
    shipped = find_refiner()
    if name == AUTO:
        has_runtime = importlib.util.find_spec('onnxruntime') is not None
        name = GAN if shipped is not None and has_runtime else SMOOTH
    if name == SMOOTH:
        return MaskSmoother()
    if name != GAN:
        path = _path(name)
        if not trusted:
            try_refiner(path)
        return MaskRefiner(path, num_threads=num_threads, providers=providers)
    if shipped is None:
        raise ModelError(
            f'refiner {name!r}: mask_refiner.onnx is in no folder of models. Install the package '
            f'again, add the folder to {SEARCH_PATH_VARIABLE}, or choose smooth, none or auto'
        )
    check_recorded_digest(shipped)
    if not trusted:
        try_refiner(shipped)
    return MaskRefiner(shipped, num_threads=num_threads, providers=providers, name=GAN)


def _path(name: str) -> Path:
    path = given_path(name)
    if path.is_file() or path.suffix == '.onnx':
        return path
    raise ModelError(
        f'refiner {name!r}: expected auto, gan, smooth, none or the path of an ONNX file'
    )
