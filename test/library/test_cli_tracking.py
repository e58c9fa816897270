# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""``instance-seg video --track``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

PHOTOS = Path(__file__).parents[2] / 'demo' / 'photos'
FRAMES = 6


def run(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'instance_seg_ros', *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, **options
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a video of two people who move towards each other."""
    photo = cv2.resize(cv2.imread(str(PHOTOS / 'astronaut.jpg')), (240, 240))
    writer = cv2.VideoWriter(
        str(tmp_path / 'two.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 5, (640, 240)
    )
    for step in range(FRAMES):
        frame = np.full((240, 640, 3), 128, np.uint8)
        frame[:, 10 + 8 * step : 250 + 8 * step] = photo
        frame[:, 390 - 8 * step : 630 - 8 * step] = photo[:, ::-1]
        writer.write(frame)
    writer.release()
    return tmp_path


def test_ids_are_in_the_json_and_last(folder: Path) -> None:
    sure = ('--refiner', 'none', '--confidence-threshold', '0.8')
    done = run(folder, 'video', 'two.mp4', '--track', '--json', 'ids.json', *sure)
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / 'ids.json').read_text())
    sides = {
        row['track_id']: row['bbox'][0] + row['bbox'][2] / 2 < 320
        for row in rows
        if row['image_id'] == 0
    }
    assert sorted(sides.values()) == [False, True]
    for frame in range(1, FRAMES):
        found = {
            row['track_id']: row['bbox'][0] + row['bbox'][2] / 2 < 320
            for row in rows
            if row['image_id'] == frame
        }
        assert found == sides


def test_without_track_there_are_no_ids(folder: Path) -> None:
    done = run(folder, 'video', 'two.mp4', '--json', 'ids.json', '--max-frames', '1')
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / 'ids.json').read_text())
    assert rows and not any('track_id' in row for row in rows)
