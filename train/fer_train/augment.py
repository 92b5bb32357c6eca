"""Random augmentation of whole training batches, as tensors; never applied to validation.

Every random number comes from the generator that is given, so that a step can be repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths; 0 (or False) switches one off.

    `shift` in fractions of the side, `scale` as a relative change, `rotate` in degrees, each drawn
    uniformly from plus to minus; `flip` mirrors half of the images; `jitter` is the relative change
    of contrast and the absolute one of brightness (in standard deviations); `erase` the probability
    of a rectangle of 2-20 % filled with the mean; `mixup` the alpha of its Beta distribution.
    """

    shift: float = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    flip: bool = False
    jitter: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(N, C, H, W) float32, normalised -> the same, augmented; mixup is applied by the loss."""
        images = self._warp(images, generator)
        if self.jitter:
            images = self._jitter(images, generator)
        if self.erase:
            images = self._erase(images, generator)
        return images

    def _warp(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Shift, scale, rotation and flip in one bilinear sampling; edges are repeated."""
        if not (self.shift or self.scale or self.rotate or self.flip):
            return images
        count = len(images)
        angle = _uniform(count, self.rotate, generator) * math.pi / 180
        zoom = 1 + _uniform(count, self.scale, generator)
        mirror = torch.ones(count)
        if self.flip:
            mirror -= 2 * torch.bernoulli(torch.full((count,), 0.5), generator=generator)
        # affine_grid's coordinates run from -1 to 1, so a shift of the whole side is 2.
        theta = torch.stack(
            [
                torch.stack([zoom * angle.cos() * mirror, -zoom * angle.sin()], 1),
                torch.stack([zoom * angle.sin() * mirror, zoom * angle.cos()], 1),
            ],
            1,
        )
        shift = 2 * torch.stack([_uniform(count, self.shift, generator) for _ in range(2)], 1)
        theta = torch.cat([theta, shift[:, :, None]], 2).to(images.device)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _jitter(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        contrast = 1 + _uniform(len(images), self.jitter, generator)
        brightness = _uniform(len(images), self.jitter, generator)
        shape = (-1, 1, 1, 1)
        return images * contrast.view(shape).to(images) + brightness.view(shape).to(images)

    def _erase(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Random erasing (Zhong et al. 2020) with the mean, on the whole batch by masks."""
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
            & (draw[4] < self.erase)[:, None, None]
        )
        return images.masked_fill(inside[:, None].to(images.device), 0.0)


def _uniform(count: int, strength: float, generator: torch.Generator) -> torch.Tensor:
    """(count,) float32 between -strength and +strength."""
    return (torch.rand(count, generator=generator) * 2 - 1) * strength
