"""Large photographs: the decoder against Pillow's full decode: `fer-bench photos`.

Makes JPEGs of 12 megapixels with the spectrum of photographs (no photographs are to be had without
a download) and reads them on one core to the input of a small grey model and of a large colour one:
by `fer_runtime.images`, and by Pillow as in tutorials. Prints images/s, the ratio, and by how many
grey levels the results differ.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from fer_bench import timing
from fer_runtime import images
from fer_runtime.spec import InputSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WIDTH, HEIGHT = 4000, 3000
GRAIN = 5.0
"""Grey levels; makes files as large as a telephone's, and so the decoder's work."""
INPUTS = {
    "48 x 48 grey": InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.5,)),
    "224 x 224 RGB": InputSpec(height=224, width=224, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
}


@app.command()
def compare(
    count: Annotated[int, typer.Option(help="Photographs to make.", min=1)] = 200,
    repeats: Annotated[int, typer.Option(help="Runs over all of them.", min=1)] = 3,
) -> None:
    """Images/s of both on one core, medians of alternating runs, and the mean difference."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [_photograph(Path(folder) / f"{seed:03}.jpg", seed) for seed in range(count)]
        size = sum(os.path.getsize(path) for path in paths) / count
        print(f"{count} JPEGs of {WIDTH} x {HEIGHT}, {size / 1e6:.1f} MB each, one core")
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        figures = {name: measure(paths, spec, repeats) for name, spec in INPUTS.items()}
    for name, found in figures.items():
        print(
            f"{name:<14} fer_runtime.images {found['images_per_second']:6.1f} images/s, Pillow "
            f"{found['pillow_images_per_second']:6.1f}: {found['ratio']:.2f} times; mean "
            f"difference {found['mean_difference']:.3f} grey levels, of the worst photograph "
            f"{found['worst_mean_difference']:.3f}"
        )


def measure(paths: list[Path], spec: InputSpec, repeats: int) -> dict[str, Any]:
    """Images/s of both, their ratio, and the mean absolute difference in grey levels."""
    seconds = timing.medians(
        timing.alternate(
            {
                "ours": lambda: [images.load(path, spec) for path in paths],
                "pillow": lambda: [_pillow(path, spec) for path in paths],
            },
            repeats,
        )
    )
    differences = [
        float(np.abs(images.load(path, spec).astype(int) - _pillow(path, spec)).mean())
        for path in paths
    ]
    return {
        "images_per_second": len(paths) / seconds["ours"],
        "pillow_images_per_second": len(paths) / seconds["pillow"],
        "ratio": seconds["pillow"] / seconds["ours"],
        "mean_difference": sum(differences) / len(differences),
        "worst_mean_difference": max(differences),
    }


def _pillow(path: Path, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """(C, H, W): all pixels decoded, then resized with Pillow's antialiased bilinear."""
    from PIL import Image

    mode = "L" if spec.channels == 1 else "RGB"
    with Image.open(path) as image:
        small = image.convert(mode).resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    array = np.asarray(small)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _photograph(path: Path, seed: int) -> Path:
    """Octaves of noise whose amplitude falls with their frequency, and a sensor's grain."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH, 3), 118.0, np.float32)
    for octave in range(2, 12):
        cells = 2**octave
        for channels, share in ((1, 0.8), (3, 0.35)):
            noise = rng.normal(0, 90 * share * 2 ** (-0.75 * octave), (cells * 3 // 4, cells))
            layer = Image.fromarray(noise.astype(np.float32)).resize(
                (WIDTH, HEIGHT), Image.Resampling.BICUBIC
            )
            if channels == 1:
                picture += np.asarray(layer)[:, :, None] * 3
            else:
                picture[:, :, octave % 3] += np.asarray(layer) * 3
    picture += rng.normal(0, GRAIN, (HEIGHT, WIDTH, 1)).astype(np.float32)
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path
