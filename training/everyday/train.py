# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The detector of everyday things as a task of a training run, augmentation on the device included.

    python -m training.everyday train --packed PACKED --backbone efficientnet-lite0-57934424.pth \
        --teacher TEACHER_FOLDER --output OUT --minutes 9

The schedule goes by the clock: the learning rate is zero when the time is over.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from training.everyday import losses
from training.everyday.export import load_network
from training.everyday.graph import GRAPH_NUMBERS, read_network
from training.everyday.inherit import feature_error, inherit_heads
from training.everyday.losses import LossSettings, compute_losses, loss_names
from training.everyday.network import (
    FEATURE_STRIDE,
    EverydayConfig,
    EverydayNetwork,
    anchor_boxes,
    freeze_backbone,
    imagenet_variant,
    load_imagenet,
    with_classes,
    with_rows,
)
from training.everyday.packed_data import PackedData, rarity
from training.everyday.pasting import PasteSettings, find_donors, paste_objects
from training.everyday.scoring import score_photos
from training.everyday.teacher import ImitationHeads, Teacher
from training.everyday.views import Labels, ViewSettings, make_views
from training.run.loop import Run
from training.run.settings import RunOptions, RunSettings
from training.run.task import Task

LOG = logging.getLogger(__name__)

_RATIOS = (1.0, 4 / 3, 3 / 2, 3 / 4, 2 / 3)  # width over height of views that are filled
_FILLED_STRETCH = 0.1  # where a view is filled, what is stretched is cut off
_HEAD_STEPS, _HEAD_RATE = 60, 1e-2
_INHERITED_FROM = 16  # images that say what the norms of inherited layers are
_SCORED = 400  # photos that were trained on, to compare with those that were not


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Everything that decides what a run computes; a checkpoint resumes only under the same.

    Attributes:
        side: of the views, pixels.
        photo_sides: longest side of a photo that has a view for itself, pixels, low and high.
        part_sides: the same where four photos share a view.
        filled: views have the shapes of photos and no grey, as pictures have in use.
        backbone_rate: share of the learning rate for the backbone; 0: it stays as it is.
        imitation: weight of the error of the teacher's features.
        dense: weight of the error of the teacher's class scores.
        proposed: categories that the first stage proposes; empty: all.
        pasted: share of views that get an object of another photo.
        box_masks: regions of an image, on average, whose masks learn from boxes alone at most.
        matching: share of the time in which a network with inherited heads learns to make the
            features that they know, and nothing else.
    """

    minutes: float = 9.0
    batch_size: int = 96
    side: int = 448
    photo_sides: tuple[float, float] = ViewSettings.whole_sides
    part_sides: tuple[float, float] = ViewSettings.part_sides
    filled: bool = False
    learning_rate: float = 2e-3
    backbone_rate: float = 0.3
    weight_decay: float = 0.03
    warmup_steps: int = 200
    gradient_norm: float = 8.0
    imitation: float = 1.0
    dense: float = 0.5
    proposed: tuple[int, ...] = ()
    pasted: float = 0.0
    box_masks: int = 0
    matching: float = 0.0

    longest_warmup: ClassVar[float | None] = 0.1
    average_grows: ClassVar[bool] = False


Batch = tuple[Tensor, Labels]


class EverydayTask(Task[Batch]):
    """A Mask R-CNN on EfficientNet-Lite from photos that lie on the device.

    Args:
        data: photos and labels.
        settings: what to compute.
        options: where and how fast.
        network: makes the one to start from, for a number of classes, once the seed is set.
        teacher: that is imitated; None: none is.
        checks: times that the held-out photos are looked at.
        result: name of the file that the averaged network is written to, without ending.
        predecessor: trained network, with the same classes, whose heads are taken over; None: none.

    """

    name = 'a detector of everyday things'
    samples = 'views'
    settings: Settings

    def __init__(
        self,
        data: PackedData,
        settings: Settings,
        options: RunOptions,
        network: Callable[[int], EverydayNetwork],
        teacher: Teacher | None = None,
        checks: int = 0,
        result: str = 'everyday',
        predecessor: EverydayNetwork | None = None,
    ) -> None:
        super().__init__(settings, options)
        self.mixed_precision = options.mixed_precision or self.device.type == 'cuda'
        self.data, self.teacher = data, teacher
        self._checks, self._checked, self._result = checks, 0, result
        self._weights = rarity(data.labels, data.train_index) * data.shares[data.train_index]
        self._whole = data.labels.known[data.train_index].all(1)
        height, width = data.sizes[data.train_index].float().unbind(1)
        distances = (width / height).log()[:, None] - torch.tensor(_RATIOS).log().to(self.device)
        self._shapes = distances.abs().argmin(1)  # of the photos: the nearest of _RATIOS
        classes = data.labels.known.shape[1]
        self.network = network(classes).to(self.device)
        self._predecessor = None if predecessor is None else predecessor.to(self.device).eval()
        self.imitation = ImitationHeads(self.network.config.channels, classes).to(self.device)
        self.networks = {'network': self.network, 'imitation': self.imitation}
        self.optimizers = [
            torch.optim.AdamW(
                self._parameter_groups(), settings.learning_rate, fused=self.device.type == 'cuda'
            )
        ]
        self._generator = torch.Generator(self.device).manual_seed(settings.seed)
        self._losses = LossSettings(proposed=settings.proposed, box_masks=settings.box_masks)
        self._paste = PasteSettings(share=settings.pasted)
        self._donors = (
            find_donors(data.labels, data.sizes, data.train_index, self._paste)
            if settings.pasted
            else None
        )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        named = [*self.network.named_parameters(), *self.imitation.named_parameters()]
        for name, parameter in named:
            if not parameter.requires_grad:
                continue
            share = self.settings.backbone_rate if name.startswith(('stem', 'blocks')) else 1.0
            decay = self.settings.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
        return [
            {'params': parameters, 'share': share, 'weight_decay': decay}
            for (share, decay), parameters in groups.items()
        ]

    def compile(self) -> None:
        """Fuse the assignment of anchors, a tenth of the time; as it was where that fails."""
        plain = losses.assign_anchors
        losses.assign_anchors = torch.compile(plain, dynamic=False)
        try:
            images, labels = self._batch(0.0)
            rows, columns = (side // FEATURE_STRIDE for side in images.shape[2:])
            references = anchor_boxes(self.network.config, rows, columns).to(self.device)
            known = plain(references, labels, LossSettings())
            got = losses.assign_anchors(references, labels, LossSettings())
            wrong = (known[0] != got[0]) | (known[1] != got[1])
            wrong = wrong | (known[0] & (known[2] != got[2])) | ((known[3] - got[3]).abs() > 0.05)
            if wrong.float().mean() > 1e-3:
                raise ValueError('compiled, the assignment of anchors is another')
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            losses.assign_anchors = plain
            LOG.info('not compiled: %.300s', error)
        else:
            LOG.info('compiled')

    def fit_heads(self) -> None:
        """Fit the heads that imitate the teacher to a network that was trained before, which stays
        as it is: random heads would spoil it in the first steps.
        """
        if self.teacher is None:
            return
        optimizer = torch.optim.Adam(self.imitation.parameters(), _HEAD_RATE)
        for step in range(_HEAD_STEPS):
            optimizer.param_groups[0]['lr'] = _HEAD_RATE * (1 - step / _HEAD_STEPS)
            images, _ = self._batch(0.0)
            with self.precision():
                vision = self.teacher(images)
                with torch.no_grad():
                    levels = self.network.levels(images)
                losses = self.imitation.losses(levels, vision)
            optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).sum().backward()
            optimizer.step()
        LOG.info('errors of the fitted heads: %.2f, %.3f', *(float(x.detach()) for x in losses))

    def inherit_heads(self) -> None:
        """Take over the predecessor's layers behind the backbone.

        Raises:
            ValueError: it has other classes.
        """
        if self._predecessor is None:
            return
        images, _ = self._batch(0.0)
        copied = inherit_heads(self.network, self._predecessor, images[:_INHERITED_FROM])
        LOG.info('%d layers were taken over', len(copied))

    # ---- samples
    def batches(self, run: Run) -> Iterator[tuple[int, Batch]]:
        while run.progress() < 1:
            yield run.step, self._batch(run.progress())

    def _batch(self, progress: float) -> Batch:
        count, data = self.settings.batch_size, self.data
        ratio, weights = self._shape_of_batch()
        drawn = torch.multinomial(weights, 4 * count, True, generator=self._generator)
        drawn = drawn.view(count, 4)
        if self.teacher is None:
            # Photos with and without all labels do not mix: one part would spoil the view.
            for whole in (True, False):
                rows = (self._whole[drawn[:, 0]] == whole).nonzero()[:, 0]
                alike = weights * (self._whole == whole)
                if len(rows):
                    drawn[rows, 1:] = torch.multinomial(
                        alike, 3 * len(rows), True, generator=self._generator
                    ).view(-1, 3)
        settings = ViewSettings(
            side=self.settings.side,
            ratio=ratio,
            filled=self.settings.filled,
            stretch=_FILLED_STRETCH if self.settings.filled else ViewSettings.stretch,
            whole_sides=self.settings.photo_sides,
            part_sides=self.settings.part_sides,
            mosaic=0.5 if progress < 0.85 else 0.1,
            objects=data.room,
        )
        chosen = data.train_index[drawn]
        images, labels = make_views(
            data.photos, data.sizes, data.labels, chosen, settings, self._generator
        )
        if self._donors is not None:
            images, labels = paste_objects(
                images,
                labels,
                data.photos,
                data.sizes,
                self._donors,
                data.masks,
                self._paste,
                self._generator,
            )
        # Depthwise convolutions are faster so. The weights stay as they are.
        return images.contiguous(memory_format=torch.channels_last), labels

    def _shape_of_batch(self) -> tuple[float, Tensor]:
        """Return the ratio of the sides of a batch's views, and the weights of the photos (N,):
        those of about that shape alone are drawn, or much of the others would be cut off.
        """
        if not self.settings.filled:
            return 1.0, self._weights
        first = torch.multinomial(self._weights, 1, generator=self._generator)
        shape = self._shapes[first]
        return _RATIOS[int(shape)], self._weights * (self._shapes == shape)

    # ---- a step
    def losses(self, run: Run, step: int, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        with self.precision():
            vision = None if self.teacher is None else self.teacher(images)
            levels = self.network.levels(images)
            if self._predecessor is None:
                parts = self._detection_losses(levels, images, labels)
            else:
                parts = self._inherited_losses(run, levels, images, labels)
            if vision is not None:
                imitation, dense = self.imitation.losses(levels, vision)
                parts['imitation'] = self.settings.imitation * imitation
                parts['dense'] = self.settings.dense * dense
        return parts

    def _detection_losses(
        self, levels: tuple[Tensor, ...], images: Tensor, labels: Labels
    ) -> dict[str, Tensor]:
        return compute_losses(
            self.network, levels, labels, self.data.masks, self._losses, self._generator, images
        )

    def _inherited_losses(
        self, run: Run, levels: tuple[Tensor, ...], images: Tensor, labels: Labels
    ) -> dict[str, Tensor]:
        """Return the error of the predecessor's features at first, then the usual losses."""
        nothing = levels[0].new_zeros((), dtype=torch.float32)
        if run.progress() >= self.settings.matching:
            return self._detection_losses(levels, images, labels) | {'matching': nothing}
        assert self._predecessor is not None
        with torch.no_grad():
            wanted = self._predecessor.levels(images)
        parts = dict.fromkeys(loss_names(self._losses), nothing)
        return parts | {'matching': feature_error(levels, wanted)}

    def clipped(self) -> Iterable[nn.Parameter]:
        return [p for group in self.optimizers[0].param_groups for p in group['params']]

    # ---- results
    def after_step(self, run: Run) -> None:
        due = int(run.progress() * (self._checks + 1))
        if self._checked < due <= self._checks:
            self._checked = due
            self._check(run)

    def finish(self, run: Run) -> None:
        self._check(run, thorough=True)

    def _check(self, run: Run, thorough: bool = False) -> None:
        network = self._averaged(run)
        self._save(run, network)
        data = self.data
        line: dict[str, Any] = {'step': run.step, 'progress': round(run.progress(), 3)}
        scored = {'': data.held}
        if thorough:
            part = data.train_index[:: max(len(data.train_index) // _SCORED, 1)]
            scored['train_'] = part[data.exhaustive[part]]
        for prefix, index in scored.items():
            with self.precision():
                found = score_photos(network, data.photos, data.sizes, data.labels, index)
            line[f'{prefix}mean'] = float(np.nanmean(found)) if np.isfinite(found).any() else None
            line[f'{prefix}first_class'] = _number(found[0])
            if thorough and not prefix:
                line['all'] = [_number(v, 3) for v in found]
        LOG.info('check %s', json.dumps(line))

    def _averaged(self, run: Run) -> EverydayNetwork:
        network = copy.deepcopy(self.network)
        network.load_state_dict(run.average.state)
        return network.eval()

    def _save(self, run: Run, network: EverydayNetwork) -> None:
        state = {
            k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()
        }
        target = run.options.folder / f'{self._result}.pt'
        part = target.with_name(f'{target.name}.part')
        torch.save({'config': network.config.to_dict(), 'state': state}, part)
        part.replace(target)

    def state(self) -> dict[str, Any]:
        return {'generator': self._generator.get_state(), 'checked': self._checked}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state['generator'].cpu())
        self._checked = state['checked']


def _number(value: float, digits: int = 9) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def first_network(
    classes: int,
    init: Path | None,
    backbone: Path | None,
    *,
    frozen_blocks: int | None = 0,
    kept: Sequence[int] = (),
) -> EverydayNetwork:
    """Return the network that a run starts from.

    Args:
        classes: it is to know.
        init: frozen graph, or a run's averaged weights (.pt), to go on from; None: weights are
            drawn. Averaged weights of as many classes keep what they know of these.
        backbone: ImageNet weights, where there is no ``init``; they say which variant it is.
        frozen_blocks: number of the first blocks of ``init`` that stay as they are; None: all.
        kept: category ids of a frozen graph whose classes are kept; empty: it knows nothing yet of
            the classes.

    Raises:
        ValueError: ``init`` holds no such network, or lacks a category that is to be kept;
            ``frozen_blocks`` are more than there are; ``backbone`` is of no variant that is known.
        OSError: a file cannot be read.

    """
    if init is not None:
        if init.suffix == '.pt':
            network = load_network(init)
        else:
            network = read_network(init, EverydayConfig(num_classes=GRAPH_NUMBERS))
        if frozen_blocks != 0:
            freeze_backbone(network, frozen_blocks)
        if kept and init.suffix != '.pt':
            if max(kept) > GRAPH_NUMBERS:
                raise ValueError(
                    f'{init}: has the category ids 1 to {GRAPH_NUMBERS}, the pack has '
                    f'{max(kept)}: expected the ids of COCO'
                )
            return with_rows(network, kept)
        known = init.suffix == '.pt' and network.config.num_classes == classes
        return network if known else with_classes(network, classes)
    if backbone is None:
        return EverydayNetwork(EverydayConfig(num_classes=classes))
    state = torch.load(backbone, map_location='cpu', weights_only=True)
    try:
        variant = imagenet_variant(state)
    except ValueError as error:
        raise ValueError(f'{backbone}: {error}') from error
    network = EverydayNetwork(EverydayConfig(num_classes=classes, backbone=variant))
    load_imagenet(network, state)
    return network


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; the older name of ``python -m training.everyday train``."""
    from training.everyday.__main__ import main as command

    return command(['train', *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == '__main__':
    sys.exit(main())
