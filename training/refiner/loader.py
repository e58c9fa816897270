# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Training samples as a pure function of (seed, step): a resumed run sees what it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.refiner import resized
from instance_seg_ros.refinement.refiner_file import PASSES
from instance_seg_ros.refinement.smoother import context_rois
from training.refiner.crops import Crop
from training.refiner.simulate import FAMILIES, simulate

_DETECTED_SHARE = 0.5  # of the samples of an object that a detector has found


@dataclass
class Batch:
    """Samples of one step.

    Attributes:
        image: float32 (N, 3, S, S), RGB, 0 to 1.
        coarse: float32 (N, 1, S, S).
        truth: float32 (N, 1, S, S).
    """

    image: torch.Tensor
    coarse: torch.Tensor
    truth: torch.Tensor


class BatchMaker(Dataset):
    """Makes the batch of a step; runs in the loader's worker processes.

    Args:
        crops: to draw from.
        batch_size: of every step.
        second_pass: share of the steps whose samples are of the second pass's size.
        seed: of everything that is drawn.

    """

    def __init__(
        self, crops: Sequence[Crop], batch_size: int, second_pass: float, seed: int
    ) -> None:
        self.crops, self.batch_size = crops, batch_size
        self.second_pass, self.seed = second_pass, seed

    def __getitem__(self, step: int) -> tuple[int, Batch]:
        rng = np.random.default_rng((self.seed, step))
        side = PASSES[rng.random() < self.second_pass]
        chosen = rng.choice(len(self.crops), self.batch_size)
        samples = [sample(self.crops[i], side, rng) for i in chosen]
        image, coarse, truth = (np.stack(arrays) for arrays in zip(*samples, strict=True))
        return step, Batch(
            torch.from_numpy(image.transpose(0, 3, 1, 2)),
            torch.from_numpy(coarse[:, None]),
            torch.from_numpy(truth[:, None]),
        )


def sample(
    crop: Crop, side: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return image (S, S, 3) RGB 0 to 1, coarse mask (S, S) and true mask (S, S)."""
    box, coarse = _coarse_mask(crop, rng)
    roi = context_rois(box[None], *crop.mask.shape)[0]
    x, y, w, h = (int(v) for v in roi)
    window = slice(y, y + h), slice(x, x + w)
    parts = (
        _recoloured(resized(crop.image[window], side), rng),
        paste(coarse, box, (x, y), (w / side, h / side), (side, side), outside=False),
        resized(crop.mask[window].astype(np.float32), side),
    )
    if rng.random() < 0.5:
        return parts
    mirrored = [np.ascontiguousarray(part[:, ::-1]) for part in parts]
    return mirrored[0], mirrored[1], mirrored[2]


def _coarse_mask(
    crop: Crop, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a real detector's box and coarse mask where there is one, mostly simulated ones."""
    if crop.detected and rng.random() < _DETECTED_SHARE:
        return crop.detected[rng.integers(len(crop.detected))]
    names = list(FAMILIES)
    # Half of the samples are what a mask head usually gives; few have two errors at once.
    family = 'soft' if rng.random() < 0.35 else names[rng.integers(len(names))]
    second = names[rng.integers(len(names))] if rng.random() < 0.2 else ''
    return simulate(family, crop.image, crop.mask, crop.others, rng, second)


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    rgb = image[..., ::-1].astype(np.float32) / 255
    if rng.random() < 0.8:
        mean = rgb.mean()
        rgb = (rgb - mean) * rng.uniform(0.7, 1.35) + mean * rng.uniform(0.7, 1.3)
        rgb = rgb * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.2:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.3:
        rgb = rgb + rng.uniform(0, 0.05) * rng.standard_normal(rgb.shape, np.float32)
    if rng.random() < 0.1:
        rgb = np.repeat(rgb.mean(2, keepdims=True), 3, 2)
    return rgb.clip(0, 1).astype(np.float32)
