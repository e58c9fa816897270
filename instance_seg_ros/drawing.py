# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Instances drawn into their image: overlay, outline, box and caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.caption_layout import Rectangle, place_captions
from instance_seg_ros.caption_text import CaptionText
from instance_seg_ros.errors import ImageError
from instance_seg_ros.images import check_image
from instance_seg_ros.instances import Instances

Colour = tuple[int, int, int]

# BGR. The colours of Okabe and Ito (2008) and four of Paul Tol's muted scheme, which suit all kinds
# of colour vision. In this order each colour differs most from the next three, for readers with
# normal, red-, green- and blue-blind vision.
PALETTE: tuple[Colour, ...] = (
    (233, 180, 86),
    (0, 159, 230),
    (178, 114, 0),
    (119, 204, 221),
    (167, 121, 204),
    (51, 153, 153),
    (136, 34, 51),
    (115, 158, 0),
    (66, 228, 240),
    (0, 94, 213),
    (85, 34, 136),
)
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)

_KEYS = ('bbox', 'class_name', 'confidence', 'mask')  # of a mapping
_SMALLEST_TEXT = 6.0  # pixels of a capital; smaller ones cannot be read
_USUAL_TEXT = 8.0  # the smallest in an image that has room for it
_SMALL_IMAGE = 200  # pixels a side; wide lines and text would hide the little that there is


def draw_instances(
    frame: NDArray[Any],
    instances: Instances | Iterable[Mapping[str, Any]],
    alpha: float = 0.5,
    distances: Mapping[int, float] | None = None,
) -> NDArray[np.uint8]:
    """Draw every instance: coloured overlay, outline, box, class name, track id and confidence.

    The colour follows from the track id where there is one, so that an object keeps it from frame
    to frame, else from the position among the instances. Smaller instances lie on top of larger
    ones, the captions on top of all.

    Args:
        frame: uint8 (H, W, 3), BGR; stays as it is.
        instances: found in this frame; boxes only where they have no masks. Or a list of mappings
            with the keys ``bbox`` (x1, y1, x2, y2 in pixels), ``class_name``, ``confidence`` and
            ``mask`` ((H, W), 0 or 1, or None), as run_instance_segmentation returns it.
        alpha: opacity of the overlay, 0 (outline only) to 1.
        distances: metres, by the position of the instance, for the captions; of none by default.

    Returns:
        A new image, uint8 (H, W, 3), BGR.

    Raises:
        ImageError: the frame is not such an image, or not of the size that was segmented.
        TypeError: ``instances`` is neither; it may be one mapping where a list is expected.
        ValueError: alpha is out of range, or a mapping lacks a key.

    Examples:
        >>> drawn = draw_instances(image, instances, alpha=0.3)
        >>> drawn.shape
        (512, 512, 3)
        >>> written = cv2.imwrite('annotated.png', drawn)
    """
    check_image(frame, 'frame')
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0 <= alpha <= 1:
        raise ValueError(f'alpha is {alpha!r}: expected a number from 0 to 1')
    canvas = frame.copy()
    drawings = _drawings(frame, instances, distances or {})
    style = _Style.of_image(*frame.shape[:2])
    # Small instances on top: a large one would hide those in front of it.
    by_size = sorted(drawings, key=lambda drawing: drawing.area, reverse=True)
    _fill(canvas, frame, by_size, alpha)
    for drawing in by_size:
        _draw_lines(canvas, drawing, style)
    _draw_captions(canvas, drawings, style)
    return canvas


def instance_colour(instances: Instances, i: int) -> Colour:
    """Return the colour, BGR, that draw_instances gives instance ``i``: for a legend.

    Examples:
        >>> instance_colour(instances, 0) == PALETTE[0]
        True
    """
    return PALETTE[_colour_index(instances, i) % len(PALETTE)]


@dataclass(frozen=True)
class _Drawing:
    """One instance as it is drawn, in pixels of the image.

    Attributes:
        box: first and last pixel, x1, y1, x2, y2.
        contours: of the mask, as cv2.findContours gives them; empty without a mask.
        name, figures: of the caption: the figures are the id, the score and the distance.
        colour: of this instance.
        contrast: black or white, the one that stands out from the colour.
    """

    box: Rectangle
    contours: Sequence[NDArray[Any]]
    name: str
    figures: str
    colour: Colour
    contrast: Colour

    @property
    def area(self) -> int:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels that suit an image.

    Attributes:
        line: width of outlines; ``halo`` is that of the contrasting line beneath.
        text: height of a capital letter.
    """

    line: int
    text: float

    @property
    def halo(self) -> int:
        return self.line + max(1, 2 * round(self.line / 3))

    @classmethod
    def of_image(cls, height: int, width: int) -> _Style:
        side = (height + width) / 2
        if side < _SMALL_IMAGE:
            return cls(1, _SMALLEST_TEXT)
        return cls(max(2, round(side / 450)), max(_USUAL_TEXT, side / 85))


# ---- what to draw
def _drawings(
    frame: NDArray[np.uint8],
    instances: Instances | Iterable[Mapping[str, Any]],
    distances: Mapping[int, float],
) -> list[_Drawing]:
    size = frame.shape[:2]
    if isinstance(instances, Instances):
        if len(instances):
            _check_size(instances, size)
        return [_of_instance(instances, i, size, distances.get(i)) for i in range(len(instances))]
    if isinstance(instances, Mapping):
        raise TypeError('instances is a single mapping: expected a list of them')
    return [_of_mapping(item, i, size, distances.get(i)) for i, item in enumerate(instances)]


def _check_size(instances: Instances, size: tuple[int, ...]) -> None:
    if instances.image_size != size:
        raise ImageError(
            f'frame is {size[1]}x{size[0]} pixels, the instances are of an image of '
            f'{instances.image_size[1]}x{instances.image_size[0]}: expected the image that they '
            'were found in'
        )


def _of_instance(
    instances: Instances, i: int, size: tuple[int, ...], distance: float | None
) -> _Drawing:
    x, y, w, h = (int(v) for v in instances.rois[i])
    contours = [] if instances.masks is None else _contours(instances.masks[i], x, y)
    track_id = None if instances.track_ids is None else int(instances.track_ids[i])
    figures = _figures(float(instances.scores[i]), track_id, distance)
    colour = _colour_index(instances, i)
    return _drawing(instances.boxes[i], contours, instances.class_names[i], figures, colour, size)


def _colour_index(instances: Instances, i: int) -> int:
    return i if instances.track_ids is None else int(instances.track_ids[i]) - 1


def _of_mapping(
    item: Mapping[str, Any], i: int, size: tuple[int, ...], distance: float | None
) -> _Drawing:
    if not isinstance(item, Mapping):
        raise TypeError(
            f'instances[{i}] is of the type {type(item).__name__}: expected Instances as a whole, '
            'or mappings'
        )
    if missing := [key for key in _KEYS if key not in item]:
        raise ValueError(f'instances[{i}] lacks {missing[0]}: expected {", ".join(_KEYS)}')
    mask = item['mask']
    contours: Sequence[NDArray[Any]] = []
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != size:
            raise ImageError(
                f'frame is {size[1]}x{size[0]} pixels, the mask of instance {i} has the shape '
                f'{mask.shape}: expected {size}, the image that it was found in'
            )
        if mask.dtype != np.uint8:
            mask = (mask > 0).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)  # contours of the whole image take several times longer
        if w:
            contours = _contours(mask[y : y + h, x : x + w], x, y)
    figures = _figures(item['confidence'], None, distance)
    return _drawing(item['bbox'], contours, item['class_name'], figures, i, size)


def _figures(score: float, track_id: int | None, distance: float | None) -> str:
    figures = [] if track_id is None else [f'#{track_id}']
    figures.append(f'{score:.2f}')
    if distance is not None:
        figures.append(f'{distance:.2f} m')
    return ' '.join(figures)


def _contours(mask: NDArray[np.uint8], x: int, y: int) -> Sequence[NDArray[Any]]:
    # Outer contours and holes: filled together by the even-odd rule, they give the mask.
    mask = np.asarray(mask, np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    return contours


def _drawing(
    box: Any,
    contours: Sequence[NDArray[Any]],
    name: str,
    figures: str,
    colour_index: int,
    size: tuple[int, ...],
) -> _Drawing:
    height, width = size
    x1, y1, x2, y2 = (float(v) for v in box)
    x1, y1 = _within(math.floor(x1), 0, width - 1), _within(math.floor(y1), 0, height - 1)
    x2, y2 = _within(math.ceil(x2) - 1, x1, width - 1), _within(math.ceil(y2) - 1, y1, height - 1)
    colour = PALETTE[colour_index % len(PALETTE)]
    return _Drawing((x1, y1, x2, y2), contours, name, figures, colour, _contrasting(colour))


def _contrasting(colour: Colour) -> Colour:
    """Return black or white, by the luminance at which both have the same contrast (WCAG 2)."""
    blue, green, red = ((value / 255) ** 2.2 for value in colour)
    return _BLACK if 0.0722 * blue + 0.7152 * green + 0.2126 * red > 0.179 else _WHITE


def _within(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


# ---- drawing
def _fill(
    canvas: NDArray[np.uint8], frame: NDArray[np.uint8], drawings: list[_Drawing], alpha: float
) -> None:
    """Lay the overlay over the frame, in one pass over the part that has instances."""
    masked = [drawing for drawing in drawings if drawing.contours]
    if not masked or alpha == 0:
        return
    for drawing in masked:
        cv2.drawContours(canvas, drawing.contours, -1, drawing.colour, cv2.FILLED)
    x, y, w, h = cv2.boundingRect(np.concatenate([c for d in masked for c in d.contours]))
    part = canvas[y : y + h, x : x + w]
    cv2.addWeighted(part, float(alpha), frame[y : y + h, x : x + w], 1 - float(alpha), 0, dst=part)


def _draw_lines(canvas: NDArray[np.uint8], drawing: _Drawing, style: _Style) -> None:
    x1, y1, x2, y2 = drawing.box
    if not drawing.contours:  # the box is all that shows the instance
        cv2.rectangle(canvas, (x1, y1), (x2, y2), drawing.contrast, style.halo)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), drawing.colour, style.line)
    # Fewer corners, less than a pixel off: the time for wide lines grows with the corners.
    outlines = [cv2.approxPolyDP(contour, 0.8, closed=True) for contour in drawing.contours]
    cv2.drawContours(canvas, outlines, -1, drawing.contrast, style.halo)
    cv2.drawContours(canvas, outlines, -1, drawing.colour, style.line)


def _draw_captions(canvas: NDArray[np.uint8], drawings: list[_Drawing], style: _Style) -> None:
    height, width = canvas.shape[:2]
    captions = [
        _Caption.fitting(drawing.name, drawing.figures, style.text, width, height)
        for drawing in drawings
    ]
    places = place_captions(
        [drawing.box for drawing in drawings],
        [caption.size for caption in captions],
        (height, width),
    )
    # The best score last: where captions overlap, it stays readable.
    for drawing, caption, (x, y) in reversed(list(zip(drawings, captions, places, strict=True))):
        caption.draw(canvas, x, y, drawing.colour, drawing.contrast)


@dataclass(frozen=True)
class _Caption:
    """A text with the plate that it stands on.

    Attributes:
        text: what it says.
        padding: around the text, in pixels.
    """

    text: CaptionText
    padding: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the plate, pixels."""
        text, margin = self.text, 2 * self.padding
        return text.width + margin, text.ascent + text.descent + margin

    @classmethod
    def fitting(
        cls, name: str, figures: str, cap_height: float, width: int, height: int
    ) -> _Caption:
        """Return the caption, smaller and then with less of the name where it would not fit."""
        caption = cls._of_size(f'{name} {figures}', cap_height)
        shrink = min(1.0, width / caption.size[0], height / caption.size[1])
        if shrink < 1:
            cap_height = max(_SMALLEST_TEXT, cap_height * shrink * 0.95)
            caption = cls._of_size(f'{name} {figures}', cap_height)
        while caption.size[0] > width and name:
            name = name[:-1].rstrip()
            caption = cls._of_size(f'{name} {figures}'.lstrip(), cap_height)
        return caption

    @classmethod
    def _of_size(cls, text: str, cap_height: float) -> _Caption:
        return cls(CaptionText.of_height(text, cap_height), max(1, round(cap_height / 3)))

    def draw(self, canvas: NDArray[np.uint8], x: int, y: int, plate: Colour, ink: Colour) -> None:
        corner = x + self.size[0] - 1, y + self.size[1] - 1
        cv2.rectangle(canvas, (x, y), corner, plate, cv2.FILLED)
        baseline = y + self.padding + self.text.ascent
        self.text.draw(canvas, x + self.padding, baseline, ink)
