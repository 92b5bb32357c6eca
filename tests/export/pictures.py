"""Pictures and the usual transforms of torchvision, for the tests of preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as v1

BICUBIC = v1.InterpolationMode.BICUBIC
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LABELS = ("angry", "calm", "glad", "sad", "sly")
SIZES = ((90, 120), (111, 75), (83, 83))
"""Heights and widths of the images."""
SIDE, WHOLE = 56, 64
"""224 and 256 at a quarter of the cost."""


def textured(height: int, width: int, seed: int) -> Image.Image:
    """Broad colours under fine grain, so that every way of resizing gives other pixels."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    broad = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    grain = rng.normal(0, 40, (height, width, 3))
    return Image.fromarray(np.clip(broad + grain, 0, 255).astype(np.uint8))


def transforms(*steps: Any) -> Any:
    return v1.Compose([*steps, v1.ToTensor(), v1.Normalize(IMAGENET["mean"], IMAGENET["std"])])


WAYS: dict[str, tuple[Any, list[str]]] = {
    "plain bilinear": (
        transforms(v1.Resize((SIDE, SIDE))),
        ["--image-size", str(SIDE)],
    ),
    "bicubic": (
        transforms(v1.Resize((SIDE, SIDE), interpolation=BICUBIC)),
        ["--resize-to", f"{SIDE}x{SIDE}", "--interpolation", "bicubic"],
    ),
    "resize and crop": (
        transforms(v1.Resize(WHOLE), v1.CenterCrop(SIDE)),
        ["--resize-to", str(WHOLE), "--crop", str(SIDE)],
    ),
    "short side alone": (
        transforms(v1.Resize(SIDE)),
        ["--resize-to", str(SIDE)],
    ),
    "timm's default": (
        transforms(v1.Resize(WHOLE, interpolation=BICUBIC), v1.CenterCrop(SIDE)),
        ["--resize-to", str(WHOLE), "--crop", str(SIDE), "--interpolation", "bicubic"],
    ),
}
"""The usual transforms, and the options that describe them."""


def prepared(transform: Any, path: Path | str) -> torch.Tensor:
    with Image.open(path) as image:
        tensor: torch.Tensor = transform(image.convert("RGB"))
    return tensor
