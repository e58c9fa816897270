# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""All pictures on one page."""

import cv2
import numpy as np

COLUMNS = 3
CELL_WIDTH, CELL_HEIGHT = 480, 400
TITLE_HEIGHT = 36
MARGIN = 12
PAPER, INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Lay out pictures in a grid.

    Args:
        pictures: by title; uint8 (height, width, 3) BGR of any sizes.

    Returns:
        One picture of the same kind, in which each is scaled to fit and has its title below.
    """
    items = list(pictures.items())
    sheet = np.vstack(
        [_row(items[start : start + COLUMNS]) for start in range(0, len(items), COLUMNS)]
    )
    return cv2.copyMakeBorder(
        sheet, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=PAPER
    )


def _row(items: list[tuple[str, np.ndarray]]) -> np.ndarray:
    small = [(title, _fitted(picture)) for title, picture in items]
    height = max(picture.shape[0] for _, picture in small)
    row = _paper(height + TITLE_HEIGHT, COLUMNS * CELL_WIDTH)
    for column, (title, picture) in enumerate(small):
        x, y = column * CELL_WIDTH, height - picture.shape[0]
        row[y:height, x : x + picture.shape[1]] = picture
        cv2.putText(
            row,
            title,
            (x, height + TITLE_HEIGHT // 2),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.55,
            INK,
            1,
            cv2.LINE_AA,
        )
    return row


def _fitted(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = min((CELL_WIDTH - MARGIN) / width, CELL_HEIGHT / height)
    return cv2.resize(
        picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)
