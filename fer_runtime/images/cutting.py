"""A square cut out of a picture, turned by any angle -> pixels that fit an InputSpec.

A square that is much larger than the input is averaged first, so that nothing aliases; one about as
large as the input is read with the sharper interpolation. Pillow is imported by the functions that
need it: it costs a fifth of a cold start.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fer_runtime.errors import ImageError
from fer_runtime.images.exif import Box
from fer_runtime.images.fitting import Pixels, fit, fromarray, scaled_size
from fer_runtime.spec import InputSpec

OVERSAMPLING = 1.5
"""A square is averaged over blocks of pixels as long as it then still has this many times the
pixels that are needed: turning reads single pixels, and the antialiased resize does the rest."""
MAX_POINTS = 2
"""A turned square is read at no more points across than so many times the pixels needed."""
REDUCING_GAP = 3
"""The same for a square that is not turned, whose resize reads every pixel."""
SUPPORT = 2
"""Pixels around a point that bicubic interpolation reads."""
MIN_SIDE = 1e-3
"""Pixels; a smaller square is a point."""


class Square(NamedTuple):
    """A square of a picture, which may reach beyond it or be outside.

    Attributes:
        x: its centre, in pixels from the left edge (0.5 is the middle of the first pixel).
        y: from the top edge.
        side: in pixels.
        angle: radians by which it is turned clockwise, as its top edge is seen in the picture.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0


def cut(pixels: Pixels, square: Square, spec: InputSpec) -> Pixels:
    """(H, W, 3) RGB or (H, W, 1) uint8 -> the square as (channels, height, width) uint8.

    Outside of the picture its edge is repeated. The array may be read-only and a view; it is never
    written to.

    >>> from fer_runtime.spec import InputSpec
    >>> spec = InputSpec(height=2, width=2, channels=1, mean=(0,), std=(1,))
    >>> ramp = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    >>> cut(ramp, Square(2, 2, 2), spec)[0].tolist()
    [[5, 6], [9, 10]]
    >>> cut(ramp, Square(2, 2, 2, angle=np.pi / 2), spec)[0].tolist()  # its top is at the right
    [[6, 10], [5, 9]]

    Raises:
        ImageError: a square that is not finite, or smaller than a thousandth of a pixel.
    """
    if not all(map(math.isfinite, square)) or square.side < MIN_SIDE:
        raise ImageError(f"a square of {square.side} pixels at {square.x}, {square.y} is empty")
    wanted = max(scaled_size(square.side, square.side, spec))
    turned = square.angle % (2 * math.pi) != 0
    block = 1
    if spec.interpolation != "nearest":  # which is meant to read single pixels
        block = max(1, int(square.side / (wanted * (OVERSAMPLING if turned else REDUCING_GAP))))
    region, x, y = _region(pixels, square, spec.channels, block)
    side = square.side / block
    if not turned:
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        return fit(region, spec, _within(box, region.shape))
    count = wanted
    if spec.interpolation != "nearest":
        count = min(max(wanted, round(side)), MAX_POINTS * wanted)
    return fit(_turned(region, Square(x, y, side, square.angle), count, spec.interpolation), spec)


def _region(
    pixels: Pixels, square: Square, channels: int, block: int
) -> tuple[Pixels, float, float]:
    """What of the picture the square needs, (H, W, channels), and the square's centre in it.

    It is averaged over blocks of `block` x `block` pixels, and its edge repeated where the square
    reaches beyond the picture. Averaging comes first, so that a square far larger than the picture
    costs no more than the picture.
    """
    cos, sin = abs(math.cos(square.angle)), abs(math.sin(square.angle))
    margin = SUPPORT * block if square.angle else 0
    half = square.side / 2 * (cos + sin) + margin
    down = _span(square.y - half, square.y + half, pixels.shape[0], block)
    across = _span(square.x - half, square.x + half, pixels.shape[1], block)
    image = fromarray(pixels[down.start : down.stop, across.start : across.stop])
    if pixels.shape[2] != channels:
        image = image.convert("L" if channels == 1 else "RGB")
    if block > 1:
        image = image.reduce(block)
    region = np.asarray(image)
    region = region if region.ndim == 3 else region[:, :, None]
    if any((*down.beyond, *across.beyond)):
        region = np.pad(region, (down.beyond, across.beyond, (0, 0)), mode="edge")
    return (
        region,
        (square.x - across.start) / block + across.beyond[0],
        (square.y - down.start) / block + down.beyond[0],
    )


class _Span(NamedTuple):
    """From start to stop of one side of a picture, and the blocks needed beyond both ends."""

    start: int
    stop: int
    beyond: tuple[int, int]


def _span(low: float, high: float, length: int, block: int) -> _Span:
    first, last = math.floor(low), math.ceil(high)
    start = min(max(first, 0), length - 1)
    stop = max(min(last, length), start + 1)
    # Whole blocks, unless the picture ends.
    blocks = -(-(stop - start) // block)
    stop = min(length, start + blocks * block)
    before = -(-(start - first) // block) if first < start else 0
    after = max(0, -(-(last - start) // block) - blocks)
    return _Span(start, stop, (before, after))


def _turned(region: Pixels, square: Square, count: int, interpolation: str) -> Pixels:
    """The square of (H, W, C) pixels -> (count, count, C), read at count x count points."""
    from PIL import Image

    resample = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}.get(
        interpolation, Image.Resampling.BICUBIC
    )
    step = square.side / count
    cos, sin = step * math.cos(square.angle), step * math.sin(square.angle)
    middle = count / 2
    matrix = (
        cos, -sin, square.x - middle * (cos - sin),
        sin, cos, square.y - middle * (sin + cos),
    )  # fmt: skip
    image = fromarray(region).transform(
        (count, count), Image.Transform.AFFINE, matrix, resample=resample
    )
    turned = np.asarray(image)
    return turned if turned.ndim == 3 else turned[:, :, None]


def _within(box: Box, shape: tuple[int, ...]) -> Box:
    """The box without what rounding added beyond (H, W) pixels."""
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(shape[1], right), min(shape[0], bottom)
