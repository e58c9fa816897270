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
    """
    Lay out pictures in a grid.

    Args:
        pictures: by title; uint8 (height, width, 3) BGR of any sizes.

    Returns:
        One picture of the same kind, in which each is scaled to fit and stands above its title.
    """
    cells = [_cell(title, picture) for title, picture in pictures.items()]
    rows = -(-len(cells) // COLUMNS)
    cells += [_paper(CELL_HEIGHT + TITLE_HEIGHT, CELL_WIDTH)] * (rows * COLUMNS - len(cells))
    sheet = np.vstack([
        np.hstack(cells[row * COLUMNS:(row + 1) * COLUMNS]) for row in range(rows)])
    return cv2.copyMakeBorder(
        sheet, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=PAPER)


def _cell(title: str, picture: np.ndarray) -> np.ndarray:
    cell = _paper(CELL_HEIGHT + TITLE_HEIGHT, CELL_WIDTH)
    height, width = picture.shape[:2]
    scale = min((CELL_WIDTH - MARGIN) / width, (CELL_HEIGHT - MARGIN) / height)
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    x, y = (CELL_WIDTH - size[0]) // 2, (CELL_HEIGHT - size[1]) // 2
    cell[y:y + size[1], x:x + size[0]] = small
    cv2.putText(cell, title, (MARGIN, CELL_HEIGHT + TITLE_HEIGHT // 2 + 6),
                cv2.FONT_HERSHEY_SIMPLEX, 0.6, INK, 1, cv2.LINE_AA)
    return cell


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)
