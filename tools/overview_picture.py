# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Writes docs/images/overview.jpg, README's picture of what goes in and what comes out.

    python tools/overview_picture.py

Needs the package (pip install .). Run it again after a change of the shipped model or the drawing.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'demo')]

from photos import load_photos  # noqa: E402

from instance_seg_ros import Instances, Segmenter, draw_instances  # noqa: E402

HEIGHT, GAP, TITLE_HEIGHT = 190, 12, 48  # pixels
PAPER, INK = 255, (40, 40, 40)
CHECKERS = (205, 240)  # grey values behind what is transparent
PHOTOS = ('astronaut', 'chelsea', 'coffee')  # one picture, with a person, a cat and a cup


def main() -> None:
    photos = load_photos()
    photo = np.hstack([_of_height(photos[name], 512) for name in PHOTOS])
    instances = Segmenter()(photo)
    pictures = {
        'image: what the camera sees': photo,
        'debug_image: masks, boxes, names, scores': draw_instances(photo, instances),
        'label_image: each object has its number': _coloured(instances.label_image()),
        'cutouts: each object without its background': _cutouts(photo, instances),
    }
    cells = [_cell(title, picture) for title, picture in pictures.items()]
    rows = [_beside(cells[:2]), _beside(cells[2:])]
    width = max(row.shape[1] for row in rows)
    sheet = np.vstack([_padded(row, width) for row in rows])
    cv2.imwrite(
        str(ROOT / 'docs' / 'images' / 'overview.jpg'), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88]
    )


def _coloured(labels: np.ndarray) -> np.ndarray:
    hues = (labels.astype(np.int64) * 47 % 180).astype(np.uint8)
    full = np.full_like(hues, 220)
    hsv = np.dstack([hues, np.full_like(hues, 150), np.where(labels > 0, full, 0)])
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


def _cutouts(photo: np.ndarray, instances: Instances) -> np.ndarray:
    order = np.argsort(instances.rois[:, 0])  # from left to right, as in the photo
    cutouts = [_on_checkers(instances.cutout(photo, int(i))) for i in order]
    return _beside([_of_height(cutout) for cutout in cutouts])[:, GAP:]


def _on_checkers(cutout: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(cutout.shape[:2]) // 16
    paper = np.where((rows + columns) % 2, *CHECKERS).astype(np.uint8)[..., None]
    return np.where(cutout[..., 3:] > 0, cutout[..., :3], paper)


def _cell(title: str, picture: np.ndarray) -> np.ndarray:
    picture = _of_height(picture)
    label = np.full((TITLE_HEIGHT, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(label, title, (0, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, INK, 2, cv2.LINE_AA)
    return np.vstack([picture, label])


def _of_height(picture: np.ndarray, height: int = HEIGHT) -> np.ndarray:
    width = round(picture.shape[1] * height / picture.shape[0])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _beside(cells: list[np.ndarray]) -> np.ndarray:
    gap = np.full((cells[0].shape[0], GAP, 3), PAPER, np.uint8)
    return np.hstack([part for cell in cells for part in (gap, cell)])


def _padded(row: np.ndarray, width: int) -> np.ndarray:
    missing = width - row.shape[1] + GAP
    return cv2.copyMakeBorder(
        row, GAP, 0, 0, missing, cv2.BORDER_CONSTANT, value=(PAPER, PAPER, PAPER)
    )


if __name__ == '__main__':
    main()
