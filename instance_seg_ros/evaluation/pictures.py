# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Small pictures of mistakes: the part of the photo, the object's outline, the detection's."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.evaluation.mistakes import Mistake, Outline

TRUE_COLOUR, FOUND_COLOUR = (233, 180, 86), (0, 159, 230)  # BGR, those of the report's legend
_SIDE = 300  # pixels of a picture
_MOST_ENLARGED = 4.0
_QUALITY = 80


def picture_of(image: NDArray[np.uint8], mistake: Mistake) -> str:
    """Return a JPEG picture of a mistake as a data URL, about 15 kB.

    Args:
        image: the photo, uint8 (H, W, 3), BGR.
        mistake: in this photo.

    """
    outlines = [each for each in (mistake.true, mistake.found) if each is not None]
    x1, y1, x2, y2 = _region(outlines, image.shape[1], image.shape[0])
    scale = min(_SIDE / max(x2 - x1, y2 - y1), _MOST_ENLARGED)
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = cv2.resize(image[y1:y2, x1:x2], size, interpolation=method)
    for outline, colour in ((mistake.true, TRUE_COLOUR), (mistake.found, FOUND_COLOUR)):
        if outline is not None:
            contours = [
                np.round((contour - (x1, y1) + 0.5) * scale).astype(np.int32)
                for contour in _contours(outline)
            ]
            cv2.drawContours(canvas, contours, -1, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.drawContours(canvas, contours, -1, colour, 2, cv2.LINE_AA)
    content = cv2.imencode('.jpg', canvas, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(content.tobytes()).decode('ascii')


def _region(outlines: list[Outline], width: int, height: int) -> tuple[int, int, int, int]:
    """Return x1, y1, x2, y2 of the part that shows the outlines and what is around them."""
    boxes = np.stack([each.box for each in outlines])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = max(16.0, 0.3 * float((high - low).max()))
    x1, y1 = np.clip(low - margin, 0, (width - 1, height - 1)).astype(int).tolist()
    x2, y2 = np.ceil(np.clip(high + margin, 1, (width, height))).astype(int).tolist()
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _contours(outline: Outline) -> list[NDArray[np.float64]]:
    """Return (N, 1, 2) points of each contour, in pixels of the photo."""
    if outline.rle is None:
        x1, y1, x2, y2 = outline.box.astype(float)
        return [np.array([[[x1, y1]], [[x2, y1]], [[x2, y2]], [[x1, y2]]])]
    from pycocotools import mask as coco_mask

    mask = coco_mask.decode(outline.rle)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour.astype(float) for contour in contours]
