# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Coarse masks as detectors get them wrong, made from true ones.

Real detector output needs weights and photos that belong together; a simulator needs masks alone.
Several families of error, because what is trained on one family helps little with the others.
All end as the probabilities of a mask head: 15x15 cells over a box that is itself a bit off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 15
_SIDE = 120  # of the canvas that errors are drawn on: 8 pixels a cell
_WEAK = 0.3  # share of the masks that are as soft as a weak detector's


@dataclass(frozen=True)
class View:
    """What lies under the coarse mask, sampled over its box.

    Attributes:
        mask: float32 (S, S), the object, 0 to 1.
        others: float32 (S, S), the other objects.
        image: uint8 (S, S, 3), BGR.
    """

    mask: NDArray[np.float32]
    others: NDArray[np.float32]
    image: NDArray[np.uint8]


Family = Callable[[View, np.random.Generator], NDArray[np.float32]]


def simulate(
    family: str,
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    others: NDArray[np.uint8],
    rng: np.random.Generator,
    second: str = '',
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make the coarse mask of one object.

    Args:
        family: one of ALL_FAMILIES.
        image: uint8 (H, W, 3), BGR.
        mask: uint8 (H, W), 0 or 1; the object, not empty.
        others: uint8 (H, W), 0 or 1; the other objects of the image.
        rng: the same one gives the same mask.
        second: another family whose error is added; none by default.

    Returns:
        The box that a detector would give, float32 (4,) x1, y1, x2, y2 in pixels, and float32
        (15, 15), probabilities over it.

    """
    box = _jittered(box_of(mask), 0.15 if 'box' in (family, second) else 0.06, rng)
    view = View(
        _sampled(mask.astype(np.float32), box),
        _sampled(others.astype(np.float32), box),
        _sampled(image, box).astype(np.uint8),
    )
    for name in filter(None, (family, second)):
        view = replace(view, mask=ALL_FAMILIES[name](view, rng))
    return box, _mask_head(view.mask, 1.0 if family == 'soft' else 0.5, rng)


def box_of(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the smallest box around a mask, float32 (4,), x1, y1, x2, y2 in pixels."""
    x, y, w, h = cv2.boundingRect(mask)
    return np.array([x, y, x + w, y + h], np.float32)


# ---- families
def soft(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """A network's usual outline: wavy, a bit too large or small, with bulges and dents."""
    mask = _warped(view.mask, 3.0 * rng.uniform(0.6, 1.2), rng)
    mask = _grown(mask, rng.normal(0.15, 2.0))
    for _ in range(rng.poisson(1.2)):
        mask = _with_ellipse(mask, rng, float(rng.random() < 0.6))
    return mask


def polygon(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """A few straight lines, sometimes the convex hull."""
    contours, _ = cv2.findContours(_binary(view.mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [
        cv2.convexHull(contour)
        if rng.random() < 0.2
        else cv2.approxPolyDP(contour, rng.uniform(0.01, 0.05) * len(contour), closed=True)
        for contour in contours
    ]
    drawn = np.zeros_like(view.mask)
    cv2.fillPoly(drawn, outlines, 1.0)
    return drawn


def blocky(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """Large cells that are either in or out."""
    count = int(rng.integers(5, 12))
    cells = cv2.resize(view.mask, (count, count), interpolation=cv2.INTER_AREA)
    cells = (cells > rng.uniform(0.3, 0.65)).astype(np.float32)
    return cv2.resize(cells, view.mask.shape[::-1], interpolation=cv2.INTER_NEAREST)


def edge_leak(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """Areas of like colour beside the outline are taken in or given up, up to their real edges."""
    image = cv2.GaussianBlur(view.image, (0, 0), 1.5)
    mask = view.mask.copy()
    for _ in range(rng.integers(1, 4)):
        seed = _point_on_outline(mask, rng, 5.0)
        if seed is None:
            break
        tolerance = (float(rng.uniform(4, 14)),) * 3
        area = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
        cv2.floodFill(image.copy(), area, seed, 0, tolerance, tolerance, cv2.FLOODFILL_MASK_ONLY)
        disc = np.zeros_like(mask)
        cv2.circle(disc, seed, int(rng.integers(12, 40)), 1.0, cv2.FILLED)
        changed = (area[1:-1, 1:-1] > 0) & (disc > 0)
        mask[changed] = float(rng.random() < 0.65)
    return mask


def box(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """The box is far off, so that the mask is cut or its cells are large."""
    return _grown(view.mask, rng.normal(0, 1.5))


def neighbours(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """Part of another object counts as this one."""
    reach = _grown(view.mask, rng.uniform(8, 40))
    merged = view.others * reach
    if merged.sum() < 0.01 * merged.size:  # nobody near: a copy of the object itself, beside it
        shift = rng.uniform(0.3, 0.9, 2) * rng.choice([-1, 1], 2) * view.mask.shape[0]
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        merged = cv2.warpAffine(view.mask, matrix, view.mask.shape[::-1])
    return _warped(np.maximum(view.mask, merged), 2.0, rng)


def missing(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """A limb, a head or a side is left out."""
    mask = view.mask.copy()
    for _ in range(rng.integers(1, 3)):
        ys, xs = np.nonzero(mask > 0.5)
        if len(xs) < 50:
            break
        direction = rng.normal(size=2)
        along = xs * direction[0] + ys * direction[1]
        if rng.random() < 0.5:
            gone = along > np.quantile(along, 1 - rng.uniform(0.05, 0.25))
            mask[ys[gone], xs[gone]] = 0
        else:
            mask = _with_ellipse(mask, rng, 0.0, 1.8)
    return _warped(mask, 2.0, rng)


def superpixels(view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """Whole patches of like colour are in or out."""
    slic = cv2.ximgproc.createSuperpixelSLIC(
        cv2.cvtColor(view.image, cv2.COLOR_BGR2LAB),
        cv2.ximgproc.SLICO,
        region_size=int(rng.integers(12, 26)),
    )
    slic.iterate(4)
    labels = slic.getLabels().ravel()
    share = np.bincount(labels, view.mask.ravel()) / np.maximum(np.bincount(labels), 1)
    chosen = (share > rng.uniform(0.3, 0.6)).astype(np.float32)
    return chosen[labels].reshape(view.mask.shape)


FAMILIES: dict[str, Family] = {
    'soft': soft,
    'polygon': polygon,
    'blocky': blocky,
    'edge_leak': edge_leak,
    'box': box,
    'neighbours': neighbours,
    'missing': missing,
}
# Never trained on: whether the refiner only knows its own families is measured on these.
UNSEEN_FAMILIES: dict[str, Family] = {'superpixels': superpixels}
ALL_FAMILIES = FAMILIES | UNSEEN_FAMILIES


# ---- how a mask head sees it
def _mask_head(
    mask: NDArray[np.float32], noise: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    cells = cv2.resize(mask, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    # A weak detector's masks fade over several cells and are sure of nothing.
    blur, gain = ((0.85, 2.5), (0.4, 1.2)) if rng.random() < _WEAK else ((0.4, 0.85), (0.9, 1.6))
    cells = cv2.GaussianBlur(
        cells, (0, 0), rng.uniform(*blur), borderType=cv2.BORDER_REPLICATE
    ).clip(0.01, 0.99)
    logits = np.log(cells / (1 - cells)) * rng.uniform(*gain)
    strength = noise * rng.uniform(0.4, 1.2)
    grain = cv2.GaussianBlur(rng.normal(size=(CELLS, CELLS)).astype(np.float32), (0, 0), 1.0)
    logits += 2.2 * strength * grain + rng.normal(0, 0.25 * strength)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _jittered(
    box: NDArray[np.float32], deviation: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    size = np.tile(box[2:] - box[:2], 2)
    shifts = rng.normal(0, deviation, 4).clip(-2.5 * deviation, 2.5 * deviation)
    return (box + shifts * size).astype(np.float32)


def _sampled(array: NDArray, box: NDArray[np.float32]) -> NDArray:
    """Sample an array over a box, without the moiré of large steps; 0 outside."""
    step = np.maximum((box[2:] - box[:2]) / _SIDE, 1e-3)
    if step.max() > 1:
        array = cv2.blur(array, tuple(int(max(1, round(s))) for s in step.tolist()))
    offset = box[:2] + 0.5 * step - 0.5
    matrix = np.array([[step[0], 0, offset[0]], [0, step[1], offset[1]]], np.float32)
    return cv2.warpAffine(
        array, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


# ---- changes of a mask
def _binary(mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (mask > 0.5).astype(np.uint8)


def _warped(
    mask: NDArray[np.float32], pixels: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    field = cv2.resize(
        rng.normal(0, pixels, (5, 5, 2)).astype(np.float32),
        mask.shape[::-1],
        interpolation=cv2.INTER_CUBIC,
    )
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    return cv2.remap(
        mask,
        x + field[..., 0],
        y + field[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _grown(mask: NDArray[np.float32], pixels: float) -> NDArray[np.float32]:
    """Dilate by a number of pixels, or erode where it is negative."""
    radius = round(abs(pixels))
    if radius == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask, kernel) if pixels > 0 else cv2.erode(mask, kernel)


def _with_ellipse(
    mask: NDArray[np.float32], rng: np.random.Generator, value: float, size: float = 1.0
) -> NDArray[np.float32]:
    centre = _point_on_outline(mask, rng, 4.0)
    if centre is None:
        return mask
    axes = size * rng.uniform(4, 14, 2)
    drawn = mask.copy()
    cv2.ellipse(
        drawn, centre, (int(axes[0]), int(axes[1])), rng.uniform(0, 180), 0, 360, value, cv2.FILLED
    )
    return drawn


def _point_on_outline(
    mask: NDArray[np.float32], rng: np.random.Generator, deviation: float
) -> tuple[int, int] | None:
    """Return x, y of a point near the outline, in the canvas; None where there is no outline."""
    outline = cv2.morphologyEx(_binary(mask), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    ys, xs = np.nonzero(outline)
    if len(xs) == 0:
        return None
    i = rng.integers(len(xs))
    x, y = np.array([xs[i], ys[i]]) + rng.normal(0, deviation, 2)
    height, width = mask.shape
    return int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
