"""(H, W, C) pixels of any size -> the size of an InputSpec: resize, crop and pad.

Down-scaling is antialiased. Pillow is imported by the functions that need it: it costs a fifth of a
cold start.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_runtime.images.exif import Box
from fer_runtime.spec import InputSpec

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

DCT_MARGIN = 2
"""A JPEG is decoded at the smallest DCT scale that is still so many times the size needed: the
decoder's own scaling averages blocks, and what remains is left to the antialiased resize."""
EXACT_DCT_MARGIN = 8
"""The same where the spec has `resize_to`. Up to 8 times the size needed, a JPEG is decoded in full
and the pixels are torchvision's bit for bit; beyond it (a 4,000-pixel photo for a 256-pixel resize)
the picture is still 8 times as large, and what the decoder averaged is less than a grey level."""
WHOLE_PIXELS = 16_000_000
"""A resize to more pixels than this is computed for the part that the crop keeps only, so that a
small file cannot fill the memory. It takes a picture some hundred times as long as wide; Pillow
rounds that part's edges to 32 bits, so that single pixels may differ by one level."""


def fit(pixels: Pixels, spec: InputSpec, box: Box | None = None) -> Pixels:
    """(H, W, C) uint8 of any size -> (channels, height, width) uint8 as the spec describes.

    `box` (left, top, right, bottom) is the part that is picture; by default all of it is.
    """
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    box = box or whole
    if spec.resize_to is not None:
        pixels = _resized_then_cropped(pixels, spec, box)
    elif (height, width) != (spec.height, spec.width) or box != whole:
        size = (spec.height, spec.width)
        if spec.resize_mode == "crop":
            box = _middle(box, spec)
        elif spec.resize_mode == "pad":
            size = scaled_size(box[3] - box[1], box[2] - box[0], spec)
        pixels = _padded(_resized(pixels, size, spec.interpolation, box), spec)
    return np.array(pixels.transpose(2, 0, 1), order="C")  # never a view of the caller's array


def scaled_size(height: float, width: float, spec: InputSpec) -> tuple[int, int]:
    """(H, W) of the whole picture once it is resized, what is cropped afterwards included."""
    if isinstance(spec.resize_to, tuple):
        return spec.resize_to
    if isinstance(spec.resize_to, int):
        return _side_scaled(height, width, spec.resize_mode, spec.resize_to)
    if spec.resize_mode == "stretch":
        return spec.height, spec.width
    choose = max if spec.resize_mode == "crop" else min
    scale = choose(spec.height / height, spec.width / width)
    clamp = max if spec.resize_mode == "crop" else min
    return (
        clamp(spec.height, max(1, math.floor(height * scale + 0.5))),
        clamp(spec.width, max(1, math.floor(width * scale + 0.5))),
    )


def decode_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """The smallest (H, W) at which a JPEG of that size may be decoded."""
    margin = DCT_MARGIN if spec.resize_to is None else EXACT_DCT_MARGIN
    fit_height, fit_width = scaled_size(height, width, spec)
    return min(margin * fit_height, height), min(margin * fit_width, width)


def fromarray(pixels: Pixels) -> Image.Image:
    """(H, W), (H, W, 1) or (H, W, C) uint8 -> a Pillow image."""
    from PIL import Image

    return Image.fromarray(
        np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels)
    )


def _side_scaled(height: float, width: float, mode: str, side: int) -> tuple[int, int]:
    """(H, W) with the short or the long side scaled to `side`.

    The other side is truncated, not rounded, as by torchvision's `_compute_resized_output_size`.
    """
    short, long = sorted((height, width))
    if mode == "short":
        short, long = side, int(side * long / short)
    else:
        short, long = max(1, int(side * short / long)), side
    return (long, short) if width <= height else (short, long)


def _resized_then_cropped(pixels: Pixels, spec: InputSpec, box: Box) -> Pixels:
    """torchvision's Resize and CenterCrop on (H, W, C) pixels of which `box` is picture."""
    left, top, right, bottom = box
    size = scaled_size(bottom - top, right - left, spec)
    across, down = _offset(size[1], spec.width), _offset(size[0], spec.height)
    if size[0] * size[1] <= max(WHOLE_PIXELS, 4 * spec.height * spec.width):
        resized = pixels
        if size != pixels.shape[:2] or box != (0, 0, size[1], size[0]):
            resized = _resized(pixels, size, spec.interpolation, box)
        return _padded(resized[down : down + spec.height, across : across + spec.width], spec)
    kept = min(size[0], spec.height), min(size[1], spec.width)
    column, row = (right - left) / size[1], (bottom - top) / size[0]
    window = (
        left + across * column,
        top + down * row,
        min(right, left + (across + kept[1]) * column),
        min(bottom, top + (down + kept[0]) * row),
    )
    return _padded(_resized(pixels, kept, spec.interpolation, window), spec)


def _offset(size: int, wanted: int) -> int:
    """Where a centre crop begins; half pixels go to the even number, as torchvision rounds them."""
    return max(0, round((size - wanted) / 2))


def _resized(pixels: Pixels, size: tuple[int, int], interpolation: str, box: Box) -> Pixels:
    """The box of (H, W, C) pixels -> (*size, C); antialiased where it shrinks."""
    from PIL import Image

    resample = Image.Resampling[interpolation.upper()]
    resized = np.asarray(fromarray(pixels).resize(size[::-1], resample, box))
    return resized if resized.ndim == 3 else resized[:, :, None]


def _middle(box: Box, spec: InputSpec) -> Box:
    """The largest part in the middle of a box that has the input's aspect ratio."""
    left, top, right, bottom = box
    scale = max(spec.height / (bottom - top), spec.width / (right - left))
    across = max(0.0, (right - left - spec.width / scale) / 2)
    down = max(0.0, (bottom - top - spec.height / scale) / 2)
    return left + across, top + down, right - across, bottom - down


def _padded(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Centre (H, W, C) pixels in the input's window, which is black around them."""
    height, width, channels = pixels.shape
    if (height, width) == (spec.height, spec.width):
        return pixels
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    window = np.zeros((spec.height, spec.width, channels), np.uint8)
    window[top : top + height, left : left + width] = pixels
    return window
