# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A contact sheet of masks: photo, coarse mask, every method's mask, true mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.refinement.smoother import context_rois
from training.refiner.evaluate import Case

Picture = NDArray[np.uint8]

_TILE, _TITLE = 200, 18  # pixels
_INSIDE, _OUTLINE, _BOX = (60, 200, 60), (0, 255, 255), (255, 255, 255)  # BGR


def write_sheet(path: Path, rows: Sequence[tuple[Case, str, Mapping[str, Picture]]]) -> None:
    """Write a row of pictures for every case.

    Args:
        path: of the image file.
        rows: case, what to call it, and masks by method, uint8 (H, W) of the photo, 0 or 1.
    """
    sheet = np.concatenate([_row(*row) for row in rows])
    path.write_bytes(cv2.imencode(path.suffix, sheet)[1].tobytes())


def _row(case: Case, name: str, masks: Mapping[str, Picture]) -> Picture:
    x, y, w, h = context_rois(case.box[None], *case.truth.shape)[0].tolist()
    window = slice(y, y + h), slice(x, x + w)
    scale = _TILE / max(w, h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    photo = cv2.resize(case.photo[window], size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    corners = ((case.box.reshape(2, 2) - (x, y)) * scale).round().astype(int).tolist()
    boxed = cv2.rectangle(photo.copy(), corners[0], corners[1], _BOX, 1)
    tiles = {name: boxed, 'coarse': _coarse(case, photo.shape, corners)}
    for title, mask in {**masks, 'truth': case.truth}.items():
        part = mask[window].astype(np.uint8)
        tiles[title] = _painted(photo, cv2.resize(part, size, interpolation=cv2.INTER_NEAREST))
    return np.concatenate([_titled(tile, title) for title, tile in tiles.items()], 1)


def _coarse(case: Case, shape: tuple[int, ...], corners: list[list[int]]) -> Picture:
    """Return the cells of the mask head, in shades of gray."""
    (x1, y1), (x2, y2) = corners
    size = max(1, x2 - x1), max(1, y2 - y1)
    cells = cv2.resize(case.coarse, size, interpolation=cv2.INTER_NEAREST)
    margin = _TILE
    canvas = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin), np.float32)
    canvas[margin + y1 : margin + y1 + size[1], margin + x1 : margin + x1 + size[0]] = cells
    inner = canvas[margin : margin + shape[0], margin : margin + shape[1]]
    return cv2.cvtColor((255 * inner).astype(np.uint8), cv2.COLOR_GRAY2BGR).astype(np.uint8)


def _painted(photo: Picture, mask: Picture) -> Picture:
    dark = photo // 3
    inside = cv2.addWeighted(photo, 0.75, np.full_like(photo, _INSIDE), 0.25, 0)
    painted = np.where(mask[..., None] > 0, inside, dark).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, outlines, -1, _OUTLINE, 1)
    return painted


def _titled(tile: Picture, title: str) -> Picture:
    framed = np.zeros((_TILE + _TITLE + 4, _TILE + 4, 3), np.uint8)
    framed[_TITLE : _TITLE + tile.shape[0], : tile.shape[1]] = tile
    cv2.putText(
        framed, title[:32], (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA
    )
    return framed
