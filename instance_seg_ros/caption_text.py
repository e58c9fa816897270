# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The text of captions: OpenCV's strokes for ASCII, a font of the system for the rest."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_STROKES = cv2.FONT_HERSHEY_SIMPLEX
_CAP_HEIGHT = 22.0  # of it in pixels, at scale 1
_CAP_PART = 0.73  # height of a capital in a font's size
_FALLBACK = 'DejaVuSans.ttf'
_NO_CHARACTER = '\U0010ffff'  # every font draws it as what it does not have


@dataclass(frozen=True)
class CaptionText:
    """A line of text, measured.

    Attributes:
        width: pixels.
        ascent, descent: pixels above and below the baseline.
    """

    width: int
    ascent: int
    descent: int
    _text: str
    _cap_height: float
    _glyphs: NDArray[np.uint8] | None = None  # opacity, ascent + descent rows

    @classmethod
    def of_height(cls, text: str, cap_height: float) -> CaptionText:
        """Measure a text.

        Args:
            text: of any script. A character that no font here has is written as its code.
            cap_height: of a capital letter, pixels.
        """
        descent = round(cap_height / 4)  # OpenCV's own leaves room for its widest stroke
        if not text.isascii():
            font = _font(_beyond_ascii(text), cap_height)
            text = _with_codes(text, font)
            if font is not None:
                glyphs, ascent = _glyphs(text, font)
                return cls(
                    glyphs.shape[1], ascent, glyphs.shape[0] - ascent, text, cap_height, glyphs
                )
        (width, ascent), _ = cv2.getTextSize(text, _STROKES, *_stroke_style(cap_height))
        return cls(width, ascent, descent, text, cap_height)

    def draw(
        self, canvas: NDArray[np.uint8], x: int, baseline: int, ink: tuple[int, int, int]
    ) -> None:
        """Draw it into an image, uint8 (H, W, 3), BGR; x is its left edge."""
        if self._glyphs is not None:
            _blend(canvas, self._glyphs, x, baseline - self.ascent, ink)
            return
        scale, weight = _stroke_style(self._cap_height)
        place = x, baseline
        cv2.putText(canvas, self._text, place, _STROKES, scale, ink, weight, cv2.LINE_AA)


def _stroke_style(cap_height: float) -> tuple[float, int]:
    return cap_height / _CAP_HEIGHT, max(1, round(cap_height / 8))


def _beyond_ascii(text: str) -> str:
    return ''.join(sorted({each for each in text if not each.isascii()}))


@lru_cache(maxsize=256)
def _font(characters: str, cap_height: float) -> Any:
    """Return a font of the system that has the characters; None without Pillow or any font."""
    try:
        from PIL import ImageFont  # only those whose classes have such names need it
    except ImportError:
        return None
    size = max(6, round(cap_height / _CAP_PART))
    for name in (_font_file(characters), _FALLBACK):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


@lru_cache(maxsize=256)
def _font_file(characters: str) -> str:
    """Ask fontconfig; it also answers where no font has all of them."""
    pattern = ':charset=' + ' '.join(f'{ord(each):x}' for each in characters)
    try:
        answer = subprocess.run(  # wherever fontconfig is installed
            ['fc-match', '--format=%{file}', pattern],  # noqa: S607 # nosec B607
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return _FALLBACK
    return answer.stdout or _FALLBACK


def _with_codes(text: str, font: Any) -> str:
    return ''.join(each if _has(font, each) else f'U+{ord(each):04X}' for each in text)


def _has(font: Any, character: str) -> bool:
    if character.isascii():
        return True
    return font is not None and _pixels(font, character) != _pixels(font, _NO_CHARACTER)


@lru_cache(maxsize=4096)
def _pixels(font: Any, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache(maxsize=256)
def _glyphs(text: str, font: Any) -> tuple[NDArray[np.uint8], int]:
    """Return the opacity of a text and how many of its rows are above the baseline."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = (round(v) for v in font.getbbox(text, anchor='ls'))
    picture = Image.new('L', (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), text, 255, font, anchor='ls')
    return np.asarray(picture), -top


def _blend(
    canvas: NDArray[np.uint8], opacity: NDArray[np.uint8], x: int, y: int, ink: tuple[int, int, int]
) -> None:
    opacity = opacity[max(0, -y) : canvas.shape[0] - y, max(0, -x) : canvas.shape[1] - x]
    x, y = max(0, x), max(0, y)
    part = canvas[y : y + opacity.shape[0], x : x + opacity.shape[1]]
    weight = opacity[:, :, None] / np.float32(255)
    part[:] = np.rint(part + (np.array(ink, np.float32) - part) * weight)
