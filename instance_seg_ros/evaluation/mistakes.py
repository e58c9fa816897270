# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The worst mistakes of a run: what they are, and which part of which photo shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.matching import IOU, PhotoMatch, match_photo
from instance_seg_ros.evaluation.run import Found, Run
from instance_seg_ros.evaluation.shapes import Rle
from instance_seg_ros.evaluation.truth import TrueObject, TruePhoto

_TOUCHES = 0.1  # IoU from which a box is badly placed, rather than somewhere else


@dataclass(frozen=True)
class Outline:
    """A box and, where it is known, a mask."""

    box: NDArray[np.float32]
    rle: Rle | None


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        photo: position of the photo.
        title: the class and how sure or how large.
        reason: what went wrong.
        badness: the larger, the worse; comparable within one kind.
        found, true: outlines of the detection and of the object, where there are such.
    """

    photo: int
    title: str
    reason: str
    badness: float
    found: Outline | None
    true: Outline | None


@dataclass
class Mistakes:
    """All mistakes of a run, the worst first.

    Attributes:
        false: detections over the operating score that are no object, the highest score first.
        missed: objects without such a detection, the largest first.
        masks: pairs of a detection and its object, the lowest IoU of their masks first.
    """

    false: list[Mistake] = field(default_factory=list)
    missed: list[Mistake] = field(default_factory=list)
    masks: list[Mistake] = field(default_factory=list)


def mistakes_of(
    photos: Sequence[TruePhoto], run: Run, names: dict[int, str], operating_score: float
) -> Mistakes:
    """Collect the mistakes of a run over photos.

    Args:
        photos: with their objects.
        run: over them.
        names: class id to name.
        operating_score: detections below it count as not made.

    """
    mistakes = Mistakes()
    for index, found in run.found.items():
        view = _PhotoView(index, photos[index], found, names, operating_score)
        mistakes.false += view.false()
        mistakes.missed += view.missed()
        mistakes.masks += view.masks()
    for each in (mistakes.false, mistakes.missed, mistakes.masks):
        each.sort(key=lambda mistake: -mistake.badness)
    return mistakes


class _PhotoView:
    """One photo with its objects and detections."""

    def __init__(
        self, index: int, photo: TruePhoto, found: Found, names: dict[int, str], score: float
    ) -> None:
        self._index, self._photo, self._found, self._names = index, photo, found, names
        self._match: PhotoMatch = match_photo(photo, found)
        self._score = score
        self._sure = (found.scores >= score) & ~self._match.ignored

    def false(self) -> list[Mistake]:
        found = self._found
        return [
            Mistake(
                self._index,
                f'{self._name(int(found.class_ids[i]))} {found.scores[i]:.2f}',
                self._why_false(int(i)),
                float(found.scores[i]),
                self._outline(int(i)),
                self._nearest(int(i)),
            )
            for i in np.flatnonzero(self._sure & (self._match.object_of < 0))
        ]

    def missed(self) -> list[Mistake]:
        hit = set(self._match.object_of[self._sure].tolist())
        height, width = self._photo.photo.size
        mistakes = []
        for k, each in enumerate(self._photo.objects):
            if k in hit or each.crowd or each.class_id not in self._photo.by_box:
                continue
            share = float(np.prod(each.box[2:] - each.box[:2])) / (height * width)
            reason, found = self._why_missed(k, each)
            title = f'{self._name(each.class_id)}, {100 * share:.2g} % of the photo'
            true = Outline(each.box, each.rle)
            mistakes.append(Mistake(self._index, title, reason, share, found, true))
        return mistakes

    def masks(self) -> list[Mistake]:
        mistakes = []
        for i in np.flatnonzero(self._sure & (self._match.object_of >= 0)):
            true = self._photo.objects[self._match.object_of[i]]
            if true.rle is None:
                continue
            iou = _mask_iou(self._found.rles[i], true.rle)
            name = self._name(true.class_id)
            mistakes.append(
                Mistake(
                    self._index,
                    f'{name} {self._found.scores[i]:.2f}',
                    f'IoU of the masks {iou:.2f}',
                    -iou,
                    self._outline(int(i)),
                    Outline(true.box, true.rle),
                )
            )
        return mistakes

    def _why_false(self, i: int) -> str:
        ious, k = self._match.ious[i], self._nearest_object(i)
        if k is None or ious[k] < _TOUCHES:
            return 'nothing of these classes is annotated here'
        near = self._photo.objects[k]
        if near.class_id != self._found.class_ids[i]:
            return f'here is annotated: {self._name(near.class_id)} (IoU {ious[k]:.2f})'
        if ious[k] >= IOU:
            return f'a second detection of one object (IoU {ious[k]:.2f})'
        return f'the box fits badly (IoU {ious[k]:.2f})'

    def _why_missed(self, k: int, each: TrueObject) -> tuple[str, Outline | None]:
        found = self._found
        unsure = np.flatnonzero(self._match.object_of == k)
        if unsure.size:
            i = int(unsure[0])
            return f'found with a score of {found.scores[i]:.2f} only', self._outline(i)
        ious = np.where(found.scores >= self._score, self._match.ious[:, k], 0.0)
        if not ious.size or ious.max() < _TOUCHES:
            return 'nothing was found here', None
        i = int(ious.argmax())
        if found.class_ids[i] != each.class_id:
            reason = f'taken for {self._name(int(found.class_ids[i]))} {found.scores[i]:.2f}'
            return reason, self._outline(i)
        if ious[i] >= IOU:
            return f'the detection here is another object (IoU {ious[i]:.2f})', self._outline(i)
        return f'the box fits badly (IoU {ious[i]:.2f})', self._outline(i)

    def _nearest_object(self, i: int) -> int | None:
        """Return the object that overlaps most with a detection; of two like ones, its class."""
        ious = self._match.ious[i]
        if not ious.size:
            return None
        same = np.array([o.class_id == self._found.class_ids[i] for o in self._photo.objects])
        return int((ious + 1e-3 * same).argmax())

    def _nearest(self, i: int) -> Outline | None:
        k = self._nearest_object(i)
        if k is None or self._match.ious[i, k] < _TOUCHES:
            return None
        return Outline(self._photo.objects[k].box, self._photo.objects[k].rle)

    def _outline(self, i: int) -> Outline:
        return Outline(self._found.boxes[i], self._found.rles[i])

    def _name(self, class_id: int) -> str:
        return self._names[class_id]


def _mask_iou(one: Rle, other: Rle) -> float:
    from pycocotools import mask as coco_mask

    return float(coco_mask.iou([one], [other], [0])[0, 0])
