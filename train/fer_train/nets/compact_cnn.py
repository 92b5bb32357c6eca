"""compact_cnn: a small residual network for faces of 48 x 48 pixels; the default."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec


class CentreCrop(nn.Module):
    """(N, C, H, W) -> (N, C, size, size): the middle of the image, inside the graph.

    Augmentation shifts and scales the image before it, which makes this training's random crop.
    An image of that size is passed on as it is.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2:] == (self.size, self.size):
            return x
        top, left = (x.shape[2] - self.size) // 2, (x.shape[3] - self.size) // 2
        return x[:, :, top : top + self.size, left : left + self.size]


class ResidualBlock(nn.Module):
    """(N, C, H, W) -> (N, D, H/s, W/s): two 3x3 convolutions, `hidden` between, and a shortcut.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", basic block; Hu et al.
    2018, "Squeeze-and-excitation networks"; Huang et al. 2016, "Deep networks with stochastic
    depth".
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        stride: int,
        *,
        squeeze: int = 0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, hidden, stride), nn.ReLU(), *_convolution(hidden, outputs, 1)
        )
        if squeeze:
            from torchvision.ops import SqueezeExcitation  # takes a second, and few models need it

            self.body.append(SqueezeExcitation(outputs, max(1, outputs // squeeze)))
        if drop_path:
            from torchvision.ops import StochasticDepth

            self.body.append(StochasticDepth(drop_path, "row"))
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, stride, 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, stride: int, kernel: int = 3) -> list[nn.Module]:
    """A padded convolution whose bias the following BatchNorm makes superfluous."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def compact_cnn(
    spec: InputSpec,
    classes: int,
    *,
    stem: int = 32,
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (1, 1, 1),
    hidden: Sequence[int] = (),
    crop: int = 0,
    squeeze: int = 0,
    drop_path: float = 0.0,
    dropout: float = 0.2,
) -> nn.Module:
    """A small residual network for 48x48 faces: 28.4 M multiply-adds, 0.31 M parameters.

    A full-resolution stem, then one stage per entry of `widths` that halves the resolution.
    Ordinary 3x3 convolutions in multiples of 16 channels, which run near the CPU's peak.

    Args:
        spec: size and channels of the images.
        classes: number of outputs.
        stem: channels of the first convolution.
        widths: channels of each stage.
        depths: residual blocks of each stage.
        hidden: channels between the two convolutions of each block of a stage, by default
            `widths`; here a trained model can be pruned at little cost.
        crop: compute on the middle crop x crop pixels only; 0 is the whole image.
        squeeze: each block weighs its channels by a small network with so many times fewer
            (squeeze-and-excitation); 0 is off.
        drop_path: share of images for which the last block's convolutions are left out in training
            (stochastic depth), less in the blocks before it; 0 is off.
        dropout: share of features dropped before the last layer.

    Raises:
        ModelSpecError: a crop larger than the image, lists of different lengths, channels that are
            not multiples of 16, or a share or a divisor out of range.
    """
    hidden = hidden or widths
    if not 0 <= crop <= min(spec.height, spec.width):
        raise ModelSpecError(f"crop {crop} is not within {spec.height} x {spec.width} pixels.")
    if squeeze < 0:
        raise ModelSpecError(f"squeeze is {squeeze}; it must not be negative.")
    if not 0 <= drop_path < 1:
        raise ModelSpecError(f"drop_path is {drop_path}; it must be from 0 to below 1.")
    _check_channels(stem, widths, depths, hidden)
    layers: list[nn.Module] = [CentreCrop(crop)] if crop else []
    layers += [*_convolution(spec.channels, stem, 1), nn.ReLU()]
    before, numbers = stem, itertools.count(1)
    for width, inner, depth in zip(widths, hidden, depths, strict=True):
        for index in range(depth):
            stride = 2 if index == 0 else 1
            share = drop_path * next(numbers) / sum(depths)
            layers.append(
                ResidualBlock(before, inner, width, stride, squeeze=squeeze, drop_path=share)
            )
            before = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, classes)]
    return nn.Sequential(*layers, *head)


def _check_channels(
    stem: int, widths: Sequence[int], depths: Sequence[int], hidden: Sequence[int]
) -> None:
    if not len(widths) == len(depths) == len(hidden):
        raise ModelSpecError(
            f"compact_cnn's widths {list(widths)}, depths {list(depths)} and hidden {list(hidden)} "
            "must have one entry per stage."
        )
    for width in (stem, *widths, *hidden):
        # Besides speed: PyTorch 2.15's channels-last 1x1 convolution with stride 2 corrupts memory
        # for other widths below 16 (seen with AVX-512).
        if width % 16 or width < 16:
            raise ModelSpecError(f"compact_cnn's widths are multiples of 16, not {width}.")
