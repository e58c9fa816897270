# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Batches as a pure function of (seed, step): any step can be made again, so that a resumed run
sees what it would have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from training.detector.augment import Sample, Sampler
from training.detector.targets import Batch, Objects


@dataclass(frozen=True)
class BatchPlan:
    """What a step's batch is to be: ``long_side`` in pixels (a multiple of 32), with or without
    composites.
    """

    step: int
    long_side: int
    composites: bool


class BatchMaker(Dataset):
    """Makes the batch of a plan; runs in the loader's worker processes."""

    def __init__(self, sampler: Sampler, batch_size: int, seed: int) -> None:
        self.sampler, self.batch_size, self.seed = sampler, batch_size, seed
        wide = [photo.size[1] >= photo.size[0] for photo in sampler.photos]
        self.groups = [
            group for group in (np.flatnonzero(wide), np.flatnonzero(~np.array(wide))) if len(group)
        ]

    def __getitem__(self, plan: BatchPlan) -> tuple[int, Batch]:
        rng = np.random.default_rng((self.seed, plan.step))
        sizes = np.array([len(group) for group in self.groups])
        group = self.groups[rng.choice(len(self.groups), p=sizes / sizes.sum())]
        first = self.sampler.photos[group[0]].size
        size = _sample_size(plan.long_side, landscape=first[1] >= first[0])
        indices = rng.choice(group, self.batch_size, replace=len(group) < self.batch_size)
        samples = [self.sampler.sample(int(i), size, rng, plan.composites) for i in indices]
        return plan.step, collate(samples)


def _sample_size(long_side: int, landscape: bool) -> tuple[int, int]:
    """(height, width) of a 4:3 sample; mosaics need multiples of 32."""
    short = max(round(long_side * 0.75 / 32), 1) * 32
    return (short, long_side) if landscape else (long_side, short)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one size; boxes become fractions of the image."""
    height, width = samples[0].image.shape[:2]
    scale = np.array([width, height, width, height], np.float32)
    objects = [
        Objects(
            torch.from_numpy(s.boxes / scale),
            torch.from_numpy(s.classes),
            torch.from_numpy(s.masks),
            torch.from_numpy(s.has_mask),
            torch.from_numpy(s.ignored / scale),
            s.complete,
        )
        for s in samples
    ]
    return Batch(
        torch.from_numpy(np.stack([s.image.transpose(2, 0, 1) for s in samples])),
        objects,
        torch.from_numpy(np.stack([s.semantic for s in samples])),
        torch.from_numpy(np.stack([s.known.transpose(2, 0, 1) for s in samples])),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a batch."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, non_blocking=True)

    objects = [
        Objects(
            move(o.boxes),
            move(o.classes),
            move(o.masks),
            move(o.has_mask),
            move(o.ignored),
            o.complete,
        )
        for o in batch.objects
    ]
    images = move(batch.images).contiguous(memory_format=torch.channels_last)
    return Batch(images, objects, move(batch.semantic), move(batch.known))
