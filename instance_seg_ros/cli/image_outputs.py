# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is written for an image beside the annotated one: its label map and its cut-outs."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.cli.journal import Journal
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.sources import ImageFile
from instance_seg_ros.cli.targets import CUTOUT_NAME, cutout_name, cutouts_target, label_map_target
from instance_seg_ros.errors import ImageError
from instance_seg_ros.instances import Instances

_SOFT = 2.0  # pixels inside the mask over which a cut-out fades


class ImageOutputs:
    """The label maps and cut-outs of a run, as far as the options want them.

    Args:
        options: of the command line.
        outputs: to write them with.
        journal: in which they are noted, so that a run that is started again replaces them.

    """

    def __init__(self, options: argparse.Namespace, outputs: Outputs, journal: Journal) -> None:
        self._options, self._outputs, self._journal = options, outputs, journal

    def targets(self, image: ImageFile) -> list[Path]:
        """Return where they go."""
        targets = []
        if self._options.label_maps:
            targets.append(label_map_target(self._options.output, image))
        if self._options.cutouts:
            targets.append(cutouts_target(self._options.output, image))
        return targets

    def plan(self, image: ImageFile) -> None:
        """Reserve their places; raises OutputError as Outputs.plan."""
        for target in self.targets(image):
            if self._journal.owns(target):
                self._outputs.own([target])
        if self._options.label_maps:
            target = label_map_target(self._options.output, image)
            self._outputs.plan(target, image.path)
        if self._options.cutouts:
            target = cutouts_target(self._options.output, image)
            self._outputs.plan_folder(target, image.path, CUTOUT_NAME)

    def write(self, image: ImageFile, pixels: NDArray[np.uint8], instances: Instances) -> None:
        """Write them.

        Args:
            image: the file.
            pixels: uint8 (H, W, 3), BGR, of the image.
            instances: that were found in it.

        """
        if self._options.label_maps:
            target = label_map_target(self._options.output, image)
            content = encoded(image.path, '.png', instances.label_image())
            with self._outputs.open(target) as beside:
                beside.write_bytes(content)
                self._journal.add_file(target, beside)
        if self._options.cutouts:
            target = cutouts_target(self._options.output, image)
            if len(instances):
                self._write_cutouts(image, target, pixels, instances)
            else:
                self._outputs.remove_folder(target)

    def _write_cutouts(
        self, image: ImageFile, target: Path, pixels: NDArray[np.uint8], instances: Instances
    ) -> None:
        with self._outputs.open_folder(target) as beside:
            for i, class_name in enumerate(instances.class_names):
                content = encoded(image.path, '.png', soft_cutout(pixels, instances, i))
                (beside / cutout_name(i + 1, class_name)).write_bytes(content)
            self._journal.add_file(target, beside)


def soft_cutout(image: NDArray[np.uint8], instances: Instances, i: int) -> NDArray[np.uint8]:
    """Return an instance without its background, with an edge that fades inside the mask.

    It does not fade outside, where the colours are those of the background, nor at the border of
    the image. Pixels that are wholly transparent are black.

    Args:
        image: uint8 (H, W, 3), BGR.
        instances: of this image.
        i: position of the instance.

    Returns:
        uint8 (h, w, 4) BGRA of the roi.

    """
    cutout = instances.cutout(image, i)
    inside = (cutout[..., 3] > 0).view(np.uint8)
    x, y, w, h = (int(value) for value in instances.rois[i])
    height, width = instances.image_size
    inside = _padded(inside, top=y > 0, bottom=y + h < height, left=x > 0, right=x + w < width)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    alpha = ((distance - 0.5) / _SOFT).clip(0, 1)
    cutout[..., 3] = np.rint(alpha * 255)
    cutout[cutout[..., 3] == 0] = 0
    return cutout


def _padded(
    mask: NDArray[np.uint8], *, top: bool, bottom: bool, left: bool, right: bool
) -> NDArray[np.uint8]:
    """Add a pixel at each side: of background where the image goes on, else of the same mask."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    padded[0] *= not top
    padded[-1] *= not bottom
    padded[:, 0] *= not left
    padded[:, -1] *= not right
    return np.asarray(padded, np.uint8)


def encoded(source: str | Path, suffix: str, image: NDArray[np.uint8 | np.uint16]) -> bytes:
    """Return an image as a file of the format that a suffix stands for.

    Raises:
        ImageError: the format takes no image of this size; the message names the source.

    """
    try:
        done, content = cv2.imencode(suffix, image)
    except cv2.error:
        done = False
    if not done:
        height, width = image.shape[:2]
        raise ImageError(f'{source}: an image of {width}x{height} cannot be written as {suffix}')
    return content.tobytes()
