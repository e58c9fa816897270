# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Small objects: the image in overlapping tiles, and what was found in them as one result.

The image as a whole is segmented, too, so that objects larger than a tile are found. The way of
merging is that of SAHI (Akyon et al., ICIP 2022): by intersection over the smaller one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.instances import Instances
from instance_seg_ros.regions import Region

OVERLAP = 0.2  # of a tile's side
SAME_OBJECT = 0.5  # intersection over the smaller of two masks
MAX_TILES = 8  # a side
_GRID = re.compile(r'([1-9])x([1-9])')


def parse_grid(text: str) -> tuple[int, int]:
    """Read a setting such as ``3x2``: columns, rows.

    Raises:
        ValueError: another text.

    """
    match = _GRID.fullmatch(text.strip())
    if match is None or max(int(n) for n in match.groups()) > MAX_TILES:
        raise ValueError(
            f'tiles is {text!r}: expected columns x rows from 1x1 to {MAX_TILES}x{MAX_TILES}, '
            'such as 2x2'
        )
    return int(match[1]), int(match[2])


def make_tiles(grid: tuple[int, int], image_size: tuple[int, int], min_side: int) -> list[Region]:
    """Cut an image into overlapping tiles.

    Args:
        grid: columns and rows.
        image_size: height, width.
        min_side: no side of a tile is shorter, in pixels, unless that of the image is.

    Returns:
        The tiles, row by row; none for a grid of 1 x 1.

    """
    height, width = image_size
    columns, rows = _spans(width, grid[0], min_side), _spans(height, grid[1], min_side)
    if len(columns) == len(rows) == 1:
        return []
    return [Region(x, y, w, h) for y, h in rows for x, w in columns]


def merge_tiles(whole: Instances, tiles: Sequence[tuple[Region, Instances]]) -> Instances:
    """Put the instances of an image and of its tiles together, each object once.

    Args:
        whole: of the image as a whole.
        tiles: each tile with its instances, in pixels of the tile.

    Returns:
        By descending score, in pixels of the image. An object that seams cut has the union of its
        masks and the best of its scores.

    """
    complete = [_Complete(one, True) for one in whole]
    parts: list[Instances] = []
    for tile, instances in tiles:
        for one in instances:
            cut = _touches_seam(one.boxes[0], tile, whole.image_size)
            moved = tile.moved(one, whole.image_size)
            if cut:
                parts.append(moved)
            else:
                complete.append(_Complete(moved, False))
    kept: list[_Complete] = []
    for each in sorted(complete, key=lambda each: _falling_score(each.instance)):
        if not any(each.is_same(other) for other in kept):
            kept.append(each)
    # What a seam has cut is a part of a complete object, or of one that other parts make up.
    joined: list[Instances] = []
    for part in sorted(parts, key=_falling_score):
        if not any(_same_object(part, other.instance) for other in kept):
            _join(part, joined)
    objects = [each.instance for each in kept] + joined
    return _concatenate(whole, sorted(objects, key=_falling_score))


@dataclass
class _Complete:
    """One instance that no seam has cut, in pixels of the image."""

    instance: Instances
    of_whole: bool  # found in the image as a whole, not in a tile

    def is_same(self, other: _Complete) -> bool:
        # Two of the image as a whole are two objects, as they are without tiles.
        both_of_whole = self.of_whole and other.of_whole
        return not both_of_whole and _same_object(self.instance, other.instance)


def _falling_score(one: Instances) -> float:
    return -float(one.scores[0])


def _join(part: Instances, joined: list[Instances]) -> None:
    """Add a part, as one with what it overlaps, and with what the two together overlap then."""
    index = 0
    while index < len(joined):
        if _same_object(part, joined[index]):
            part, index = _union(joined.pop(index), part), 0
        else:
            index += 1
    joined.append(part)


def _spans(length: int, count: int, min_side: int) -> list[tuple[int, int]]:
    side = length if count == 1 else int(np.ceil(length / (count - (count - 1) * OVERLAP)))
    side = min(length, max(side, min_side))
    if side == length:
        return [(0, length)]
    starts = np.linspace(0, length - side, count).round().astype(int)
    return [(start, side) for start in sorted(set(starts.tolist()))]


def _touches_seam(box: NDArray[np.float32], tile: Region, image_size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = box.tolist()
    margin_x, margin_y = max(2.0, 0.02 * tile.width), max(2.0, 0.02 * tile.height)
    height, width = image_size
    return bool(
        (tile.x > 0 and x1 <= margin_x)
        or (tile.y > 0 and y1 <= margin_y)
        or (tile.x + tile.width < width and x2 >= tile.width - margin_x)
        or (tile.y + tile.height < height and y2 >= tile.height - margin_y)
    )


def _same_object(a: Instances, b: Instances) -> bool:
    if a.class_ids[0] != b.class_ids[0]:
        return False
    ax, ay, aw, ah = a.rois[0].tolist()
    bx, by, bw, bh = b.rois[0].tolist()
    left, top = max(ax, bx), max(ay, by)
    right, bottom = min(ax + aw, bx + bw), min(ay + ah, by + bh)
    if right <= left or bottom <= top:
        return False
    if a.masks is None or b.masks is None:
        smaller = min(aw * ah, bw * bh)
        return (right - left) * (bottom - top) >= SAME_OBJECT * smaller
    mine = a.masks[0][top - ay : bottom - ay, left - ax : right - ax]
    other = b.masks[0][top - by : bottom - by, left - bx : right - bx]
    smaller = min(np.count_nonzero(a.masks[0]), np.count_nonzero(b.masks[0]))
    return bool(np.count_nonzero(mine & other) >= SAME_OBJECT * smaller)


def _union(a: Instances, b: Instances) -> Instances:
    boxes = np.concatenate(
        [np.minimum(a.boxes, b.boxes)[:, :2], np.maximum(a.boxes, b.boxes)[:, 2:]], 1
    )
    start = np.minimum(a.rois[0, :2], b.rois[0, :2])
    end = np.maximum(a.rois[0, :2] + a.rois[0, 2:], b.rois[0, :2] + b.rois[0, 2:])
    rois = np.concatenate([start, end - start])[None].astype(np.int32)
    masks = None
    if a.masks is not None and b.masks is not None:
        mask = np.zeros((rois[0, 3], rois[0, 2]), np.uint8)
        for each, part in ((a, a.masks[0]), (b, b.masks[0])):
            x, y = (each.rois[0, :2] - start).tolist()
            mask[y : y + part.shape[0], x : x + part.shape[1]] |= part
        masks = [mask]
    # The probabilities of the mask head are those of one box: there are none for two.
    return replace(
        a,
        boxes=boxes,
        scores=np.maximum(a.scores, b.scores),
        rois=rois,
        masks=masks,
        refined=a.refined & b.refined,
        coarse=None,
    )


def _concatenate(whole: Instances, parts: list[Instances]) -> Instances:
    if not parts:
        return replace(whole, coarse=None)
    return replace(
        whole,
        boxes=np.concatenate([each.boxes for each in parts]),
        scores=np.concatenate([each.scores for each in parts]),
        class_ids=np.concatenate([each.class_ids for each in parts]),
        class_names=[each.class_names[0] for each in parts],
        rois=np.concatenate([each.rois for each in parts]),
        masks=None if whole.masks is None else [each.masks[0] for each in parts if each.masks],
        refined=np.concatenate([each.refined for each in parts]),
        coarse=None,
    )
