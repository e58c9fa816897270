# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Files of learned refiners: loaded by onnxruntime and checked. docs/models.md describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instance_seg_ros.errors import ModelError
from instance_seg_ros.onnx_sessions import Sessions
from instance_seg_ros.onnxruntime_import import import_onnxruntime
from instance_seg_ros.refinement.smoother import CONTEXT

if TYPE_CHECKING:
    import onnxruntime

REFINER = 'refiner'  # name of the network among its sessions
PASSES = (128, 256)  # pixels a side: the second pass refines the result of the first
MULTIPLE = 16  # of the sides of what the network takes

_CHANNELS = {'image': 3, 'coarse': 1}


@dataclass(frozen=True)
class RefinerTraits:
    """What a model file says of itself.

    Attributes:
        context: of the box on each side, as a share of it.
        passes: sides in pixels that a ROI is scaled to, one pass after the other.
        threshold: probability from which on a pixel belongs to the object.
        version: for people.
    """

    context: float = CONTEXT
    passes: tuple[int, ...] = PASSES
    threshold: float = 0.5
    version: str = ''


def open_refiner(path: Path, name: str, num_threads: int, providers: Sequence[str]) -> Sessions:
    """Load a refiner's ONNX file and check its inputs and outputs.

    Args:
        path: of the file.
        name: what messages call it.
        num_threads: 0 for all cores.
        providers: onnxruntime's execution providers, the preferred one first; see Sessions.

    Returns:
        Sessions of one network, ``REFINER``.

    Raises:
        ModelError: the file or onnxruntime cannot be used.
        ValueError: the providers are no list of names.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ModelError(f'{name}: {error.strerror}. Expected an ONNX file') from None
    try:
        import_onnxruntime()
    except ImportError as error:
        raise ModelError(
            f'{name}: needs onnxruntime, which cannot be imported ({error}). '
            'pip install onnxruntime, or choose refiner smooth'
        ) from None
    sessions = Sessions({REFINER: payload}, name, num_threads, providers)
    _check_interface(sessions.opened(REFINER), name)
    return sessions


def _check_interface(session: onnxruntime.InferenceSession, name: str) -> None:
    inputs = {i.name: i for i in session.get_inputs()}
    outputs = {o.name: o for o in session.get_outputs()}
    if set(inputs) != set(_CHANNELS) or 'alpha' not in outputs:
        raise ModelError(
            f'{name}: has the inputs {", ".join(inputs)} and the outputs {", ".join(outputs)}: '
            'expected image and coarse, and alpha. This is not a mask refiner'
        )
    for key, value in {**inputs, 'alpha': outputs['alpha']}.items():
        channels = _CHANNELS.get(key, 1)
        shape = value.shape
        fits = len(shape) == 4 and (isinstance(shape[1], str | None) or shape[1] == channels)
        if value.type != 'tensor(float)' or not fits:
            raise ModelError(
                f'{name}: {key} is {value.type} of the shape {shape}: expected '
                f'tensor(float) [n, {channels}, h, w]'
            )


def read_traits(sessions: Sessions, name: str) -> RefinerTraits:
    """Return what the file's metadata says; raises ModelError where it makes no sense."""
    given = sessions.metadata(REFINER)
    readers: dict[str, Any] = {
        'context': _context,
        'passes': _passes,
        'threshold': _threshold,
        'version': str,
    }
    traits = {}
    for key, read in readers.items():
        if key in given:
            try:
                traits[key] = read(given[key])
            except ValueError as error:
                raise ModelError(
                    f'{name}: its metadata says {key} {given[key]!r}: expected {error}'
                ) from None
    return RefinerTraits(**traits)


def _context(text: str) -> float:
    return _between(text, 0, 2)


def _threshold(text: str) -> float:
    return _between(text, 0.01, 0.99)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not low <= value <= high:
        raise ValueError(f'a number from {low} to {high}')
    return value


def _passes(text: str) -> tuple[int, ...]:
    sides = text.split(',')
    valid = all(
        side.strip().isdecimal() and 0 < int(side) <= 2048 and int(side) % MULTIPLE == 0
        for side in sides
    )
    if not valid:
        raise ValueError(f'sides in pixels, such as 128,256, each a multiple of {MULTIPLE}')
    return tuple(int(side) for side in sides)
