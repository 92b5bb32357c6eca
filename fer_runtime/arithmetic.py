"""The gate of an arithmetic that is faster and less exact: it must decide as f32 does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import ProviderError

if TYPE_CHECKING:
    from fer_runtime.session import Session

AGREEMENT = 0.995
"""Share of equal top-1 decisions that fp16 files must reach too."""
IMAGES = 512


def check_arithmetic(fast: Session, exact: Session) -> None:
    """Raise ProviderError where a session does not decide as the same model in f32 does.

    Compared on made pictures, half of them noise and half smooth; how much accuracy real ones lose
    is what `fer-infer --evaluate` shows.
    """
    pixels = made_pictures(exact.spec.input.shape)
    outputs, expected = fast.run(pixels).logits, exact.run(pixels).logits
    arithmetic = fast.provider_options.arithmetic
    otherwise = "Omit --arithmetic (or arithmetic) for f32."
    if not np.isfinite(outputs).all():
        raise ProviderError(f"{fast.path} overflows in {arithmetic}. {otherwise}")
    agreement = float(np.mean(outputs.argmax(1) == expected.argmax(1)))
    if agreement < AGREEMENT:
        raise ProviderError(
            f"{fast.path} decides otherwise in {arithmetic} than in f32 for "
            f"{1 - agreement:.1%} of {len(pixels)} made pictures; {1 - AGREEMENT:.1%} are allowed. "
            f"{otherwise}"
        )


def made_pictures(shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """(C, H, W) -> (`IMAGES`, C, H, W) uint8, always the same ones."""
    channels, height, width = shape
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (IMAGES, channels, height, width), dtype=np.uint8)
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    for picture in pictures[IMAGES // 2 :]:
        for channel in picture:
            waves = random.uniform(-12, 12, (6, 2))
            phases = random.uniform(0, 6.3, 6)
            angles = waves[:, 0, None, None] * rows + waves[:, 1, None, None] * columns
            surface = np.sin(angles + phases[:, None, None]).sum(0)
            channel[:] = np.clip(128 + 50 * surface, 0, 255)
    return pictures
