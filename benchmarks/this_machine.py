# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import cv2

_PACKAGES = ('opencv-contrib-python', 'numpy', 'onnxruntime', 'instance_seg_ros')


def describe() -> dict[str, str]:
    """Return processor, cores, memory, system and versions, by name."""
    machine = {
        'processor': _first(Path('/proc/cpuinfo'), 'model name') or platform.processor(),
        'cores': str(os.cpu_count()),
        'memory': _first(Path('/proc/meminfo'), 'MemTotal'),
        'load before': f'{os.getloadavg()[0]:.2f}',
        'system': platform.platform(),
        'Python': platform.python_version(),
        'OpenCV': cv2.__version__,
    }
    for package in _PACKAGES:
        try:
            machine[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return machine


def _first(path: Path, key: str) -> str:
    """Return the value of the first "key : value" line."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ''
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith(key)), '')
