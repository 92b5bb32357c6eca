"""Boxes, labels and track numbers drawn on a frame.

Pillow is imported by the functions that need it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fer_runtime.images import Pixels
from fer_runtime.images.exif import Box

COLOURS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""RGB of the tracks in turn; people with any kind of colour vision can tell them apart.
Source: Okabe and Ito 2008, "Color Universal Design"."""
CAPTION = "Apparent expression, as a model sees it; not what a person feels."
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
LINES = 36
"""Lines of text that a frame is high."""


class Marked(NamedTuple):
    """A face to draw.

    Attributes:
        box: left, top, right, bottom in pixels of the frame.
        text: what is written at the box.
        track: chooses the colour.
    """

    box: Box
    text: str
    track: int


def draw(pixels: Pixels, faces: list[Marked]) -> Pixels:
    """(H, W, 3) RGB uint8 -> a copy with the faces and the caption.

    >>> frame = np.zeros((120, 160, 3), np.uint8)
    >>> drawn = draw(frame, [Marked((40.0, 30.0, 80.0, 90.0), "1 happy 94 %", 1)])
    >>> tuple(map(int, drawn[60, 40])) == COLOURS[0], int(frame.max())
    (True, 0)
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    height = pixels.shape[0]
    size = max(9, height // LINES)
    font = _font(size)
    for face in faces:
        colour = COLOURS[(face.track - 1) % len(COLOURS)]
        canvas.rectangle(_ordered(face.box), outline=colour, width=max(2, height // 300))
        left, top, _, bottom = face.box
        above = top - size - 4
        _write(canvas, (left, above if above >= 0 else bottom + 2), face.text, font, colour)
    _write(canvas, (4, height - size - 6), CAPTION, _font(max(9, size * 2 // 3)), LIGHT)
    return np.asarray(image)


def _ordered(box: Box) -> Box:
    left, top, right, bottom = box
    return left, top, max(left, right), max(top, bottom)


def _write(canvas: Any, place: tuple[float, float], text: str, font: Any, colour: Any) -> None:
    """Dark text on the colour, or light text on black."""
    on, ink = (colour, DARK) if colour != LIGHT else (DARK, LIGHT)
    left, top, right, bottom = canvas.textbbox(place, text, font=font)
    canvas.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=on)
    canvas.text(place, text, fill=ink, font=font)


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
