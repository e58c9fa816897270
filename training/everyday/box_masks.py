# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Losses of masks where only boxes are labelled (BoxInst, Tian et al. 2021, arXiv 2012.02310).

A mask fills its box from side to side and from top to bottom, there is nothing of it outside, and
neighbours of like colour belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.everyday.views import sample

_POOLED = 4  # colours are means of as many pixels, so that noise does not matter
_LIKE_COLOUR = 0.3  # as in the paper
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # the other four are the same pairs
# From linear RGB to XYZ, as shares of the white point D65 (IEC 61966-2-1).
_TO_XYZ = (
    (0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505),
    (0.2126, 0.7152, 0.0722),
    (0.0193 / 1.0890, 0.1192 / 1.0890, 0.9505 / 1.0890),
)


def box_mask_losses(
    logits: Tensor, regions: Tensor, boxes: Tensor, images: Tensor, image: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the losses of projection and of colour affinity, each a mean over the masks.

    Args:
        logits: of the masks (R, m, m) in their regions.
        regions: (R, 4) x1 y1 x2 y2 as fractions of the image.
        boxes: (R, 4) of their objects, the same.
        images: RGB (B, 3, H, W), 0 to 255.
        image: (R,) which of the images each region is in.
    """
    columns, rows = _inside(regions, boxes, logits.shape[-1])
    return projection_loss(logits, columns, rows), affinity_loss(
        logits, columns[:, None, :] & rows[:, :, None], _colours(images, image, regions, logits)
    )


def projection_loss(logits: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Dice loss of a mask's shadow along either axis and its box's, columns and rows (R, m), and
    cross entropy of the cells outside of the box.

    The paper has the shadows alone, which teach one cell of a row at a time. Here, where a region
    is not much larger than the box, the cells outside of it are what the colours start from.
    """
    scores = logits.sigmoid()
    wrong = _dice(scores.amax(1), columns.float()) + _dice(scores.amax(2), rows.float())
    outside = ~(columns[:, None, :] & rows[:, :, None])
    spilt = (functional.softplus(logits) * outside).sum() / outside.sum().clamp(min=1)
    return wrong.mean() + spilt


def affinity_loss(logits: Tensor, inside: Tensor, colours: Tensor) -> Tensor:
    """Negative logarithm of how likely neighbours of like colour are on the same side of the
    mask's edge.

    Args:
        logits: (R, m, m).
        inside: bool (R, m, m), cells in the object's box; pairs outside of it say nothing.
        colours: (R, 3, m, m) in CIE L*a*b*.
    """
    total, count = logits.new_zeros(()), logits.new_zeros(())
    on, off = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    for step in _NEIGHBOURS:
        (on_1, on_2), (off_1, off_2) = _pairs(on, step), _pairs(off, step)
        colour_1, colour_2 = _pairs(colours, step)
        inside_1, inside_2 = _pairs(inside, step)
        alike = (-0.5 * (colour_1 - colour_2).square().sum(1).sqrt()).exp() >= _LIKE_COLOUR
        used = alike & (inside_1 | inside_2)
        total = total - (torch.logaddexp(on_1 + on_2, off_1 + off_2) * used).sum()
        count = count + used.sum()
    return total / count.clamp(min=1)


def _inside(regions: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which columns and rows (R, size) of the regions' cells have their centres in the boxes."""
    steps = (torch.arange(size, device=regions.device) + 0.5) / size
    low, high = regions[:, :2, None], regions[:, 2:, None]
    centres = low + steps * (high - low)  # (R, 2, size)
    found = (centres > boxes[:, :2, None]) & (centres < boxes[:, 2:, None])
    return found[:, 0], found[:, 1]


def _dice(scores: Tensor, wanted: Tensor) -> Tensor:
    both = (scores * wanted).sum(1)
    return 1 - 2 * both / (scores.square().sum(1) + wanted.square().sum(1)).clamp(min=1e-6)


def _pairs(values: Tensor, step: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Views of values (..., m, m): every cell that has a neighbour there, and that neighbour."""
    down, right = step
    height, width = values.shape[-2] - down, values.shape[-1] - abs(right)
    left = max(-right, 0)
    first = values[..., :height, left : left + width]
    return first, values[..., down:, left + right : left + right + width]


@torch.no_grad()
def _colours(images: Tensor, image: Tensor, regions: Tensor, logits: Tensor) -> Tensor:
    """Colours (R, 3, m, m) of the cells of regions in CIE L*a*b*."""
    size = logits.shape[-1]
    pooled = lab(functional.avg_pool2d(images.float(), _POOLED))
    steps = (torch.arange(size, device=regions.device) + 0.5) / size
    points = (
        regions[:, None, :2] + steps[None, :, None] * (regions[:, 2:] - regions[:, :2])[:, None]
    )
    x, y = points.unbind(-1)  # (R, m)
    return sample(pooled[image], x, y)


def lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* (B, 3, H, W), L* 0 to 100, of sRGB images 0 to 255 (CIE 15:2004)."""
    value = (rgb / 255).clamp(0, 1)
    linear = torch.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    xyz = torch.einsum('ij,bjhw->bihw', torch.tensor(_TO_XYZ, device=rgb.device), linear)
    root = torch.where(
        xyz > (6 / 29) ** 3, xyz.clamp(min=1e-6) ** (1 / 3), xyz * 841 / 108 + 4 / 29
    )
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
