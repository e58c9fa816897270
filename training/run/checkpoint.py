# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Checkpoints: written whole or not at all, and read only where they fit."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.graph.tensorflow_files import write_atomically

CHECKPOINT = 'checkpoint.pt'


class TrainingError(RuntimeError):
    """A run that cannot start or go on; the message says why and what to do."""


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint of a run.

    Raises:
        OSError: it cannot be written; the one before is still there.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(
    folder: Path, key: str, task: str, device: str | torch.device = 'cpu'
) -> dict[str, Any]:
    """Read the checkpoint of a run.

    Args:
        folder: of the run.
        key: that only checkpoints of this task have.
        task: for the message.
        device: for the weights.

    Raises:
        TrainingError: it is missing, broken or of another task.
    """
    path = folder / CHECKPOINT
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f'{path}: no such checkpoint. Give the folder of a run') from None
    except Exception as error:  # torch raises many types for a broken file
        raise TrainingError(
            f'{path}: cannot be read as a checkpoint ({error}). Delete it to start again, or '
            'choose another --output'
        ) from error
    if not isinstance(state, dict) or key not in state:
        raise TrainingError(f'{path}: is no checkpoint of {task}. Give the folder of its run')
    return state


def check_settings(folder: Path, stored: str, wanted: str) -> None:
    """Compare settings as JSON.

    Raises:
        TrainingError: they differ; the message names the first few.
    """
    before, now = json.loads(stored), json.loads(wanted)
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        details = '; '.join(
            f'{key} was {before.get(key)}, now {now.get(key)}' for key in differing[:3]
        )
        raise TrainingError(
            f'{folder / CHECKPOINT}: is a checkpoint of other settings ({details}). Resume it with '
            'the options that it was started with, or choose another --output'
        )
