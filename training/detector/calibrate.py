# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Scores that mean what they say.

Training shows the second stage far more objects among its regions than the network's own proposals
hold, so its scores come out too high. One number added to the logit of "background" undoes that; it
changes no ranking within a class, so no average precision (Saerens et al. 2002: adjusting a
classifier to new a priori probabilities).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros import Segmenter
from training.detector.dataset import Photo
from training.detector.evaluate import correct

_BIASES = 'SecondStageBoxPredictor/ClassPredictor/biases'
_OFFSETS = np.linspace(-1.0, 5.0, 121)


def background_offset(
    segmenter: Segmenter, photos: Sequence[Photo], most_false: float = 0.0, progress: bool = True
) -> float:
    """Find what is to be added to the logit of "background".

    Args:
        segmenter: the model as trained, with a ``confidence_threshold`` of about 0.05.
        photos: annotated ones; several hundred, also some without any object. Better such as were
            not trained on: of those it is too certain.
        most_false: if not 0, the offset is at least what leaves this number of detections with a
            score over 0.5 per photo without any object.

    """
    scores, right, in_empty = [], [], []
    for photo in tqdm(photos, disable=not progress, unit='photo', mininterval=5):
        if not photo.complete:
            continue
        found = segmenter(photo.read(), masks=False)
        scores.append(found.scores)
        right.append(correct(found, [a for a in photo.annotations if not a.ignore]))
        if not photo.annotations:
            in_empty.append(found.scores)
    offset = fit_offset(np.concatenate(scores), np.concatenate(right))
    if most_false and in_empty:
        offset = max(offset, offset_for(np.concatenate(in_empty), most_false * len(in_empty)))
    return offset


def fit_offset(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Return the offset for which scores predict best (log loss) whether a detection is right.

    Args:
        scores: (N,), 0 to 1.
        right: bool (N,).

    Raises:
        ValueError: there are only right or only wrong detections, or none.

    """
    if right.all() or not right.any():
        raise ValueError(
            f'{int(right.sum())} of {len(right)} detections are right: scores can only be adjusted '
            'where some are and some are not. Train longer, or give more photos'
        )
    logits = _logits(scores)
    signs = np.where(right, 1.0, -1.0)
    losses = [np.logaddexp(0, -signs * (logits - offset)).mean() for offset in _OFFSETS]
    return float(_OFFSETS[int(np.argmin(losses))])


def offset_for(scores: NDArray[np.float32], most: float) -> float:
    """Return the least offset that leaves at most ``most`` detections with a score over 0.5.

    Args:
        scores: (N,), 0 to 1.
        most: a number of detections.

    """
    highest = np.sort(_logits(scores))[::-1]
    allowed = int(most)
    return float(highest[allowed]) if allowed < len(highest) else -np.inf


def _logits(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    logits: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return logits


def with_offset(
    arrays: Mapping[str, NDArray[np.float32]], offset: float
) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a network with the offset added to the logit of "background"."""
    biases = np.array(arrays[_BIASES])
    biases[0] += offset
    return {**arrays, _BIASES: biases}
