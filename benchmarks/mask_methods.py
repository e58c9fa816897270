# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Ways to make a mask of a coarse one: what users could pick instead of the refiner.

They get the square crop that the network gets. Their settings are the best of 6 to 12 that were
tried for each, by boundary IoU, on objects of COCO photos that are not among those of the default
--hold-out, with coarse masks of six families.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.refinement.pasting import paste
from instance_seg_ros.refinement.refiner import MaskRefiner, resized
from instance_seg_ros.refinement.smoother import MaskSmoother, context_rois
from instance_seg_ros.rois import clip_rois

Image = NDArray[np.uint8]
Alpha = NDArray[np.float32]
# Image, box float32 (4,) and coarse mask (S, S) to ROI x, y, width, height and probabilities in it.
Method = Callable[[Image, NDArray[np.float32], Alpha], tuple[list[int], Alpha]]

PLAIN = 'bilinear'


@dataclass(frozen=True)
class Crop:
    """A box with its context, scaled to a square.

    Attributes:
        image: uint8 (S, S, 3), BGR.
        mask: float32 (S, S), the coarse mask in it.
    """

    image: Image
    mask: Alpha


def methods(
    model: Path | None, sides: tuple[int, ...] = (128,), threads: int = 1
) -> dict[str, Method]:
    """Return all methods that can run here, by name, the plain one first.

    Args:
        model: of the refiner; None leaves it out.
        sides: in pixels, that the crops of grabCut and DenseCRF are scaled to.
        threads: of the refiner.
    """
    found: dict[str, Method] = {
        PLAIN: _bilinear,
        'guided filter': _on_crop(_guided, 128),
        'fastGlobalSmoother': _on_crop(_fast_global, 128),
    }
    found |= {f'grabCut band, {side}': _on_crop(_grab_cut, side) for side in sides}
    if importlib.util.find_spec('pydensecrf') is not None:
        found |= {f'DenseCRF, {side}': _on_crop(_dense_crf, side) for side in sides}
    found['refiner smooth'] = _one(MaskSmoother())
    if model is not None:
        refiner = MaskRefiner(model, num_threads=threads)
        for passes in range(1, len(refiner.traits.passes) + 1):
            sizes = ' + '.join(str(side) for side in refiner.traits.passes[:passes])
            found[f'refiner gan, {sizes}'] = _one(
                MaskRefiner(model, passes=passes, num_threads=threads)
            )
    return found


def _one(refiner: MaskSmoother | MaskRefiner) -> Method:
    def method(image: Image, box: NDArray[np.float32], coarse: Alpha) -> tuple[list[int], Alpha]:
        rois, alphas = refiner(image, box[None], coarse[None])
        return rois[0].tolist(), next(iter(alphas))

    return method


def _bilinear(image: Image, box: NDArray[np.float32], coarse: Alpha) -> tuple[list[int], Alpha]:
    roi = clip_rois(box[None], *image.shape[:2])[0].tolist()
    x, y, w, h = roi
    return roi, paste(coarse, box, (x, y), (1, 1), (h, w), outside=True)


def _on_crop(sharpen: Callable[[Crop], Alpha], side: int) -> Method:
    def method(image: Image, box: NDArray[np.float32], coarse: Alpha) -> tuple[list[int], Alpha]:
        roi = context_rois(box[None], *image.shape[:2])[0].tolist()
        x, y, w, h = roi
        mask = paste(coarse, box, (x, y), (w / side, h / side), (side, side), outside=False)
        alpha = sharpen(Crop(resized(image[y : y + h, x : x + w], side), mask))
        return roi, cv2.resize(alpha, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32)

    return method


def _guided(crop: Crop) -> Alpha:
    """He et al. 2010."""
    return cv2.ximgproc.guidedFilter(crop.image, crop.mask, 6, 20.0).astype(np.float32)


def _fast_global(crop: Crop) -> Alpha:
    """Min et al. 2014."""
    return cv2.ximgproc.fastGlobalSmootherFilter(crop.image, crop.mask, 10.0, 8.0).astype(
        np.float32
    )


def _grab_cut(crop: Crop) -> Alpha:
    """Rother et al. 2004, free to move the outline by 1.5 % of the crop's side.

    With 3 %, it is worse than the plain mask.
    """
    inside = (crop.mask >= 0.5).astype(np.uint8)
    radius = max(1, round(0.015 * len(inside)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    labels = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(inside, disc) > 0] = cv2.GC_FGD
    labels[cv2.dilate(inside, disc) == 0] = cv2.GC_BGD
    if inside.all() or not inside.any():
        return crop.mask
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it clusters colours from random centres
    cv2.grabCut(crop.image, labels, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


def _dense_crf(crop: Crop) -> Alpha:
    """Kraehenbuehl and Koltun 2011."""
    from pydensecrf.densecrf import DenseCRF2D  # pip install pydensecrf2

    side = len(crop.mask)
    inside = crop.mask.clip(0.02, 0.98)
    crf = DenseCRF2D(side, side, 2)
    energy = -np.log(np.stack([1 - inside, inside])).reshape(2, -1)
    crf.setUnaryEnergy(np.ascontiguousarray(energy, np.float32))
    crf.addPairwiseGaussian(sxy=3, compat=1)
    crf.addPairwiseBilateral(
        sxy=0.05 * side, srgb=5, rgbim=np.ascontiguousarray(crop.image[..., ::-1]), compat=5
    )
    return np.array(crf.inference(5), np.float32)[1].reshape(side, side)
