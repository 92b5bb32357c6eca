"""From the painted plane to the pixels of a photograph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from fer_train.drawing.canvas import Plane


def expose(image: Plane, size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Lamp fall-off, gamma, contrast, blur and noise: (n, n) 0 to 1 -> (size, size) uint8."""
    ramp = np.linspace(-1, 1, image.shape[0], dtype=np.float32)
    lit = image * (
        1 + rng.normal(0.0, 0.12) * ramp[None, :] + rng.normal(0.0, 0.12) * ramp[:, None]
    )
    lit *= (0.48 / float(lit.mean())) ** 0.5  # half of what a camera's exposure would do
    step = image.shape[0] // size
    lit = np.clip(lit, 0.0, 1.0).reshape(size, step, size, step).mean(axis=(1, 3))
    lit = lit ** float(np.exp(rng.normal(0.0, 0.2)))
    lit = 0.5 + (lit - 0.5) * rng.uniform(0.65, 1.1) + rng.normal(0.0, 0.05)
    radius = rng.uniform(-0.5, 0.7) * size / 48
    if radius > 0:
        picture = Image.fromarray((np.clip(lit, 0, 1) * 255).astype(np.uint8))
        lit = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    lit = lit + rng.standard_normal(lit.shape, np.float32) * rng.uniform(0.0, 0.022)
    pixels: npt.NDArray[np.uint8] = np.clip(lit * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels
