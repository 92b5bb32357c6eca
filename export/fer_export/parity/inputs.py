"""What models are compared on: seeded noise in several batch sizes, extremes, image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.errors import DataError
from fer_runtime.sources import Files
from fer_runtime.spec import InputSpec

BATCH_SIZES = (1, 2, 3, 17)
MAX_IMAGES = 1024
LARGEST_BATCH = 1024
LARGEST_VALUES = 2_400_000
"""Values in the largest batch: 1,024 images of 48 x 48, or one of 17 at 224 x 224 x 3."""


@dataclass(frozen=True)
class InputBatch:
    """(N, C, H, W) uint8 pixels with one name per image: its path if it is `from_files`."""

    names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    from_files: bool = False


def all_batches(spec: InputSpec, folder: Path | None) -> Iterator[InputBatch]:
    """Noise in several batch sizes, extremes, the images of a folder, and one large batch.

    Raises:
        DataError: the folder cannot be used.
        ImageError: an image that cannot be read.
    """
    yield from noise(spec)
    yield extremes(spec)
    if folder is not None:
        yield from files(folder, spec)
    yield largest(spec)


def noise(spec: InputSpec, seed: int = 0) -> Iterator[InputBatch]:
    """One batch of each size: fine grain to broad blotches, dark to bright, faint to full contrast.

    White noise alone looks the same to a pooling model from image to image, so its logits hardly
    vary; noise of several grain sizes spreads them.
    """
    rng = np.random.default_rng(seed)
    for size in BATCH_SIZES:
        pixels = np.stack([_noise_image(spec, rng) for _ in range(size)])
        names = tuple(f"noise {size}-{index}" for index in range(size))
        yield InputBatch(names, pixels)


def largest(spec: InputSpec, seed: int = 1) -> InputBatch:
    """The largest batch of noise: 1,024 images, fewer where they are large."""
    fitting = LARGEST_VALUES // (spec.channels * spec.height * spec.width)
    size = max(BATCH_SIZES[-1], min(LARGEST_BATCH, fitting))
    rng = np.random.default_rng(seed)
    pixels = np.stack([_noise_image(spec, rng) for _ in range(size)])
    return InputBatch(tuple(f"noise {size}-{index}" for index in range(size)), pixels)


def extremes(spec: InputSpec) -> InputBatch:
    """Black, white, and black with one white pixel: where saturation and padding show."""
    pixels = np.zeros((3, *spec.shape), np.uint8)
    pixels[1] = 255
    pixels[2, :, spec.height // 2, spec.width // 2] = 255
    return InputBatch(("black", "white", "one pixel"), pixels)


def files(
    folder: Path,
    spec: InputSpec,
    limit: int = MAX_IMAGES,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Iterator[InputBatch]:
    """Images of a folder, at most `limit`, evenly spread over it, in batches of 17.

    Of those, the ones whose path is not `wanted` are omitted.

    Raises:
        DataError: no such folder, or no image in it.
        ImageError: an image that cannot be read.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist.")
    names = [item.name for item in Files([folder])]
    if not names:
        raise DataError(f"{folder} contains no images.")
    places = np.unique(np.linspace(0, len(names) - 1, limit).round().astype(int))
    chosen = [names[i] for i in places if wanted(names[i])]
    size = BATCH_SIZES[-1]
    for start in range(0, len(chosen), size):
        batch = tuple(chosen[start : start + size])
        yield InputBatch(batch, images.load_batch(batch, spec), from_files=True)


def _noise_image(spec: InputSpec, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(C, H, W) uint8: random blocks of a random side, with random mean and contrast."""
    block = int(2 ** rng.uniform(0, np.log2(max(2, min(spec.height, spec.width) / 2))))
    rows, columns = -(-spec.height // block), -(-spec.width // block)
    coarse = rng.normal(rng.uniform(40, 215), rng.uniform(10, 80), (spec.channels, rows, columns))
    fine = coarse.repeat(block, 1).repeat(block, 2)[:, : spec.height, : spec.width]
    return np.clip(fine, 0, 255).astype(np.uint8)
