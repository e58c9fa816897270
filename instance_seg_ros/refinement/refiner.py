# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The learned refiner: a network in onnxruntime that corrects coarse masks, coarse to fine.

Trained adversarially by training/refiner; docs/models.md describes the files that it takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ModelError
from instance_seg_ros.images import check_image
from instance_seg_ros.paths import given_path
from instance_seg_ros.refinement.interface import Refined
from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.refiner_file import MULTIPLE, REFINER, open_refiner, read_traits
from instance_seg_ros.refinement.smoother import context_rois, smooth
from instance_seg_ros.settings import CPU_PROVIDER

# A finer pass adds nothing for boxes whose longer side is below this share of the pass before: 96
# pixels after a pass at 128 (docs/models.md).
_WORTH_A_FINER_PASS = 0.75
_PERHAPS = 0.2  # of the object, as a probability; a pass moves outlines by less than the margin
_MARGIN = 16  # pixels around the object that a finer pass sees
_SMOOTHER_MS = 2.0  # put by for every instance that may be left to the smoother
_TOLERANCE = 1e-3  # of a probability
_FARTHEST = 2.0**24  # pixels from the image; beyond it float32 cannot distinguish two pixels


class MaskRefiner:
    """Corrects coarse masks by a network, in one or more passes of growing resolution.

    Threads may share it.

    Args:
        path: of the ONNX file. Inputs ``image`` float32 (n, 3, h, w), RGB, 0 to 1, and ``coarse``
            float32 (n, 1, h, w); output ``alpha`` float32 (n, 1, h, w), the last two
            probabilities; n, h and w free. See :class:`RefinerTraits` for its metadata.
        passes: largest number of passes if a call gives none; 0 for all that the model has.
        num_threads: of onnxruntime, 0 for all cores.
        providers: onnxruntime's execution providers, the preferred one first. One that is not
            there, or fails, is logged once, and the next one takes over.
        name: what it is called in results and logs; the path by default.

    Attributes:
        name: as given.
        traits: what the file says of itself.

    Raises:
        ModelError: onnxruntime is not installed, no provider works, or the file is missing or is
            not such a model.

    Examples:
        >>> refiner = MaskRefiner('models/mask_refiner.onnx', num_threads=2)
        >>> rois, alphas = refiner(image, instances.boxes, instances.coarse)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        passes: int = 0,
        num_threads: int = 0,
        providers: Sequence[str] = (CPU_PROVIDER,),
        name: str = '',
    ) -> None:
        self._passes = passes
        self.name = name or str(path)
        self._name = f'refiner {path}'
        self._sessions = open_refiner(given_path(path), self._name, num_threads, providers)
        self.traits = read_traits(self._sessions, self._name)
        # Expected milliseconds of a pass, by its side; updated with every measured pass.
        self._milliseconds = {side: self._probe(side) for side in self.traits.passes}

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self._sessions.provider

    def __call__(
        self, image_bgr: NDArray[np.uint8], boxes: NDArray[np.float32], coarse: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], Iterator[NDArray[np.float32]]]:
        """Sharpen masks without a time budget; see :meth:`refine`.

        Returns:
            Rois int32 (N, 4), x, y, width, height (they outgrow the boxes), and N probability
            maps float32 of their sizes, one at a time.
        """
        refined = self.refine(image_bgr, boxes, coarse)
        return refined.rois, refined.alphas

    def refine(
        self,
        image_bgr: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        coarse: NDArray[np.float32],
        *,
        passes: int = 0,
        budget_ms: float = 0.0,
    ) -> Refined:
        """Sharpen masks, the first ones first where time is short.

        Args:
            image_bgr: uint8 (H, W, 3), at least one pixel.
            boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, best first. They may lie partly or all
                outside the image.
            coarse: float32 (N, S, S), probabilities over each box; any S.
            passes: largest number of passes; 0 is the constructor's. The finer ones are only for
                boxes that are large enough.
            budget_ms: time for all instances together; 0 is no limit. Every instance gets the
                first pass before one gets the second; what there is no time for is left to the
                smoother.

        Returns:
            Rois, probabilities, and whether the network sharpened them: False where it was left
            to the smoother, and where the mask is left as it is, because the box is empty or
            outside the image or the coarse mask is not finite.

        Raises:
            ImageError: not such an image.
            ValueError: boxes or coarse masks of another shape, boxes that are not finite,
                coarse masks that are not from 0 to 1, or a number below 0.
        """
        deadline = time.perf_counter() + 1e-3 * budget_ms if budget_ms else float('inf')
        if passes < 0 or not budget_ms >= 0:
            raise ValueError(f'passes is {passes}, budget_ms is {budget_ms}: expected 0 or more')
        check_image(image_bgr)
        boxes, coarse = _checked(boxes, coarse)
        height, width = image_bgr.shape[:2]
        rois = context_rois(boxes, height, width, self.traits.context)
        usable = _usable(boxes, coarse, height, width)
        sharp = self._run_passes(
            image_bgr,
            boxes,
            coarse,
            rois,
            usable,
            passes or self._passes or len(self.traits.passes),
            deadline,
        )

        def alpha(i: int) -> NDArray[np.float32]:
            x, y, w, h = (int(v) for v in rois[i])
            if i in sharp:
                return cv2.resize(self._centred(sharp[i]), (w, h), interpolation=cv2.INTER_LINEAR)
            if usable[i]:
                return smooth(image_bgr, rois[i], boxes[i], coarse[i])
            return paste(np.nan_to_num(coarse[i]), boxes[i], (x, y), (1, 1), (h, w), outside=False)

        count = len(boxes)
        return Refined(
            rois,
            (alpha(i) for i in range(count)),
            np.array([i in sharp for i in range(count)], bool),
        )

    def _run_passes(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        coarse: NDArray[np.float32],
        rois: NDArray[np.int32],
        usable: NDArray[np.bool_],
        passes: int,
        deadline: float,
    ) -> dict[int, NDArray[np.float32]]:
        """Return the last pass's square result of every row that there was time for."""
        sharp: dict[int, NDArray[np.float32]] = {}
        rows = np.flatnonzero(usable).tolist()
        for number, side in enumerate(self.traits.passes[:passes]):
            if number:
                before = self.traits.passes[number - 1]
                longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
                rows = [i for i in rows if i in sharp and longer[i] > _WORTH_A_FINER_PASS * before]
            for i in rows:
                x, y, w, h = (int(v) for v in rois[i])
                if number:
                    mask = cv2.resize(sharp[i], (side, side), interpolation=cv2.INTER_LINEAR)
                    window = _window_of(mask)
                else:
                    step = w / side, h / side
                    size = side, side
                    mask = paste(coarse[i], boxes[i], (x, y), step, size, outside=False)
                    window = slice(0, side), slice(0, side)
                left_over = np.count_nonzero(usable) - len(sharp)
                share = mask[window].size / mask.size
                if not self._fits(side, share, deadline - 1e-3 * _SMOOTHER_MS * left_over):
                    return sharp
                seen = resized(image[y : y + h, x : x + w], side)[window]
                mask[window] = self._timed_pass(seen, mask[window], side)
                sharp[i] = mask
        return sharp

    def _fits(self, side: int, share: float, deadline: float) -> bool:
        """Whether there is time for a pass, or for a part of that share of its pixels."""
        if time.perf_counter() + 1e-3 * share * self._milliseconds[side] <= deadline:
            return True
        # The estimate sinks slowly, so the pass is tried again: the machine may have been busy.
        self._milliseconds[side] *= 0.99
        return False

    def _timed_pass(
        self, image: NDArray[np.uint8], coarse: NDArray[np.float32], side: int
    ) -> NDArray[np.float32]:
        started = time.perf_counter()
        alpha = self._pass(image, coarse)
        expected = self._milliseconds[side]
        # As if it had been the whole square.
        taken = 1e3 * (time.perf_counter() - started) * side**2 / coarse.size
        # A single slow pass counts as twice the expected time at most.
        self._milliseconds[side] = expected + 0.2 * (min(taken, 2 * expected) - expected)
        return alpha

    def _pass(self, image: NDArray[np.uint8], coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on a BGR image and mask; return a mask of that size."""
        rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None], np.float32)
        rgb /= np.float32(255)
        feed = {'image': rgb, 'coarse': np.ascontiguousarray(coarse[None, None])}
        (alpha,) = self._sessions.run(REFINER, feed, ['alpha'])
        return alpha[0, 0]

    def _centred(self, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move the odds so that the model's own threshold is at 0.5, where users expect it."""
        threshold = np.float32(self.traits.threshold)
        if threshold == 0.5:
            return alpha
        inside = alpha * (1 - threshold)
        return np.asarray(inside / (inside + (1 - alpha) * threshold), np.float32)

    def _probe(self, side: int) -> float:
        """Run the network once for its results and once for the milliseconds that it takes."""
        image = np.full((side, side, 3), 128, np.uint8)
        coarse = np.full((side, side), 0.5, np.float32)
        feed = {'image': np.full((1, 3, side, side), 0.5, np.float32), 'coarse': coarse[None, None]}
        try:
            (alpha,) = self._sessions.run(REFINER, feed, ['alpha'])
        except ModelError as error:
            raise ModelError(
                f'{error}. It fails at {side}x{side} pixels. Expected free n, h and w'
            ) from None
        fits = alpha.shape == (1, 1, side, side) and alpha.dtype == np.float32
        if not fits or not _are_probabilities(alpha):
            raise ModelError(
                f'{self._name}: alpha is {alpha.dtype} {alpha.shape} from {alpha.min():.3g} to '
                f'{alpha.max():.3g}: expected float32 (1, 1, {side}, {side}), probabilities'
            )
        started = time.perf_counter()
        self._pass(image, coarse)
        return 1e3 * (time.perf_counter() - started)


def _window_of(mask: NDArray[np.float32]) -> tuple[slice, slice]:
    """Where a finer pass has something to do: about the object, in steps that the network takes.

    All of a mask without an object.
    """
    inside = mask > _PERHAPS
    return _span(np.any(inside, axis=1)), _span(np.any(inside, axis=0))


def _span(occupied: Any) -> slice:
    where = np.flatnonzero(occupied)
    if len(where) == 0:
        return slice(0, len(occupied))
    low = max(0, int(where[0]) - _MARGIN) // MULTIPLE * MULTIPLE
    high = -(-min(len(occupied), int(where[-1]) + 1 + _MARGIN) // MULTIPLE) * MULTIPLE
    return slice(low, high)


def resized(array: NDArray[Any], side: int) -> NDArray[Any]:
    """Resize an image or a mask to (side, side), without moiré; as the network was trained."""
    shrinks = max(array.shape[:2]) > side
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(array, (side, side), interpolation=flag)


# ---- checks of the arguments
def _checked(
    boxes: NDArray[np.float32], coarse: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes, coarse = np.asarray(boxes, np.float32), np.asarray(coarse, np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes has the shape {boxes.shape}: expected (N, 4)')
    square = coarse.ndim == 3 and coarse.shape[1] == coarse.shape[2] > 0
    if not square or len(coarse) != len(boxes):
        raise ValueError(
            f'coarse has the shape {coarse.shape}: expected ({len(boxes)}, S, S), one square mask '
            'for every box'
        )
    if not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(1))[0])
        raise ValueError(f'boxes: row {row} is {boxes[row].tolist()}: expected pixels')
    finite = coarse[np.isfinite(coarse)]
    if finite.size and not _are_probabilities(finite):
        raise ValueError(
            f'coarse ranges from {finite.min():.3g} to {finite.max():.3g}: expected '
            'probabilities, 0 to 1'
        )
    boxes = boxes.clip(-_FARTHEST, _FARTHEST)
    return boxes, np.where(np.isfinite(coarse), coarse, np.float32('nan')).clip(0, 1)


def _usable(
    boxes: NDArray[np.float32], coarse: NDArray[np.float32], height: int, width: int
) -> NDArray[np.bool_]:
    """Whether there is something of an object to see: bool (N,)."""
    area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    inside = (boxes[:, :2] < (width, height)).all(1) & (boxes[:, 2:] > 0).all(1)
    return np.asarray(area & inside & np.isfinite(coarse).all((1, 2)))


def _are_probabilities(values: NDArray[np.float32]) -> bool:
    return bool((values >= -_TOLERANCE).all() and (values <= 1 + _TOLERANCE).all())
