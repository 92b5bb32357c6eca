"""Pictures for the tests of images: specs, noise, and what Pillow makes of a file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.spec import InputSpec

Pixels = npt.NDArray[np.uint8]

ORIENTATION = 0x0112


def fit(height: int, width: int, channels: int = 1, **options: Any) -> InputSpec:
    """An InputSpec of that size."""
    each = (0.5,) * channels
    return InputSpec(height=height, width=width, channels=channels, mean=each, std=each, **options)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int, channels: int = 3) -> Pixels:
    """(H, W, C): soft blobs, as photographs are; noise would make any two resizers differ."""
    small = Image.fromarray(noise(9, 9, 3, seed=4))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return large if channels == 3 else large[:, :, :1]


def planar(image: Image.Image) -> Pixels:
    """A Pillow image of mode L or RGB -> (C, H, W)."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def pillow(data: bytes, channels: int) -> Pixels:
    """What Pillow decodes: (C, H, W), upright; grey as luma, without the way through RGB."""
    image = Image.open(io.BytesIO(data))
    if channels == 1 and image.format == "JPEG":
        image.draft("L", image.size)
    upright = ImageOps.exif_transpose(image)
    return planar(upright.convert("L" if channels == 1 else "RGB"))


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def refusal(source: images.Source, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.load(source, fit(8, 8), **options)
    return str(caught.value)
