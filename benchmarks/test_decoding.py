"""Image files to a model's pixels, against Pillow: `pytest benchmarks -k decoding`."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_bench.image_files import ImageFiles
from fer_bench.recording import measure_call
from fer_runtime import images
from fer_runtime.spec import ModelSpec

COUNT = 32
KINDS = {(48, ".jpg"): "JPEG", (48, ".png"): "PNG", (256, ".jpg"): "JPEG", (1024, ".jpg"): "JPEG"}


def by_pillow(content: bytes, spec: ModelSpec) -> np.ndarray:
    """As tutorials do it: decode everything, convert, resize with antialiasing."""
    mode = "L" if spec.input.channels == 1 else "RGB"
    picture = Image.open(io.BytesIO(content)).convert(mode)
    size = (spec.input.width, spec.input.height)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
    return pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}{kind[1]}")
@pytest.mark.parametrize("engine", ["runtime", "Pillow"])
def test_decoding(
    benchmark: Any, files: ImageFiles, spec: ModelSpec, kind: tuple[int, str], engine: str
) -> None:
    side, ending = kind
    benchmark.group = f"decoding, {KINDS[kind]} of {side} pixels"
    contents = [path.read_bytes() for path in sorted(files.images(side, ending, COUNT).iterdir())]
    found: list[np.ndarray] = []

    def run() -> None:
        if engine == "Pillow":
            found[:] = [by_pillow(content, spec) for content in contents]
        else:
            found[:] = [images.decode(content, spec.input) for content in contents]

    measure_call(benchmark, run, COUNT, seconds=0.5, least=5, engine=engine, threads=1)
    expected = np.stack([by_pillow(content, spec) for content in contents])
    assert np.abs(np.stack(found).astype(float) - expected).mean() < 2
