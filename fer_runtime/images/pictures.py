"""Whole pictures in colour at the scale that finding faces needs, and larger where a crop needs it.

A JPEG is decoded at a DCT scale, again for a larger one; everything else is decoded once and
reduced. Pillow is imported by the functions that need it: it costs a fifth of a cold start.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np
import simplejpeg

from fer_runtime.errors import ImageError
from fer_runtime.images import exif
from fer_runtime.images.fitting import Pixels, fromarray
from fer_runtime.images.in_memory import Source, content_of, is_pillow
from fer_runtime.images.limits import MAX_PIXELS, check_size
from fer_runtime.images.loading import (
    as_channels,
    check_jpeg,
    decode_with_pillow,
    is_jpeg,
    read,
)

ABOUT = 0.9
"""A DCT scale may be this much smaller than asked for: 1000 pixels from 8000 are one for 1100."""
MUCH = 1.15
"""A decode this much larger than asked for is resized."""


class Picture(NamedTuple):
    """An upright picture at some scale.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        scale: array pixels per pixel of the whole picture.
        height: of the whole upright picture, in pixels.
        width: likewise.
    """

    pixels: Pixels
    scale: float
    height: int
    width: int


def load_picture(
    source: Source, *, long_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """An image of any kind -> its upright pixels in RGB.

    >>> load_picture(np.zeros((40, 60), np.uint8)).pixels.shape
    (40, 60, 3)

    Args:
        source: what `images.load` takes.
        long_side: about how many pixels the longer side should have; None for the whole picture.
            A smaller picture is not enlarged.
        max_pixels: larger images are refused.

    Raises:
        ImageError: as `images.load`.
    """
    return Photograph(source, max_pixels=max_pixels).at(long_side)


class Photograph:
    """An image that is had at several scales; an array that is given is never written to.

    Args and errors are those of `load_picture`.
    """

    def __init__(self, source: Source, *, max_pixels: int = MAX_PIXELS) -> None:
        self._jpeg = b""
        self._whole: Pixels | None = None
        if isinstance(source, np.ndarray):
            self._whole = as_channels(source, 3)
        elif isinstance(source, str | os.PathLike):
            self._open(read(source), max_pixels)
        else:
            if is_pillow(source):
                check_size(*source.size, max_pixels)
            content = content_of(source)
            if isinstance(content, bytes):
                self._open(content, max_pixels)
            else:
                self._whole = as_channels(content, 3)
        if self._whole is not None:
            self.height, self.width = self._whole.shape[:2]

    def _open(self, data: bytes, max_pixels: int) -> None:
        if not data:
            raise ImageError("no bytes to decode")
        if is_jpeg(data):
            height, width, colorspace = check_jpeg(data, max_pixels)
            if colorspace not in ("CMYK", "YCCK"):
                self._jpeg = data
                self._stored = height, width
                self._orientation = exif.orientation(data)
                turned = self._orientation >= 5
                self.height, self.width = (width, height) if turned else (height, width)
                return
        self._whole = decode_with_pillow(data, 3, max_pixels)

    def at(self, long_side: float | None = None) -> Picture:
        """The picture with a longer side of about so many pixels; None for all of it."""
        longest = max(self.height, self.width)
        wanted = min(longest, long_side or longest)
        pixels, scale = (self._whole, 1.0) if self._whole is not None else self._decoded(wanted)
        if longest * scale > MUCH * wanted:
            pixels, scale = _reduced(pixels, wanted / (longest * scale)), wanted / longest
        return Picture(pixels, scale, self.height, self.width)

    def _decoded(self, wanted: float) -> tuple[Pixels, float]:
        """The JPEG at the smallest DCT scale that is about as large as wanted, and that scale."""
        height, width = self._stored
        least = ABOUT * wanted if wanted < max(height, width) else wanted
        eighths = min(8, math.ceil(least * 8 / max(height, width)))
        try:
            pixels = simplejpeg.decode_jpeg(
                self._jpeg,
                "RGB",
                min_height=-(-height * eighths // 8),
                min_width=-(-width * eighths // 8),
            )
        except ValueError as error:
            raise ImageError(f"broken JPEG: {error}") from None
        return exif.upright(pixels, self._orientation), eighths / 8


def _reduced(pixels: Pixels, scale: float) -> Pixels:
    """(H, W, 3) -> the same, antialiased, at a scale below 1."""
    from PIL import Image

    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    image = fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
