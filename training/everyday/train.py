# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Trains the detector of everyday things on one GPU, photos and augmentation included.

    python -m training.everyday.train --labels labels.npz --photos part1.npz part2.npz \
        --backbone efficientnet-lite0-57934424.pth --teacher TEACHER_FOLDER --out OUT --minutes 9

The schedule goes by the clock: the learning rate is zero when the time is over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.everyday import losses
from training.everyday.graph import read_network
from training.everyday.losses import LossSettings, compute_losses
from training.everyday.network import (
    EverydayConfig,
    EverydayNetwork,
    anchor_boxes,
    load_imagenet,
    with_classes,
)
from training.everyday.pack import MASK_SIDE, LabelTable, unpack_photos
from training.everyday.scoring import score_photos
from training.everyday.teacher import ImitationHeads, Teacher, completed_labels
from training.everyday.views import IGNORED, OBJECT, Labels, ViewSettings, make_views

_PERSON = 0
_GRAPH_NUMBERS = 90  # classes of the shipped graph, COCO's gaps among them
_HELD_OUT = 8, 5  # image id modulo the one is the other


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(options.seed)
    Run(options, device).train()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--labels', type=Path, required=True)
    add('--photos', type=Path, nargs='+', required=True)
    add('--backbone', type=Path, help='ImageNet weights; from scratch without')
    add('--teacher', type=Path, help='folder of yolox-nano.param and .bin; none without')
    add('--out', type=Path, required=True)
    add('--name', default='everyday')
    add('--minutes', type=float, default=9)
    add('--batch', type=int, default=96)
    add('--side', type=int, default=448)
    add('--learning-rate', type=float, default=2e-3)
    add(
        '--backbone-rate',
        type=float,
        default=0.3,
        help='share of the learning rate; 0 with --init leaves it as it is',
    )
    add('--weight-decay', type=float, default=0.03)
    add('--averaging', type=float, default=0.998)
    add('--imitation', type=float, default=1.0, help="weight of the teacher's features")
    add('--dense', type=float, default=0.5, help="weight of the teacher's class scores")
    add('--init', type=Path, help='frozen graph to go on from, as models/everyday_mask_rcnn.pb')
    add('--checks', type=int, default=4, help='times that the held-out photos are looked at')
    add('--compile', action='store_true')
    add('--steps', type=int, help='at most so many, for a try')
    add('--most-photos', type=int, help='at most so many, for a try')
    add('--teacher-batch', type=int, default=64)
    add('--seed', type=int, default=0)
    return parser


def padded_labels(table: LabelTable, room: int) -> tuple[Labels, Tensor]:
    """Labels of all photos, at most ``room`` objects each, and the table of masks."""
    count = len(table.image_ids)
    order = np.argsort(table.photo, kind='stable')
    photo = table.photo[order]
    place = np.arange(len(photo)) - np.searchsorted(photo, photo)
    fits = place < room
    order, photo, place = order[fits], photo[fits], place[fits]
    rows = np.cumsum(table.has_mask) - 1

    def filled(values: np.ndarray, default: Any) -> Tensor:
        full = np.full((count, room, *values.shape[1:]), default, values.dtype)
        full[photo, place] = values[order]
        return torch.from_numpy(full)

    boxes = filled(table.box, 0)
    labels = Labels(
        boxes=boxes,
        whole=boxes.clone(),
        category=filled(table.category.astype(np.int64), 0),
        kind=filled(np.where(table.crowd, IGNORED, OBJECT).astype(np.int64), 0),
        weight=filled(np.ones(len(table.photo), np.float32), 0),
        mask=filled(np.where(table.has_mask, rows, -1).astype(np.int64), -1),
        flipped=filled(np.zeros(len(table.photo), bool), False),
        known=torch.from_numpy(table.complete.copy()),
    )
    bits = np.unpackbits(table.mask[table.has_mask], axis=1)
    return labels, torch.from_numpy(bits.reshape(-1, 1, MASK_SIDE, MASK_SIDE))


def rarity(labels: Labels, index: Tensor) -> Tensor:
    """How often photos (N,) are drawn: more, the rarer the rarest of their classes is."""
    categories = labels.known.shape[1]
    objects = (labels.kind[index] == OBJECT).float() * labels.weight[index]
    present = torch.zeros(len(index), categories, device=index.device)
    present.scatter_reduce_(1, labels.category[index], objects, 'amax')
    share = present.sum(0).clamp(min=1) / len(index)
    factor = (0.04 / share).sqrt().clamp(min=1, max=6)
    return (present * factor).amax(1).clamp(min=0.7)


class Run:
    """One training."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.begin = time.monotonic()
        self.log = (options.out / f'{options.name}.log').open('w', buffering=1)
        table = LabelTable.load(options.labels)
        photos, sizes = unpack_photos(options.photos, options.most_photos)
        self.say(f'{len(photos)} photos decoded')
        known = len(photos)
        self.photos = torch.from_numpy(photos).to(device).permute(0, 3, 1, 2).contiguous()
        self.sizes = torch.from_numpy(sizes).to(device)
        labels, masks = padded_labels(table, 64)
        self.masks = masks.to(device)
        self.labels = labels.to(device)[torch.arange(known, device=device)]
        ids = torch.from_numpy(table.image_ids[:known]).to(device)
        shares = torch.from_numpy(table.share[:known]).to(device)
        held = ids % _HELD_OUT[0] == _HELD_OUT[1]
        self.held = (held & self.labels.known.all(1)).nonzero()[:, 0]
        self.train_index = (~held).nonzero()[:, 0]
        self.exhaustive = self.labels.known.all(1)
        self.teacher = None
        if options.teacher is not None:
            self.teacher = Teacher(
                options.teacher / 'yolox-nano.param', options.teacher / 'yolox-nano.bin', device
            )
            self._complete_labels()
        self.say(f'{len(self.train_index)} photos to train on, {len(self.held)} held out')
        weights = rarity(self.labels, self.train_index)
        self.weights = weights * shares[self.train_index]
        self.whole = self.labels.known[self.train_index].all(1)
        classes = self.labels.known.shape[1]
        self.network = self._first_network(classes).to(device)
        self.imitation = ImitationHeads(self.network.config.channels, classes).to(device)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(options.averaging), use_buffers=True
        )
        self.generator = torch.Generator(device).manual_seed(options.seed)

    def _first_network(self, classes: int) -> EverydayNetwork:
        options = self.options
        if options.init is not None:
            network = read_network(options.init, EverydayConfig(num_classes=_GRAPH_NUMBERS))
            if not options.backbone_rate:
                network.stem.requires_grad_(False)
                network.blocks.requires_grad_(False)
            return with_classes(network, classes)
        network = EverydayNetwork(EverydayConfig(num_classes=classes))
        if options.backbone is not None:
            state = torch.load(options.backbone, map_location='cpu', weights_only=True)
            load_imagenet(network, state)
        return network

    def say(self, text: str) -> None:
        line = f'{time.monotonic() - self.begin:7.1f} s  {text}'
        print(line, flush=True)
        self.log.write(line + '\n')

    def _complete_labels(self) -> None:
        """Add what the teacher sees to the photos to train on; the others stay as they are."""
        assert self.teacher is not None
        options, index = self.options, self.train_index
        index = index[~self.labels.known[index].all(1)]
        before = int((self.labels.kind[index] == OBJECT).sum())
        completed = completed_labels(
            self.teacher,
            self.photos[index],
            self.sizes[index],
            self.labels[index],
            64,
            options.teacher_batch,
        )
        for name, value in vars(completed).items():
            getattr(self.labels, name)[index] = value
        after = int((self.labels.kind[index] == OBJECT).sum())
        unsure = int((self.labels.kind[index] == IGNORED).sum())
        self.say(f'teacher: {before} objects became {after}, {unsure} ignored')

    def optimizer(self) -> torch.optim.Optimizer:
        fused = self.device.type == 'cuda'
        return torch.optim.AdamW(self._parameter_groups(), self.options.learning_rate, fused=fused)

    def _compile(self) -> None:
        """Fuse the assignment of anchors, a tenth of the time; as it was where that fails."""
        plain = losses.assign_anchors
        losses.assign_anchors = torch.compile(plain, dynamic=False)
        try:
            _, labels = self.batch(0.0)
            side = self.options.side // 8
            references = anchor_boxes(self.network.config, side, side).to(self.device)
            known = plain(references, labels, LossSettings())
            got = losses.assign_anchors(references, labels, LossSettings())
            wrong = (known[0] != got[0]) | (known[1] != got[1])
            wrong = wrong | (known[0] & (known[2] != got[2])) | ((known[3] - got[3]).abs() > 0.05)
            if wrong.float().mean() > 1e-3:
                raise ValueError('compiled, the assignment of anchors is another')
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            losses.assign_anchors = plain
            self.say(f'not compiled: {str(error)[:300]}')
        else:
            self.say('compiled')

    # ---- the loop
    def train(self) -> None:
        options = self.options
        optimizer = self.optimizer()
        if options.compile:
            self._compile()
        seconds = options.minutes * 60
        start = time.monotonic()
        step, next_check, next_word, seen_at = 0, 1, 0.0, (0, start)
        sums: dict[str, Tensor] = {}
        while True:
            progress = (time.monotonic() - start) / seconds
            if options.steps is not None:
                progress = max(progress, step / options.steps)
            if progress >= 1:
                break
            rate = min(1.0, max((step + 1) / 200, 10 * progress)) * (
                0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
            )
            for group in optimizer.param_groups:
                group['lr'] = options.learning_rate * group['share'] * rate
            parts = self.step(optimizer, progress)
            if not sums:
                sums = {name: torch.zeros((), device=self.device) for name in parts}
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) * 0.95 + value.detach() * 0.05
            self.average.update_parameters(self.network)
            step += 1
            now = time.monotonic()
            if now - start >= next_word or step in (1, 10, 30):
                speed = (step - seen_at[0]) * options.batch / max(now - seen_at[1], 1e-6)
                seen_at, next_word = (step, now), now - start + 15
                scale = 1 - 0.95 ** min(step, 1000)
                words = ' '.join(f'{k} {float(v) / scale:.3f}' for k, v in sums.items())
                self.say(f'step {step} {progress:.3f} {speed:.0f}/s {words}')
                if not all(math.isfinite(float(v)) for v in sums.values()):
                    raise ValueError('the training diverged')
            if options.checks and progress >= next_check / (options.checks + 1):
                next_check += 1
                self._check(step, progress)
        self.say(f'{step} steps, {step * options.batch} views')
        self._save()
        self._check(step, 1.0, thorough=True)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        named = [*self.network.named_parameters(), *self.imitation.named_parameters()]
        for name, parameter in named:
            if not parameter.requires_grad:
                continue
            share = self.options.backbone_rate if name.startswith(('stem', 'blocks')) else 1.0
            decay = self.options.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
        return [
            {'params': parameters, 'share': share, 'weight_decay': decay}
            for (share, decay), parameters in groups.items()
        ]

    def step(self, optimizer: torch.optim.Optimizer, progress: float) -> dict[str, Tensor]:
        images, labels = self.batch(progress)
        with self.mixed():
            vision = None if self.teacher is None else self.teacher(images)
            if self.device.type == 'cuda':
                # Depthwise convolutions are four times as fast so. The weights stay as they are.
                images = images.contiguous(memory_format=torch.channels_last)
            levels = self.network.levels(images)
            parts = compute_losses(
                self.network, levels, labels, self.masks, LossSettings(), self.generator
            )
            if vision is not None:
                imitation, dense = self.imitation.losses(levels, vision)
                parts['imitation'] = self.options.imitation * imitation
                parts['dense'] = self.options.dense * dense
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        nn.utils.clip_grad_norm_(parameters, 8.0)
        optimizer.step()
        return parts

    def batch(self, progress: float) -> tuple[Tensor, Labels]:
        count = self.options.batch
        drawn = torch.multinomial(self.weights, 4 * count, True, generator=self.generator)
        drawn = drawn.view(count, 4)
        if self.teacher is None:
            # Photos with and without all labels do not mix: one part would spoil the view.
            for whole in (True, False):
                rows = (self.whole[drawn[:, 0]] == whole).nonzero()[:, 0]
                weights = self.weights * (self.whole == whole)
                if len(rows):
                    drawn[rows, 1:] = torch.multinomial(
                        weights, 3 * len(rows), True, generator=self.generator
                    ).view(-1, 3)
        settings = ViewSettings(side=self.options.side, mosaic=0.5 if progress < 0.85 else 0.1)
        return make_views(
            self.photos, self.sizes, self.labels, self.train_index[drawn], settings, self.generator
        )

    def mixed(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == 'cuda')

    # ---- results
    def _check(self, step: int, progress: float, thorough: bool = False) -> None:
        network = self.average.module.eval()
        with self.mixed():
            found = score_photos(network, self.photos, self.sizes, self.labels, self.held)
        mean = float(np.nanmean(found))
        line: dict[str, Any] = {'step': step, 'progress': round(progress, 3), 'mean': mean}
        line |= {'person': float(found[_PERSON])}
        if thorough:
            line['all'] = [None if math.isnan(v) else round(float(v), 3) for v in found]
            part = self.train_index[:: max(len(self.train_index) // 400, 1)]
            part = part[self.exhaustive[part]]
            with self.mixed():
                seen = score_photos(network, self.photos, self.sizes, self.labels, part)
            line |= {'train_mean': float(np.nanmean(seen)), 'train_person': float(seen[_PERSON])}
        self.say('check ' + json.dumps(line))
        self._save()

    def _save(self) -> None:
        state = {
            k: v.half() if v.is_floating_point() else v
            for k, v in self.average.module.state_dict().items()
        }
        target = self.options.out / f'{self.options.name}.pt'
        torch.save(
            {'config': self.network.config.to_dict(), 'state': state}, target.with_suffix('.part')
        )
        target.with_suffix('.part').replace(target)


if __name__ == '__main__':
    main()
