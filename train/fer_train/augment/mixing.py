"""Augmentations that mix each image, and its target, with another one of the batch."""

from __future__ import annotations

import numpy as np
import torch

from fer_train.augment import Mixed


def mixup(images: torch.Tensor, generator: torch.Generator, *, mixup: float) -> Mixed:
    """Blend each image with another one; the share is drawn from Beta(mixup, mixup).

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
    """
    share, partners = _draw(images, generator, mixup)
    if share == 1:
        return Mixed(images)
    return Mixed(share * images + (1 - share) * images[partners], share, partners)


def cutmix(images: torch.Tensor, generator: torch.Generator, *, cutmix: float) -> Mixed:
    """Replace a rectangle of each image by that of another one.

    Its area is drawn from Beta(cutmix, cutmix) and its centre uniformly; what is outside the image
    is cut off, and the share is that of the pixels that stay.

    Source: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features".
    """
    share, partners = _draw(images, generator, cutmix)
    height, width = images.shape[2:]
    row, column = (torch.rand(2, generator=generator) * torch.tensor([height, width])).tolist()
    tall, wide = height * (1 - share) ** 0.5, width * (1 - share) ** 0.5
    top, bottom = (round(min(max(row + s * tall / 2, 0), height)) for s in (-1, 1))
    left, right = (round(min(max(column + s * wide / 2, 0), width)) for s in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partners, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixed(mixed, kept, partners)


def _draw(
    images: torch.Tensor, generator: torch.Generator, alpha: float
) -> tuple[float, torch.Tensor]:
    """A share from Beta(alpha, alpha), and each image's partner."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    return share, torch.randperm(len(images), generator=generator).to(images.device)
