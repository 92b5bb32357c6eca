"""How much detail augmentation takes from small images: `sharpness.py best.pt fer2013`.

Prints the standard deviation of the Laplacian, in grey levels, of validation images as they are and
as `--augment standard` changes them, with bilinear and with bicubic sampling.
"""

import sys
from pathlib import Path

import torch

from fer_train import checkpoint, evaluate
from fer_train.augment.operations import warp


def detail(images: torch.Tensor) -> float:
    """Of the inner pixels, which no repeated edge reaches."""
    inner = images[:, :, 6:-6, 6:-6]
    rows = inner[:, :, :-2, 1:-1] + inner[:, :, 2:, 1:-1]
    columns = inner[:, :, 1:-1, :-2] + inner[:, :, 1:-1, 2:]
    return float((4 * inner[:, :, 1:-1, 1:-1] - rows - columns).std())


loaded = checkpoint.load(Path(sys.argv[1]))
split, _ = evaluate.load_split(loaded, Path(sys.argv[2]))
pixels = split.images.float()
print(f"as they are {detail(pixels):.0f}")
for name, sharp in (("bilinear", False), ("bicubic", True)):
    generator = torch.Generator().manual_seed(0)
    moved = warp(pixels, generator, shift=0.1, scale=0.1, rotate=12, flip=True, sharp=sharp)
    print(f"{name} {detail(moved):.0f}")
