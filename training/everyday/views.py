# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Augmented views of photos with their targets, made on the GPU from photos that stay there.

A view is a rectangle of grey with one photo, or parts of four, at random scales and places. Where
it is to be filled, photos are enlarged until they cover it, as they do in use. Nothing is rotated:
boxes stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

OBJECT, IGNORED = 1, 2
ANY_CATEGORY = -1
_GREY = 114.0


@dataclass
class Labels:
    """Objects of photos (N photos, G objects each) or of views (B, G), padded.

    Attributes:
        boxes: (., G, 4) fractions of the image; what of it can be seen.
        whole: (., G, 4) the same before anything was cut off: masks belong to it.
        category: (., G) int64; of an ignored region, which category may be there, or ANY_CATEGORY.
        kind: (., G) int64: 0 nothing, OBJECT, IGNORED.
        weight: (., G) how certain the object is.
        mask: (., G) int64 row of the table of masks, -1 for none.
        flipped: (., G) bool, whether the mask is to be read from right to left.
        known: (., K) bool, categories of which everything is labelled.
    """

    boxes: Tensor
    whole: Tensor
    category: Tensor
    kind: Tensor
    weight: Tensor
    mask: Tensor
    flipped: Tensor
    known: Tensor

    def __getitem__(self, index: Tensor) -> Labels:
        return Labels(**{name: value[index] for name, value in vars(self).items()})

    def of_image(self, number: int) -> Labels:
        """Return the labels of one image, padding at their end left off."""
        used = int((self.kind[number] != 0).nonzero().amax()) + 1 if self.kind[number].any() else 1
        return Labels(
            **{
                name: value[number : number + 1, : None if name == 'known' else used]
                for name, value in vars(self).items()
            }
        )

    def of_categories(self, categories: Sequence[int]) -> Labels:
        """Return the labels without the objects of other categories."""
        wanted = torch.tensor([*categories, ANY_CATEGORY], device=self.category.device)
        return replace(self, kind=torch.where(torch.isin(self.category, wanted), self.kind, 0))

    def to(self, device: torch.device) -> Labels:
        return Labels(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class ViewSettings:
    """How views are made.

    Attributes:
        side: longest side of the view, pixels, a multiple of 32.
        ratio: width of the view divided by its height.
        filled: photos are enlarged until no grey is seen.
        whole_sides: longest side of a photo that has a view for itself, pixels, low and high.
        part_sides: the same where four photos share a view.
        mosaic: share of views of four photos.
        stretch: largest change of the ratio of the sides, as a logarithm.
        least_visible: objects of which less is seen are ignored.
        least_side: the same for sides in pixels.
        objects: most objects of a view.
    """

    side: int = 448
    ratio: float = 1.0
    filled: bool = False
    whole_sides: tuple[float, float] = (304.0, 960.0)
    part_sides: tuple[float, float] = (208.0, 560.0)
    mosaic: float = 0.5
    stretch: float = 0.2
    least_visible: float = 0.3
    least_side: float = 5.0
    objects: int = 64

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the view in pixels, multiples of 32 as the network needs them."""
        shortest = round(self.side * min(self.ratio, 1 / self.ratio) / 32) * 32
        return (shortest, self.side) if self.ratio > 1 else (self.side, shortest)


def make_views(
    photos: Tensor,
    sizes: Tensor,
    labels: Labels,
    chosen: Tensor,
    settings: ViewSettings,
    generator: torch.Generator,
) -> tuple[Tensor, Labels]:
    """Make a batch of views.

    Args:
        photos: uint8 (N, 3, S, S), each at the top left.
        sizes: (N, 2) height and width of each in pixels.
        labels: of the photos.
        chosen: (B, 4) photos of each view; the first alone where it is no mosaic.
        settings: how.
        generator: of the device.

    Returns:
        Images float (B, 3, rows, columns) of ``settings.size``, 0 to 255, and their labels.

    """
    batch, device = len(chosen), photos.device
    rows, columns = settings.size

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (
            torch.rand(shape or (batch,), device=device, generator=generator) * (high - low) + low
        )

    mosaic = uniform(0, 1) < settings.mosaic
    centre_x = torch.where(mosaic, uniform(0.3, 0.7) * columns, float(columns)).round()
    centre_y = torch.where(mosaic, uniform(0.3, 0.7) * rows, float(rows)).round()
    images = torch.full((batch, 3, rows, columns), _GREY, device=device)
    at_x = torch.arange(columns, device=device) + 0.5
    at_y = torch.arange(rows, device=device) + 0.5
    parts = []
    for slot in range(4):
        index = chosen[:, slot]
        zero = torch.zeros_like(centre_x)
        x0, x1 = (zero, centre_x) if slot % 2 == 0 else (centre_x, zero + columns)
        y0, y1 = (zero, centre_y) if slot < 2 else (centre_y, zero + rows)
        low = torch.where(mosaic, settings.part_sides[0], settings.whole_sides[0]).log()
        high = torch.where(mosaic, settings.part_sides[1], settings.whole_sides[1]).log()
        longest = (low + uniform(0, 1) * (high - low)).exp()
        height, width = sizes[index].float().unbind(1)
        scale = longest / torch.maximum(height, width)
        stretch = (uniform(-1, 1) * settings.stretch / 2).exp()
        scale_x, scale_y = scale * stretch, scale / stretch
        if settings.filled:
            needed_x, needed_y = (x1 - x0) / (width * scale_x), (y1 - y0) / (height * scale_y)
            enlargement = torch.maximum(needed_x, needed_y).clamp(min=1)
            scale_x, scale_y = scale_x * enlargement, scale_y * enlargement
        left = _place(x0, x1, width * scale_x, uniform(0, 1))
        top = _place(y0, y1, height * scale_y, uniform(0, 1))
        flip = uniform(0, 1) < 0.5
        # Where each pixel of the view lies in the photo.
        u = (at_x[None] - left[:, None]) / scale_x[:, None]
        v = (at_y[None] - top[:, None]) / scale_y[:, None]
        seen_x = (u > 0) & (u < width[:, None]) & (at_x > x0[:, None]) & (at_x < x1[:, None])
        seen_y = (v > 0) & (v < height[:, None]) & (at_y > y0[:, None]) & (at_y < y1[:, None])
        u = torch.where(flip[:, None], width[:, None] - u, u)
        some = (x1 > x0) & (y1 > y0)
        views = some.nonzero()[:, 0] if slot else torch.arange(batch, device=device)
        if len(views):
            sampled = _of_photos(photos, index[views], u[views], v[views])
            seen = (seen_y[views][:, None, :, None]) & (seen_x[views][:, None, None, :])
            images[views] = torch.where(seen, sampled, images[views])
        window = torch.stack([x0, y0, x1, y1], 1)
        frame = torch.stack([left, top, width * scale_x, height * scale_y], 1)
        parts.append(_moved(labels[index], flip, frame, window, some, settings))
    return coloured(images, generator), _merged(parts, settings)


def _place(low: Tensor, high: Tensor, size: Tensor, share: Tensor) -> Tensor:
    """A place for something of that size: inside the window, or covering it."""
    return low + share * (high - low - size)


def sample(images: Tensor, x: Tensor, y: Tensor, padding: str = 'border') -> Tensor:
    """Images (R, C, H, W) at the columns x (R, m) and rows y (R, n), fractions of the images, as
    (R, C, n, m). ``padding`` is grid_sample's, for what is outside of them.
    """
    shape = len(images), y.shape[1], x.shape[1]
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1) * 2 - 1
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _of_photos(photos: Tensor, index: Tensor, u: Tensor, v: Tensor) -> Tensor:
    side = photos.shape[-1]
    return sample(photos[index].float(), u / side, v / side)


def mirrored(labels: Labels, flip: Tensor) -> Labels:
    """Return the labels of images, some of which are mirrored (N,)."""
    x1, y1, x2, y2 = labels.boxes.unbind(-1)
    boxes = torch.stack([1 - x2, y1, 1 - x1, y2], -1)
    boxes = torch.where(flip[:, None, None], boxes, labels.boxes)
    return replace(labels, boxes=boxes, whole=boxes, flipped=labels.flipped ^ flip[:, None])


def _moved(
    labels: Labels,
    flip: Tensor,
    frame: Tensor,
    window: Tensor,
    some: Tensor,
    settings: ViewSettings,
) -> Labels:
    """Labels of photos as they lie in the view (frame: left, top, width, height in pixels)."""
    labels = mirrored(labels, flip)
    x1, y1, x2, y2 = labels.boxes.unbind(-1)
    left, top, width, height = (value[:, None] for value in frame.unbind(1))
    whole = torch.stack(
        [left + x1 * width, top + y1 * height, left + x2 * width, top + y2 * height], -1
    )
    low, high = window[:, None, :2], window[:, None, 2:]
    seen = torch.cat(
        [
            torch.minimum(torch.maximum(whole[..., :2], low), high),
            torch.minimum(torch.maximum(whole[..., 2:], low), high),
        ],
        -1,
    )
    sides = seen[..., 2:] - seen[..., :2]
    share = sides.prod(-1) / (whole[..., 2:] - whole[..., :2]).prod(-1).clamp(min=1e-6)
    gone = (sides.min(-1).values < 1.5) | (share < 0.02) | ~some[:, None]
    small = (share < settings.least_visible) | (sides.min(-1).values < settings.least_side)
    kind = torch.where((labels.kind == OBJECT) & small, IGNORED, labels.kind)
    kind = torch.where(gone, 0, kind)
    rows, columns = settings.size
    extent = torch.tensor([columns, rows, columns, rows], device=seen.device)
    return replace(
        labels,
        boxes=seen / extent,
        whole=whole / extent,
        kind=kind,
        known=labels.known | ~some[:, None],
    )


def _merged(parts: list[Labels], settings: ViewSettings) -> Labels:
    joined = {
        name: torch.cat([getattr(part, name) for part in parts], 1)
        for name in vars(parts[0])
        if name != 'known'
    }
    count = min(settings.objects, joined['kind'].shape[1])
    order = (joined['kind'] == 0).int().argsort(dim=1, stable=True)[:, :count]
    cut = {
        name: value.gather(1, order if value.dim() == 2 else order[..., None].expand(-1, -1, 4))
        for name, value in joined.items()
    }
    known = torch.stack([part.known for part in parts]).all(0)
    return Labels(**cut, known=known & ~_left_out(joined, count, known.shape[1]))


def _left_out(joined: dict[str, Tensor], count: int, classes: int) -> Tensor:
    """Return (B, K), the classes of what a view has no room for."""
    used = joined['kind'] != 0
    beyond = used & (used.cumsum(1) > count)
    category = joined['category'][..., None]
    numbers = torch.arange(classes, device=beyond.device)
    of_class: Tensor = (category == numbers) | (category == ANY_CATEGORY)
    return (of_class & beyond[..., None]).any(1)


def coloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation, the balance of colours; a few become grey.

    Images are (B, 3, H, W), 0 to 255.
    """

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        shape = len(images), channels, 1, 1
        drawn = torch.rand(shape, device=images.device, generator=generator)
        return drawn * (high - low) + low

    x = images * draw(0.65, 1.35) * draw(0.9, 1.1, 3)
    x = (x - 118) * draw(0.65, 1.35) + 118
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]
    grey = (x * weights).sum(1, keepdim=True)
    saturation = draw(0.5, 1.5) * (draw(0, 1) > 0.05)
    return (grey + (x - grey) * saturation).clamp(0, 255)


def whole_view(photos: Tensor, sizes: Tensor, index: Tensor, longest: int, side: int) -> Tensor:
    """Photos as they are used: longest side ``longest`` pixels, at the top left of a square of
    grey.
    """
    height, width = sizes[index].float().unbind(1)
    scale = longest / torch.maximum(height, width)
    pixels = torch.arange(side, device=photos.device) + 0.5
    u, v = pixels[None] / scale[:, None], pixels[None] / scale[:, None]
    sampled = _of_photos(photos, index, u, v)
    seen = (v < height[:, None])[:, None, :, None] & (u < width[:, None])[:, None, None, :]
    return torch.where(seen, sampled, _GREY)


def mask_targets(
    masks: Tensor, rows: Tensor, flipped: Tensor, whole: Tensor, regions: Tensor, size: int
) -> Tensor:
    """Masks (R, size, size) of objects as seen in regions.

    Args:
        masks: (M, 1, s, s) uint8 table, each mask over its object's whole box.
        rows: (R,) rows of the table.
        flipped: (R,) bool.
        whole, regions: (R, 4).
        size: of the target.

    """
    steps = (torch.arange(size, device=regions.device) + 0.5) / size
    extent = (regions[:, 2:] - regions[:, :2])[:, None]
    points = regions[:, None, :2] + steps[None, :, None] * extent  # (R, size, 2)
    inside = (points - whole[:, None, :2]) / (whole[:, None, 2:] - whole[:, None, :2]).clamp(1e-6)
    x, y = inside.unbind(-1)
    x = torch.where(flipped[:, None], 1 - x, x)
    return sample(masks[rows].float(), x, y, 'zeros')[:, 0].clamp(0, 1)
