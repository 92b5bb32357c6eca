"""Thumbnails: small JPEGs of faces with some of their surroundings, to look at afterwards.

Pillow is imported by the function that needs it: it costs a fifth of a cold start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import simplejpeg

from fer_runtime.images.fitting import Pixels, fromarray

if TYPE_CHECKING:
    from fer_runtime.faces.face import Face

Box = tuple[float, float, float, float]

SIDE = 96
"""Pixels of a thumbnail's longer side, at most."""
SURROUNDINGS = 1.6
"""The side of a face's thumbnail, in long sides of its box: hair, chin and some of the scene."""
QUALITY = 85
ROWS = 3
"""Of a much larger part, so many rows of pixels are read for each row of the thumbnail; the others
change it by less than a person sees, and reading them would take milliseconds."""


class Thumbnail(NamedTuple):
    """A small JPEG of a face or of a whole picture.

    Attributes:
        jpeg: the encoded file; grey pixels are a JPEG of one channel.
        width: in pixels.
        height: in pixels.
        box: left, top, right, bottom of the face, in pixels of the thumbnail and within it; None
            where it shows a whole picture.
    """

    jpeg: bytes
    width: int
    height: int
    box: Box | None


def thumbnail(
    pixels: Pixels, face: Face | None, *, scale: float = 1.0, side: int = SIDE
) -> Thumbnail:
    """The part around a face, or the whole picture, as a JPEG of at most `side` pixels a side.

    A face's thumbnail is a square: 1.6 times the long side of the box, moved into the picture where
    it reaches beyond an edge, smaller where the picture is, and padded with grey where the picture
    is narrower than the face. A whole picture keeps its shape. Nothing is enlarged or distorted.

    >>> from fer_runtime.faces.face import Face
    >>> picture = np.full((60, 80, 3), 200, np.uint8)
    >>> found = thumbnail(picture, Face((30.0, 20.0, 50.0, 40.0), ((0.0, 0.0),) * 5, 0.9))
    >>> found.width, found.height, found.box
    (32, 32, (6.0, 6.0, 26.0, 26.0))

    Args:
        pixels: (H, W, 3) RGB or (H, W, 1) grey uint8, upright.
        face: what to show, in pixels of the picture; None for the whole picture.
        scale: pixels of the array per pixel of the picture.
        side: the most pixels of width and height, at least 1.
    """
    height, width = pixels.shape[:2]
    box = None if face is None else _within(face.box, scale, height, width)
    if box is None:
        return _encoded(pixels, None, side)
    length = _length(box, height, width)
    left = _start(box[0], box[2], length, width)
    top = _start(box[1], box[3], length, height)
    part = pixels[max(0, top) : top + length, max(0, left) : left + length]
    if part.shape[:2] != (length, length):
        padded = np.full((length, length, pixels.shape[2]), 127, np.uint8)
        y, x = max(0, -top), max(0, -left)
        padded[y : y + part.shape[0], x : x + part.shape[1]] = part
        part = padded
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return _encoded(part, moved, side)


def _within(box: Box, scale: float, height: int, width: int) -> Box | None:
    """The part of the box that is in the array; None where it is not in it at all."""
    left, right = (min(max(value * scale, 0.0), width) for value in (box[0], box[2]))
    top, bottom = (min(max(value * scale, 0.0), height) for value in (box[1], box[3]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _length(box: Box, height: int, width: int) -> int:
    """The side of the square: no more than the picture's short side, unless the face is longer."""
    face = max(box[2] - box[0], box[3] - box[1])
    return max(1, round(min(SURROUNDINGS * face, max(min(height, width), face))))


def _start(low: float, high: float, length: int, limit: int) -> int:
    """Where the square starts: its middle is the face's, but within the picture if it fits."""
    start = round((low + high - length) / 2)
    if length > limit:
        return (limit - length) // 2
    return min(max(start, 0), limit - length)


def _encoded(part: Pixels, box: Box | None, side: int) -> Thumbnail:
    from PIL import Image

    height, width = part.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    if box is not None:
        box = tuple(value * ratio for value in box)
    if (width, height) != size:
        image = fromarray(part[:: max(1, int(1 / ratio) // ROWS)])
        # With the gap, whole blocks are averaged first: a third of the time.
        shrunk = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
        part = np.asarray(shrunk).reshape(size[1], size[0], part.shape[2])
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(part), QUALITY, *(("GRAY", "Gray") if part.shape[2] == 1 else
        ("RGB", "420")),
    )  # fmt: skip
    return Thumbnail(jpeg, *size, box)
