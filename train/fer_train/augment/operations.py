"""Augmentations that change each image of a batch by itself."""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def warp(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    shift: float,
    scale: float,
    rotate: float,
    flip: bool,
    sharp: bool = False,
) -> torch.Tensor:
    """Shift, scale, rotation and flip in one sampling; edges are repeated.

    `shift` is a fraction of the side, `scale` a relative change and `rotate` degrees, each drawn
    uniformly between minus and plus; `flip` mirrors half of the images. Bilinear sampling blurs
    small images, which a model then misses when it sees them as they are; `sharp` samples by
    bicubic interpolation, which blurs less.
    """
    count = len(images)
    angle = _uniform(count, rotate, generator)
    zoom = 1 + _uniform(count, scale, generator)
    mirror = torch.ones(count)
    if flip:
        mirror -= 2 * torch.bernoulli(torch.full((count,), 0.5), generator=generator)
    moved = torch.stack([_uniform(count, shift, generator) for _ in range(2)], 1)
    return resample(images, zoom, angle, moved, mirror, "bicubic" if sharp else "bilinear")


def resample(
    images: torch.Tensor,
    zoom: torch.Tensor,
    angle: torch.Tensor,
    moved: torch.Tensor,
    mirror: torch.Tensor,
    mode: str = "bilinear",
) -> torch.Tensor:
    """Crop each image anew in one sampling; edges are repeated.

    Args:
        images: (N, C, H, W) float32.
        zoom: (N,) sides of the new crops, relative to the image's.
        angle: (N,) degrees by which the crops are turned.
        moved: (N, 2) shifts to the right and down, as fractions of the side.
        mirror: (N,) -1 where an image is mirrored, else 1.
        mode: "bilinear" or "bicubic".
    """
    angle = angle * math.pi / 180
    theta = torch.stack(
        [
            torch.stack([zoom * angle.cos() * mirror, -zoom * angle.sin()], 1),
            torch.stack([zoom * angle.sin() * mirror, zoom * angle.cos()], 1),
        ],
        1,
    )
    # affine_grid's coordinates run from -1 to 1, so a shift of the whole side is 2.
    theta = torch.cat([theta, 2 * moved[:, :, None]], 2).to(images.device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode=mode, padding_mode="border", align_corners=False
    )


def jitter(images: torch.Tensor, generator: torch.Generator, *, jitter: float) -> torch.Tensor:
    """Change contrast relatively, and brightness in standard deviations, by up to `jitter`."""
    contrast = 1 + _uniform(len(images), jitter, generator)
    brightness = _uniform(len(images), jitter, generator)
    shape = (-1, 1, 1, 1)
    return images * contrast.view(shape).to(images) + brightness.view(shape).to(images)


def erase(images: torch.Tensor, generator: torch.Generator, *, erase: float) -> torch.Tensor:
    """Fill a rectangle of 2 to 20 % with the mean, with probability `erase` for each image.

    Source: Zhong et al. 2020, "Random Erasing Data Augmentation"; by masks on the whole batch.
    """
    count, _, height, width = images.shape
    draw = torch.rand(5, count, generator=generator)
    area = 0.02 + 0.18 * draw[0]
    aspect = torch.exp((draw[1] * 2 - 1) * math.log(3.0))
    tall, wide = (area * aspect).sqrt() * height, (area / aspect).sqrt() * width
    top, left = draw[2] * (height - tall), draw[3] * (width - wide)
    rows, columns = torch.arange(height), torch.arange(width)
    inside = (
        ((rows >= top[:, None]) & (rows < (top + tall)[:, None]))[:, :, None]
        & ((columns >= left[:, None]) & (columns < (left + wide)[:, None]))[:, None, :]
        & (draw[4] < erase)[:, None, None]
    )
    return images.masked_fill(inside[:, None].to(images.device), 0.0)


def _uniform(count: int, strength: float, generator: torch.Generator) -> torch.Tensor:
    """(count,) float32 between -strength and +strength."""
    return (torch.rand(count, generator=generator) * 2 - 1) * strength
