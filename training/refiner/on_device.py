# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batches that are put together on the device: a GPU learns from more than a loader can make.

The crops lie in the device's memory. Processes simulate coarse masks, 225 numbers each, and keep
a reservoir of them filled; scaling, colours and noise are done on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from instance_seg_ros.refinement.refiner_file import PASSES
from instance_seg_ros.refinement.smoother import CONTEXT
from training.refiner.loader import Batch
from training.refiner.reservoir import Drawn, Reservoir

if TYPE_CHECKING:
    from training.refiner.crops import Crop

_KEPT, _LEAST = 150_000, 512  # coarse masks in the reservoir, at most and to begin with


def device_batches(
    crops: Sequence[Crop],
    first_pass: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    steps: range,
    *,
    batch_size: int,
    second_pass: float,
    seed: int,
    processes: int,
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch); all samples are of the first pass's size.

    Args:
        crops: to draw from.
        first_pass: of the network as it is by then; image and coarse mask to probabilities.
        device: that holds the crops and the batches.
        steps: that are yielded.
        batch_size: of every step.
        second_pass: share of the samples that are for the second pass, parts of larger ones.
        seed: of all that is drawn; two runs differ all the same, as the processes' speed does.
        processes: that simulate.

    """
    reservoir = Reservoir(crops, processes, _KEPT, seed)
    try:
        store = ObjectStore(crops, device)
        generator = torch.Generator(device).manual_seed(seed)
        rng = np.random.default_rng(seed)
        reservoir.fill(_LEAST)
        for step in steps:
            reservoir.fill(0)
            drawn = reservoir.draw(batch_size, rng)
            small, large = store.samples(drawn, round(second_pass * batch_size), generator)
            shrunk = functional.avg_pool2d(large.image, PASSES[1] // PASSES[0])
            parts = windows(large, first_pass(shrunk, large.coarse), generator)
            yield step, Batch(*(torch.cat(both) for both in zip(small, parts, strict=True)))
    finally:
        reservoir.close()


class Samples(NamedTuple):
    """Image float32 (N, 3, S, S), RGB, 0 to 1; coarse and true masks float32 (N, 1, S, S)."""

    image: Tensor
    coarse: Tensor
    truth: Tensor


class ObjectStore:
    """Crops in the memory of a device.

    Args:
        crops: their images and masks, padded to the largest.
        device: that holds them.

    """

    def __init__(self, crops: Sequence[Crop], device: torch.device) -> None:
        side = max(max(crop.mask.shape) for crop in crops)
        pixels = np.zeros((len(crops), 4, side, side), np.uint8)
        for i, crop in enumerate(crops):
            height, width = crop.mask.shape
            pixels[i, :3, :height, :width] = crop.image[..., ::-1].transpose(2, 0, 1)
            pixels[i, 3, :height, :width] = 255 * crop.mask
        self.side = side
        self.pixels = torch.from_numpy(pixels).to(device)
        sizes = np.array([crop.mask.shape[::-1] for crop in crops], np.float32)
        self.sizes = torch.from_numpy(sizes).to(device)

    def samples(self, drawn: Drawn, second: int, generator: torch.Generator) -> list[Samples]:
        """Put a batch together.

        Args:
            drawn: coarse masks and their crops.
            second: how many, the last ones, are for the second pass.
            generator: of colours and noise, on the device.

        Returns:
            Samples of the first and of the second pass's size; the coarse masks of the latter are
            of the first pass's size still, the input of a first pass.

        """
        device = self.pixels.device
        rows = torch.from_numpy(drawn.rows).to(device)
        boxes = torch.from_numpy(drawn.boxes).to(device)
        cells = torch.from_numpy(drawn.coarse).to(device)[:, None]
        rois = _context_rois(boxes, self.sizes[rows])
        pixels = self.pixels[rows].float() / 255
        flips = torch.rand(len(rows), device=device, generator=generator) < 0.5
        side, fine = PASSES
        count = len(rows) - second
        coarse = _pasted(cells, boxes, _points(rois, side, flips))
        large = _sampled(pixels, _points(rois, fine, flips))
        direct = _sampled(pixels[:count], _points(rois[:count], side, flips[:count]))
        shrunk = functional.avg_pool2d(large[:count], fine // side)
        shrinks = (rois[:count, 2:].amax(1) > side).view(-1, 1, 1, 1)
        small = torch.where(shrinks, shrunk, direct)
        return [
            Samples(_recoloured(part[:, :3], generator), mask, part[:, 3:])
            for part, mask in ((small, coarse[:count]), (large[count:], coarse[count:]))
        ]


def windows(
    samples: Samples, first: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return parts, as large as the first pass's input, of samples of the second pass.

    Args:
        samples: of the second pass's size.
        first: result of the first pass for them, float32 (N, 1, S, S).
        generator: of the places.

    Returns:
        Image, coarse mask (a part of the first pass's result) and true mask.

    """
    side, fine = PASSES
    device = first.device
    coarse = functional.interpolate(first, size=(fine, fine), mode='bilinear', align_corners=False)
    stack = torch.cat([samples.image, coarse, samples.truth], 1).permute(0, 2, 3, 1)
    count = len(stack)
    corners = 16 * torch.randint(
        0, (fine - side) // 16 + 1, (2, count, 1), device=device, generator=generator
    )
    lines = torch.arange(side, device=device)[None]
    ys, xs = corners[0] + lines, corners[1] + lines
    numbers = torch.arange(count, device=device)[:, None, None]
    part = stack[numbers, ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2)
    return part[:, :3], part[:, 3:4], part[:, 4:]


def _context_rois(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Return x, y, width, height as smoother.context_rois does, in floats."""
    margins = CONTEXT * (boxes[:, 2:] - boxes[:, :2])
    low = torch.minimum((boxes[:, :2] - margins).floor().clamp(min=0), sizes - 1)
    high = torch.minimum(torch.maximum((boxes[:, 2:] + margins).ceil(), low + 1), sizes)
    return torch.cat([low, high - low], 1)


def _points(rois: Tensor, side: int, flips: Tensor) -> Tensor:
    """Centres of a roi's pixels when it is scaled to a square, float32 (N, 2, side): x, then y."""
    line = ((torch.arange(side, device=rois.device) + 0.5) / side).expand(len(rois), side)
    steps = torch.stack([torch.where(flips[:, None], 1 - line, line), line], 1)
    return rois[:, :2, None] + rois[:, 2:, None] * steps


def _grid(points: Tensor) -> Tensor:
    """Of every column and row, as grid_sample takes it."""
    count, _, side = points.shape
    x = points[:, 0, None, :].expand(count, side, side)
    y = points[:, 1, :, None].expand(count, side, side)
    return torch.stack([x, y], 3)


def _sampled(pixels: Tensor, points: Tensor) -> Tensor:
    # Pixels beyond the roi take no part, as where cv2.resize gets the roi alone.
    low, high = points.amin(2, keepdim=True), points.amax(2, keepdim=True)
    points = torch.maximum(torch.minimum(points, high.ceil() - 0.5), low.floor() + 0.5)
    return functional.grid_sample(
        pixels, _grid(points) * (2 / pixels.shape[-1]) - 1, align_corners=False
    )


def _pasted(cells: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
    low, high = boxes[:, :2, None], boxes[:, 2:, None]
    places = 2 * (points - low) / (high - low) - 1
    mask = functional.grid_sample(cells, _grid(places), padding_mode='border', align_corners=False)
    inside = (places.abs() <= 1).float()
    return mask * inside[:, 1, None, :, None] * inside[:, 0, None, None, :]


def _recoloured(image: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, tint, sharpness, noise, as loader.py does, and gray some."""
    count, device = len(image), image.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        size = (count, *shape) if shape else (count, 1, 1, 1)
        return low + (high - low) * torch.rand(size, device=device, generator=generator)

    def few(share: float) -> Tensor:
        return (between(0, 1) < share).float()

    recolour = few(0.85)
    mean = image.mean((1, 2, 3), keepdim=True)
    changed = (image - mean) * between(0.6, 1.4) + mean * between(0.65, 1.35)
    changed = changed * between(0.85, 1.15, 3, 1, 1)
    image = torch.lerp(image, changed, recolour)
    some = count // 4  # which ones does not matter: they were drawn at random
    image = torch.cat([_blurred(image[:some], between(0.4, 1.6).view(-1)[:some]), image[some:]])
    noise = torch.randn(image.shape, device=device, generator=generator)
    image = image + noise * between(0, 0.06) * few(0.35)
    gray = image.mean(1, keepdim=True).expand_as(image)
    return torch.lerp(image, gray, few(0.1)).clamp(0, 1)


def _blurred(image: Tensor, sigma: Tensor) -> Tensor:
    line = torch.arange(-4, 5, device=image.device)[None] / sigma[:, None]
    kernel = torch.softmax(-0.5 * line**2, 1).repeat_interleave(3, 0)[:, None]
    if not len(image):
        return image
    flat = image.reshape(1, -1, *image.shape[2:])
    flat = functional.pad(flat, (4, 4, 4, 4), mode='replicate')
    flat = functional.conv2d(flat, kernel[:, :, None, :], groups=len(kernel))
    flat = functional.conv2d(flat, kernel[:, :, :, None], groups=len(kernel))
    return flat.reshape(image.shape)
