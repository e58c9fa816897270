# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Objects with masks pasted into views of other photos (copy-paste, Ghiasi et al. 2021, arXiv
2012.07177).

A photo in which only one cat is labelled says nothing of what else is there; the cat alone, in a
photo whose labels are complete, leaves these complete.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from training.everyday.views import IGNORED, OBJECT, Labels, sample


@dataclass(frozen=True)
class PasteSettings:
    """How objects are pasted.

    Attributes:
        share: of the views that get an object.
        sides: longest side of a pasted object as a share of the view's, low and high.
        least_pixels: objects whose longest side is shorter in their photo are not used.
        margin: objects that are nearer to the edge of their photo, as a share of it, are not used:
            they may be cut off.
        usable_below: share of an object's box that may be covered while its box is taken as right.
        gone_above: from this share on there is no object any more; in between it is ignored.
        mask_below: share of the box that may be covered while the mask is taken as right.
    """

    share: float = 0.0
    sides: tuple[float, float] = (0.1, 0.6)
    least_pixels: float = 48.0
    margin: float = 0.01
    usable_below: float = 0.3
    gone_above: float = 0.9
    mask_below: float = 0.05


@dataclass(frozen=True)
class Donors:
    """Objects that can be pasted, one row each.

    Attributes:
        photo: (D,) row of the photo.
        box: (D, 4) fractions of the photo.
        category, mask: (D,) its category and its row of the table of masks.
        weight: (D,) how often it is drawn: each category as often as any other, to the root.
    """

    photo: Tensor
    box: Tensor
    category: Tensor
    mask: Tensor
    weight: Tensor


def find_donors(labels: Labels, sizes: Tensor, index: Tensor, settings: PasteSettings) -> Donors:
    """Return the objects with masks of photos that are large enough and not cut off.

    Args:
        labels: of all photos.
        sizes: (N, 2) their heights and widths in pixels.
        index: the photos to take objects from.
        settings: which.
    """
    boxes = labels.boxes[index]
    height, width = sizes[index].float().unbind(1)
    extent = boxes[..., 2:] - boxes[..., :2]
    longest = (extent * torch.stack([width, height], 1)[:, None]).amax(-1)
    inside = (boxes[..., :2].amin(-1) > settings.margin) & (
        boxes[..., 2:].amax(-1) < 1 - settings.margin
    )
    usable = (labels.kind[index] == OBJECT) & (labels.mask[index] >= 0) & inside
    photo, slot = (usable & (longest >= settings.least_pixels)).nonzero(as_tuple=True)
    category = labels.category[index][photo, slot]
    counts = torch.bincount(category, minlength=1)
    return Donors(
        photo=index[photo],
        box=boxes[photo, slot],
        category=category,
        mask=labels.mask[index][photo, slot],
        weight=counts[category].float().rsqrt(),
    )


def paste_objects(
    images: Tensor,
    labels: Labels,
    photos: Tensor,
    sizes: Tensor,
    donors: Donors,
    masks: Tensor,
    settings: PasteSettings,
    generator: torch.Generator,
) -> tuple[Tensor, Labels]:
    """Paste one object into some of the views.

    Args:
        images: views (B, 3, rows, columns), 0 to 255.
        labels: of the views.
        photos: uint8 (N, 3, S, S), each at the top left.
        sizes: (N, 2) their heights and widths in pixels.
        donors: what is pasted.
        masks: table of masks (M, 1, s, s), 0 or 1.
        settings: how.
        generator: of the device.

    Returns:
        The views with the objects, and their labels: the objects that are pasted are added, those
        that they cover are ignored or left out.
    """
    device, batch = images.device, len(images)
    rows, columns = images.shape[2:]
    drawn = torch.rand(batch, device=device, generator=generator) < settings.share
    views = (drawn & (labels.kind == 0).any(1)).nonzero()[:, 0]
    if not len(views) or not len(donors.photo):
        return images, labels
    chosen = torch.multinomial(donors.weight, len(views), True, generator=generator)
    flipped = torch.rand(len(views), device=device, generator=generator) < 0.5
    view_size = torch.tensor([columns, rows], device=device)
    box = _places(donors.box[chosen], sizes[donors.photo[chosen]], view_size, settings, generator)
    pixels, alpha = _rendered(photos, sizes, donors, chosen, flipped, masks, box, view_size)
    images = images.clone()
    images[views] = torch.lerp(images[views], pixels, alpha)
    return images, _with_pasted(labels, views, donors, chosen, flipped, box, alpha[:, 0], settings)


def _places(
    box: Tensor,
    sizes: Tensor,
    view_size: Tensor,
    settings: PasteSettings,
    generator: torch.Generator,
) -> Tensor:
    """Boxes (R, 4) in fractions of the view, of the shape in pixels that the objects have in their
    photos. ``sizes`` (R, 2) are heights and widths, ``view_size`` is (width, height).
    """
    low, high = (math.log(value) for value in settings.sides)
    draw = torch.rand(3, len(box), device=box.device, generator=generator)
    shape = (box[:, 2:] - box[:, :2]) * sizes.flip(1)  # width and height in pixels
    wanted = (low + draw[0] * (high - low)).exp()
    # Enlarged more than twice, an object is a blur that no camera makes.
    scale = (wanted / (shape / view_size).amax(1)).clamp(max=2)
    extent = shape * scale[:, None] / view_size
    corner = draw[1:].T * (1 - extent)
    return torch.cat([corner, corner + extent], 1)


def _rendered(
    photos: Tensor,
    sizes: Tensor,
    donors: Donors,
    chosen: Tensor,
    flipped: Tensor,
    masks: Tensor,
    box: Tensor,
    view_size: Tensor,
) -> tuple[Tensor, Tensor]:
    """Pixels (R, 3, rows, columns) of the objects at their places, and how much of each is theirs
    (R, 1, rows, columns), for a view of ``view_size`` (width, height) pixels.
    """
    sides = view_size.tolist()
    at_x, at_y = ((torch.arange(side, device=box.device) + 0.5) / side for side in sides)
    x = (at_x[None] - box[:, :1]) / (box[:, 2:3] - box[:, :1])  # 0 to 1 inside the box
    y = (at_y[None] - box[:, 1:2]) / (box[:, 3:] - box[:, 1:2])
    inside = ((x > 0) & (x < 1))[:, None, :] & ((y > 0) & (y < 1))[:, :, None]
    x = torch.where(flipped[:, None], 1 - x, x)
    alpha = sample(masks[donors.mask[chosen]].float(), x, y) * inside[:, None]
    source, index = donors.box[chosen], donors.photo[chosen]
    share = sizes[index].flip(1) / photos.shape[-1]  # a photo fills the top left of its square
    x = (source[:, :1] + x * (source[:, 2:3] - source[:, :1])) * share[:, :1]
    y = (source[:, 1:2] + y * (source[:, 3:] - source[:, 1:2])) * share[:, 1:]
    return sample(photos[index].float(), x, y), alpha.clamp(0, 1)


def _with_pasted(
    labels: Labels,
    rows: Tensor,
    donors: Donors,
    chosen: Tensor,
    flipped: Tensor,
    box: Tensor,
    alpha: Tensor,
    settings: PasteSettings,
) -> Labels:
    """Labels of the views (B, G) with the objects that were pasted into the views ``rows``."""
    covered = torch.zeros_like(labels.weight)
    covered[rows] = _covered(labels.boxes[rows], alpha)
    kind = torch.where(
        (labels.kind == OBJECT) & (covered >= settings.usable_below), IGNORED, labels.kind
    )
    kind = torch.where(covered >= settings.gone_above, 0, kind)
    mask = torch.where(covered < settings.mask_below, labels.mask, -1)
    slot = (labels.kind[rows] == 0).int().argmax(1)  # the first that is free
    new = {
        'boxes': (labels.boxes, box),
        'whole': (labels.whole, box),
        'category': (labels.category, donors.category[chosen]),
        'kind': (kind, torch.full_like(slot, OBJECT)),
        'weight': (labels.weight, torch.ones_like(box[:, 0])),
        'mask': (mask, donors.mask[chosen]),
        'flipped': (labels.flipped, flipped),
    }
    changed = {}
    for name, (value, values) in new.items():
        changed[name] = value.clone()
        changed[name][rows, slot] = values
    return replace(labels, **changed)


def _covered(boxes: Tensor, alpha: Tensor) -> Tensor:
    """Share (R, G) of each box (R, G, 4) that is covered, by alpha (R, rows, columns)."""
    rows, columns = alpha.shape[1:]
    total = functional.pad(alpha.cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)
    x1, x2 = _cells(boxes[..., 0], boxes[..., 2], columns)
    y1, y2 = _cells(boxes[..., 1], boxes[..., 3], rows)

    def at(x: Tensor, y: Tensor) -> Tensor:
        return total.gather(1, y * (columns + 1) + x)

    area = ((x2 - x1) * (y2 - y1)).clamp(min=1)
    return (at(x2, y2) - at(x1, y2) - at(x2, y1) + at(x1, y1)) / area


def _cells(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """First cell and the one after the last, of ``count``, between fractions of all of them."""
    first, last = (low * count).floor().long(), (high * count).ceil().long()
    return first.clamp(0, count), last.clamp(0, count)
