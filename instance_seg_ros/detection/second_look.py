# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A detector that looks at every image twice, the second time at a smaller size.

Large objects are placed better where they are small. Scores and boxes are means of both looks, as
at tests of several scales elsewhere; what one look alone finds loses score.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.detections import Detections, Detector
from instance_seg_ros.detection.input_size import choose_input_size, match_padding, resize_image
from instance_seg_ros.detection.nms import suppress

SAME_OBJECT = 0.5  # intersection over union of two boxes of a class
# What one look alone finds counts as if the other had found it with this share of the score.
ALONE = 0.4


class SecondLook:
    """A detector in any engine, used twice. Threads may share it.

    Args:
        detector: that looks.
        scale: of the second look's image, relative to the first's.
        multiple: width and height of the second look's image are multiples of it, in pixels.

    Attributes:
        num_classes: foreground classes.
        mask_size: side of a mask.

    """

    def __init__(self, detector: Detector, scale: float, multiple: int) -> None:
        self._detector, self._scale, self._multiple = detector, scale, multiple
        self.num_classes, self.mask_size = detector.num_classes, detector.mask_size

    @property
    def engine(self) -> str:
        """Name of the engine, with what it runs on."""
        return self._detector.engine

    def detect(self, image_bgr: NDArray[np.uint8]) -> Detections:
        """Find boxes in an image.

        Args:
            image_bgr: uint8 (H, W, 3); the first look is at this size.

        Raises:
            ModelError: the engine cannot run the network any more.

        """
        height, width = image_bgr.shape[:2]
        longest = max(height, width) * self._scale
        size = choose_input_size((height, width), longest, 1.0, self._multiple)
        smaller = resize_image(image_bgr, match_padding(size, (width, height)))
        looks = [self._detector.detect(each) for each in (image_bgr, smaller)]
        rows = agreed_rows(looks[0].rows, looks[1].rows)
        return Detections(rows, [look.features for look in looks])

    def masks(self, detections: Detections, keep: NDArray[np.intp]) -> NDArray[np.float32]:
        """Mask probabilities of some detections, each of the look that found it.

        Args:
            detections: of :meth:`detect`.
            keep: their positions, int (K,).

        Returns:
            float32 (K, M, M) over each box, M being ``mask_size``.

        """
        masks = np.zeros((len(keep), self.mask_size, self.mask_size), np.float32)
        for look, features in enumerate(detections.features):
            of_look = np.flatnonzero(detections.rows[keep, 0] == look)
            if len(of_look):
                found = Detections(detections.rows, features)
                masks[of_look] = self._detector.masks(found, keep[of_look])
        return masks

    def layer_times(self) -> AbstractContextManager[dict[str, dict[str, float]]]:
        """Sum up milliseconds by layer of ``proposals``, ``boxes``, ``masks`` in the block."""
        return self._detector.layer_times()


def agreed_rows(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what two looks at an image find together.

    Args:
        first, second: rows as :class:`Detections` has them.

    Returns:
        Rows (N, 7), falling score, each object once: its score is the mean of both looks', or what
        it would be if one alone had found it, where that is more; its box is the mean weighted by
        the scores. In place of the image id stands the look, 0 or 1, of which the row is.

    """
    looks = [_beside(first, second, 0), _beside(second, first, 1)]
    rows = np.concatenate(looks)
    rows = rows[np.argsort(-rows[:, 2], kind='stable')]
    return rows[suppress(rows[:, 3:], rows[:, 1].astype(np.int32), SAME_OBJECT)]


def _beside(
    rows: NDArray[np.float32], others: NDArray[np.float32], look: int
) -> NDArray[np.float32]:
    """Return rows with the scores and boxes that they have beside those of the other look."""
    result = rows.copy()
    result[:, 0] = look
    score = rows[:, 2]
    other_score = np.zeros_like(score)
    if len(others) and len(rows):
        same = _overlaps(rows[:, 3:], others[:, 3:]) > SAME_OBJECT
        same &= rows[:, 1:2] == others[:, 1]
        scores = np.where(same, others[:, 2], 0)
        best = scores.argmax(1)
        other_score = scores.max(1)
        weight = (other_score / (score + other_score))[:, None]
        result[:, 3:] += weight * (others[best, 3:] - rows[:, 3:])
    result[:, 2] = (score + np.maximum(other_score, ALONE * score)) / 2
    return result


def _overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4) that have an area."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, 2:], b[:, 2:])
    both = np.maximum(high - low, 0).prod(2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b)]
    union: NDArray[np.float32] = areas[0][:, None] + areas[1] - both
    return both / union


__all__ = ['SecondLook', 'agreed_rows']
