# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""ONNX parts of a model, converted once and kept.

They are looked for in the folder <weights>_onnx beside the model, where ``instance-seg models
convert`` puts them, and then in the user's cache. A record beside the files holds the digests of
what they were converted from and of each of them: parts of another model or release, or files that
are damaged, are made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from instance_seg_ros.detection.onnx_calibration import change_of_precision, ranges_file
from instance_seg_ros.detection.onnx_convert import VERSION, OnnxParts, convert
from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import user_cache_folder
from instance_seg_ros.known_models import sha256_of
from instance_seg_ros.settings import F32, INT8

LOG = logging.getLogger(__name__)

_RECORD = 'parts.json'
_FILES = (*(f'{name}.onnx' for name in OnnxParts.NAMES), _RECORD)


def onnx_parts(
    weights: Path, text_graph: Path, for_processor: bool = True, precision: str = F32
) -> Mapping[str, Path | bytes]:
    """Return the ONNX parts of a model by their names, converted if they are not yet.

    Args:
        weights: frozen graph (.pb).
        text_graph: OpenCV text graph (.pbtxt) of the same model.
        for_processor: as :func:`convert` has it.
        precision: of the settings.

    Returns:
        Paths; bytes where there is no folder to keep them in.

    Raises:
        ModelError: as :func:`convert`, or int8 is wanted and the model is not calibrated.

    """
    change = change_of_precision(precision, weights, text_graph)
    sources = _digest_of_sources(weights, text_graph, for_processor, precision)
    cache = _user_cache(sources)
    for folder in (folder_beside(weights), cache):
        if folder is not None and _is_valid(folder, sources):
            return {name: folder / f'{name}.onnx' for name in OnnxParts.NAMES}
    started = time.perf_counter()
    parts = convert(weights, text_graph, for_processor, change)
    seconds = time.perf_counter() - started
    if cache is not None:
        try:
            _write(parts, cache, sources)
        except OSError as error:
            LOG.info(
                'the ONNX parts of %s cannot be kept in %s: %s', weights, cache, error.strerror
            )
        else:
            LOG.info('converted %s to ONNX in %.1f s, kept in %s', weights, seconds, cache)
            return {name: cache / f'{name}.onnx' for name in OnnxParts.NAMES}
    return parts.by_name()


def write_parts(weights: Path, text_graph: Path, folder: Path) -> list[Path]:
    """Convert a model, and write its parts to a folder, all or none of them.

    Returns:
        The files.

    Raises:
        ModelError: as :func:`convert`, or the folder cannot be written, or has other files.

    """
    if folder.exists() and not (folder / _RECORD).is_file():
        raise ModelError(
            f'{folder}: exists, and is no folder of ONNX parts. Choose another one, or remove it'
        )
    others = sorted({path.name for path in folder.glob('*')} - set(_FILES))
    if others:  # the whole folder is replaced
        raise ModelError(
            f'{folder}: has {others[0]}, which is no ONNX part and would be lost. Choose another '
            'folder'
        )
    parts = convert(weights, text_graph)
    try:
        _write(parts, folder, _digest_of_sources(weights, text_graph))
    except OSError as error:
        raise ModelError(
            f'{folder}: cannot be written: {error.strerror}. Choose another folder'
        ) from None
    return [folder / f'{name}.onnx' for name in OnnxParts.NAMES]


def folder_beside(weights: Path) -> Path:
    """Return the folder beside a model that its ONNX parts are looked for in."""
    return weights.with_name(f'{weights.stem}_onnx')


def files_beside(weights: Path) -> list[Path]:
    """Return the files in that folder that :func:`write_parts` wrote."""
    folder = folder_beside(weights)
    if folder.is_symlink():  # the files are elsewhere
        return []
    return [folder / name for name in _FILES if (folder / name).is_file()]


def _user_cache(sources: str) -> Path | None:
    """Return the folder for a model, None for a user without a home."""
    folder = user_cache_folder()
    return None if folder is None else folder / sources[:32]


def _digest_of_sources(
    weights: Path, text_graph: Path, for_processor: bool = True, precision: str = F32
) -> str:
    digest = hashlib.sha256(f'{VERSION} {for_processor} {precision}'.encode())
    ranges = [ranges_file(weights)] if precision == INT8 else []
    for path in (weights, text_graph, *ranges):
        with contextlib.suppress(OSError):  # convert tells it better
            digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def _is_valid(folder: Path, sources: str) -> bool:
    """Whether a folder has the parts of some sources, all whole."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding='utf-8'))
        if record['sources'] != sources:
            LOG.info('the ONNX parts in %s are of another model or release: not used', folder)
            return False
        return all(sha256_of(folder / f'{name}.onnx') == record[name] for name in OnnxParts.NAMES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(parts: OnnxParts, folder: Path, sources: str) -> None:
    """Write a folder beside its place, then move it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f'{folder.name}.', dir=folder.parent))
    try:
        record = {'sources': sources}
        for name, payload in parts.by_name().items():
            (temporary / f'{name}.onnx').write_bytes(payload)
            record[name] = hashlib.sha256(payload).hexdigest()
        (temporary / _RECORD).write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
        temporary.chmod(0o755)
        if folder.exists() and not _is_valid(folder, sources):
            shutil.rmtree(folder)
        try:
            temporary.rename(folder)
        except OSError:
            if not _is_valid(folder, sources):  # else another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


__all__ = ['files_beside', 'folder_beside', 'onnx_parts', 'write_parts']
