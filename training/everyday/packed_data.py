# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Packed photos and their labels on the device of a training."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.everyday.pack import NAMES
from training.everyday.packed_labels import LABELS, MASK_SIDE, LabelTable
from training.everyday.packed_photos import photo_files, unpack_photos
from training.everyday.teacher import Teacher, completed_labels
from training.everyday.views import IGNORED, OBJECT, Labels

LOG = logging.getLogger(__name__)

_LEAST_ROOM, _MOST_ROOM = 64, 256  # objects of a photo that there is room for


class PackedData:
    """Photos, labels and which of them are trained on.

    Args:
        labels: file of labels.
        photos: files of photos, in the order of the labels.
        hold_out: N and K: photos whose id modulo N is K are not trained on; N is 0: all are.
        device: that holds them.
        most: photos that are read; None: all.

    Attributes:
        photos: uint8 (N, 3, S, S).
        sizes: int64 (N, 2), height and width.
        labels: of the photos.
        masks: uint8 (M, 1, 56, 56), what the labels' rows of masks refer to.
        shares: (N,) how often a photo is drawn, rarity of its classes apart.
        train_index, held: rows to train on; rows that are held out and labelled completely.
        exhaustive: bool (N,), of which photos all classes were labelled completely.
        room: objects that a photo has at most.

    Raises:
        ValueError: the files do not belong together, or nothing is left to train on.

    """

    def __init__(
        self,
        labels: Path,
        photos: Sequence[Path],
        hold_out: tuple[int, int],
        device: torch.device,
        most: int | None = None,
    ) -> None:
        table = LabelTable.load(labels)
        pixels, sizes = unpack_photos(photos, most)
        known = len(pixels)
        if known > len(table.image_ids) or (most is None and known < len(table.image_ids)):
            raise ValueError(
                f'{labels}: has the labels of {len(table.image_ids)} photos, but there are {known} '
                f'in {", ".join(map(str, photos))}. Give all files of one pack'
            )
        self.photos = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous()
        self.sizes = torch.from_numpy(sizes).to(device)
        self.room = min(max(_LEAST_ROOM, _most_objects(table)), _MOST_ROOM)
        padded, masks = padded_labels(table, self.room)
        self.masks = masks.to(device)
        self.labels = padded.to(device)[torch.arange(known, device=device)]
        self.shares = torch.from_numpy(table.share[:known]).to(device)
        self.exhaustive = self.labels.known.all(1)
        ids = torch.from_numpy(table.image_ids[:known]).to(device)
        held = torch.zeros_like(self.exhaustive)
        if hold_out[0]:
            held = ids % hold_out[0] == hold_out[1]
        self.held = (held & self.exhaustive).nonzero()[:, 0]
        self.train_index = (~held).nonzero()[:, 0]
        if not len(self.train_index):
            raise ValueError(f'{labels}: all photos are held out, none is left to train on')
        LOG.info(
            '%d photos decoded: %d to train on, %d held out and labelled completely',
            known,
            len(self.train_index),
            len(self.held),
        )

    def complete_labels(self, teacher: Teacher, batch: int) -> None:
        """Add what the teacher sees to the photos to train on; the others stay as they are.

        Raises:
            ValueError: the teacher knows another number of classes.
        """
        known, classes = teacher.count_classes(self.photos.device), self.labels.known.shape[1]
        if known != classes:
            raise ValueError(
                f'the teacher knows {known} classes and the pack has {classes}: expected the same '
                'ones in the same order'
            )
        index = self.train_index
        index = index[~self.labels.known[index].all(1)]
        if not len(index):
            return
        before = int((self.labels.kind[index] == OBJECT).sum())
        completed = completed_labels(
            teacher, self.photos[index], self.sizes[index], self.labels[index], self.room, batch
        )
        for name, value in vars(completed).items():
            getattr(self.labels, name)[index] = value
        after = int((self.labels.kind[index] == OBJECT).sum())
        unsure = int((self.labels.kind[index] == IGNORED).sum())
        LOG.info('teacher: %d objects became %d, %d ignored', before, after, unsure)


def files_of_pack(folder: Path) -> tuple[Path, list[Path]]:
    """Return the files of labels and of photos of a packed folder.

    Raises:
        ValueError: it is none.
    """
    labels, photos = folder / LABELS, photo_files(folder)
    if not labels.is_file() or not photos:
        raise ValueError(
            f'{folder}: lacks {LABELS} or photos. Expected a folder that training.everyday pack '
            'or merge wrote'
        )
    return labels, photos


def read_names(path: Path) -> dict[int, str]:
    """Return the category names of a pack by their ids.

    Raises:
        ValueError: the file is missing or of another form.
    """
    try:
        return {int(i): str(name) for i, name in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        raise ValueError(
            f'{path}: no such file. Give the {NAMES} that pack wrote beside the labels'
        ) from None
    except (ValueError, AttributeError):
        raise ValueError(f'{path}: expected a JSON mapping of category ids to names') from None


def _most_objects(table: LabelTable) -> int:
    return int(np.bincount(table.photo).max()) if len(table.photo) else 0


def padded_labels(table: LabelTable, room: int) -> tuple[Labels, Tensor]:
    """Labels of all photos, at most ``room`` objects each, and the table of masks.

    Of the classes of objects that there is no room for, a photo counts as labelled in part.
    """
    count = len(table.image_ids)
    order = np.argsort(table.photo, kind='stable')
    photo = table.photo[order]
    place = np.arange(len(photo)) - np.searchsorted(photo, photo)
    fits = place < room
    complete = table.complete.copy()
    if not fits.all():
        complete[photo[~fits], table.category[order[~fits]]] = False
        LOG.warning(
            '%d objects are left out: %d photos have more than %d',
            np.count_nonzero(~fits),
            len(np.unique(photo[~fits])),
            room,
        )
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
        known=torch.from_numpy(complete),
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
