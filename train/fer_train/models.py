"""The nets by name, and the deployable wrapper that training evaluates and export ships."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch import nn

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec


class Deployable(nn.Module):
    """(N, C, H, W) uint8 images -> (N, K) float32 logits and probabilities.

    Normalisation, temperature and softmax are part of the module, so that they become part of
    every exported graph and no caller can get them wrong.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.net = net
        self.labels = spec.labels
        self.temperature = spec.temperature
        per_channel = (1, spec.input.channels, 1, 1)
        # Not in the state dict: they belong to the spec, and weights_sha256 is over the net's.
        self.register_buffer("mean", torch.tensor(spec.input.mean).view(per_channel), False)
        self.register_buffer("std", torch.tensor(spec.input.std).view(per_channel), False)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) uint8 -> float32 with the training set's mean 0 and std 1."""
        return (images.to(torch.float32) / 255 - self.mean) / self.std

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.net(self.normalise(images)).to(torch.float32)
        return logits, torch.softmax(logits / self.temperature, dim=1)


class CentreCrop(nn.Module):
    """(N, C, H, W) -> (N, C, size, size): the middle of the image, inside the graph.

    Augmentation shifts and scales the image before it, which makes this training's random crop.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top, left = (x.shape[2] - self.size) // 2, (x.shape[3] - self.size) // 2
        return x[:, :, top : top + self.size, left : left + self.size]


class ResidualBlock(nn.Module):
    """(N, C, H, W) -> (N, D, H/s, W/s): two 3x3 convolutions, `hidden` between, and a shortcut.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", basic block.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, hidden, stride), nn.ReLU(), *_convolution(hidden, outputs, 1)
        )
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
    dropout: float = 0.2,
) -> nn.Module:
    """A small residual net for 48x48 faces: 28.4 M multiply-adds, 0.31 M parameters by default.

    A full-resolution stem, then one stage per entry of `widths` that halves the resolution.
    Ordinary 3x3 convolutions in multiples of 16 channels, which run near the CPU's peak.
    `depths` are the stages' residual blocks, and `hidden` the channels between the two convolutions
    of each, as many as `widths` unless given: where a trained net can be pruned at little cost.
    `crop` computes on the middle crop x crop pixels only; 0 is the whole image.
    """
    if not 0 <= crop <= min(spec.height, spec.width):
        raise ModelSpecError(f"crop {crop} is not within {spec.height} x {spec.width} pixels.")
    hidden = hidden or widths
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
    layers: list[nn.Module] = [CentreCrop(crop)] if crop else []
    layers += [*_convolution(spec.channels, stem, 1), nn.ReLU()]
    before = stem
    for width, inner, depth in zip(widths, hidden, depths, strict=True):
        for index in range(depth):
            layers.append(ResidualBlock(before, inner, width, 2 if index == 0 else 1))
            before = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, classes)]
    return nn.Sequential(*layers, *head)


def simple_cnn(
    spec: InputSpec,
    classes: int,
    *,
    width: int = 16,
    depth: int = 3,
    batch_norm: bool = True,
    activation: str = "relu",
    dropout: float = 0.3,
) -> nn.Module:
    """The plain CNN of a first project: `depth` times convolution and pooling, then 512 -> classes.

    `width` channels in the first convolution, doubled by each that follows.
    """
    if min(spec.height, spec.width) >> depth < 1:
        raise ModelSpecError(
            f"depth {depth} halves {spec.height} x {spec.width} pixels down to nothing; "
            "use a smaller --depth or a larger --image-size."
        )
    layers: list[nn.Module] = []
    before = spec.channels
    for index in range(depth):
        after = width << index
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(after)] if batch_norm else []
        layers += [_activation(activation), nn.MaxPool2d(2)]
        before = after
    flat = before * (spec.height >> depth) * (spec.width >> depth)
    layers += [nn.Flatten(), nn.Linear(flat, 512), _activation(activation)]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(512, classes))


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=1),
}

TIMM = "timm:"
"""Before the name of a net in the package timm."""

ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "compact_cnn": compact_cnn,
    "simple_cnn": simple_cnn,
}
"""Name -> factory(InputSpec, classes, **arguments); adding a net touches this table only."""


def build(
    architecture: str, spec: InputSpec, classes: int, arguments: Mapping[str, Any]
) -> nn.Module:
    """The untrained net of a name: ours, torchvision's, `timm:NAME`, or `package.module:factory`.

    A user's factory is called like ours: `factory(InputSpec, classes, **arguments)`.

    Raises:
        ModelSpecError: an unknown name, or arguments that this net does not take.
    """
    if architecture.startswith(TIMM):
        return _timm(architecture.removeprefix(TIMM), spec, classes, arguments)
    if is_factory(architecture):
        factory: Callable[..., nn.Module] = _import_factory(architecture)
    elif architecture in ARCHITECTURES:
        factory = ARCHITECTURES[architecture]
    else:
        from fer_train import torchvision_nets

        return torchvision_nets.build(architecture, spec, classes, arguments)
    try:
        return factory(spec, classes, **arguments)
    except TypeError as error:
        raise ModelSpecError(f"{architecture} cannot be built: {error}") from None


def is_factory(architecture: str) -> bool:
    """Whether building it imports a user's own `package.module:factory`."""
    return ":" in architecture and not architecture.startswith(TIMM)


def published_arguments(architecture: str) -> dict[str, Any]:
    """What `build` must be told so that a net is as its library publishes it, for its weights."""
    if ":" in architecture or architecture in ARCHITECTURES:
        return {}
    from fer_train import torchvision_nets

    return {"small_input": False} if torchvision_nets.is_known(architecture) else {}


def _timm(name: str, spec: InputSpec, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """A net of the package timm, where that is installed.

    `upscale` enlarges the image to that side first, inside the graph: nets made for 224 pixels
    halve it five times, which leaves nothing of 48.
    """
    extra = dict(arguments)
    upscale = extra.pop("upscale", 0)
    if not isinstance(upscale, int) or upscale < 0:
        raise ModelSpecError(f"upscale is a side in pixels, not {upscale!r}.")
    try:
        import timm
    except ImportError:
        raise ModelSpecError(
            f"{TIMM}{name} needs the package timm, which is not there: pip install timm."
        ) from None
    try:
        net: nn.Module = timm.create_model(
            name, num_classes=classes, in_chans=spec.channels, **extra
        )
    except (RuntimeError, TypeError) as error:
        raise ModelSpecError(f"{TIMM}{name} cannot be built: {error}") from None
    if upscale:
        return nn.Sequential(nn.Upsample((upscale, upscale), mode="bilinear"), net)
    return net


def _import_factory(name: str) -> Callable[..., nn.Module]:
    """`package.module:factory`, looked for in the current folder too, as `python -m` does."""
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelSpecError(f"The factory {name} cannot be imported: {error}.") from None
    if not callable(factory):
        raise ModelSpecError(f"{name} is no function that builds a net.")
    checked: Callable[..., nn.Module] = factory
    return checked


def check(net: nn.Module, name: str, spec: InputSpec, classes: int) -> None:
    """Let a net classify two images, so that what does not fit is named before training starts.

    Raises:
        ModelSpecError: it does not take (N, C, H, W) of the spec, or does not give (N, classes).
    """
    before = net.training
    images = torch.zeros(2, *spec.shape)
    try:
        with torch.inference_mode():
            found = net.eval()(images)
    except (RuntimeError, ValueError) as error:
        raise ModelSpecError(
            f"{name} does not take images of {tuple(spec.shape)} (channels, height, width): {error}"
        ) from None
    finally:
        net.train(before)
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != (2, classes):
        raise ModelSpecError(
            f"{name} gives {shape} for 2 images; for {classes} classes it must be (2, {classes})."
        )


def multiply_adds(net: nn.Module, spec: InputSpec) -> int:
    """Of one image through a net, counted by PyTorch's own FLOP counter (two FLOPs each)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, *spec.shape))
    flops: int = counter.get_total_flops()
    return flops // 2


def initialise(net: nn.Module, scheme: str, seed: int) -> None:
    """Draw the weights anew: "default" leaves them, "kaiming", or "normal:STD" with zero biases.

    Raises:
        ModelSpecError: another scheme.
    """
    if scheme == "default":
        return
    kind, _, text = scheme.partition(":")
    try:
        std = float(text) if kind == "normal" else 0.0
    except ValueError:
        std = -1.0
    if kind not in ("kaiming", "normal") or (kind == "kaiming" and text) or std < 0:
        raise ModelSpecError(f"init is {scheme!r}; allowed: default, kaiming, normal:STD.")
    torch.manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if kind == "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def depthwise_in_fp32(net: nn.Module) -> None:
    """Exempt depthwise convolutions from autocast: a CPU's gradient of them is slow in bfloat16."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            # A method of this very layer, so that a copy of the net computes with its own weights.
            setattr(layer, "forward", MethodType(_forward_in_fp32, layer))  # noqa: B010


def _forward_in_fp32(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return type(layer).forward(layer, x.float())


def freeze_until(net: nn.Module, child: str) -> None:
    """Freeze every child of the net that stands before `child`; "" freezes nothing.

    Raises:
        ModelSpecError: the net has no such child.
    """
    if not child:
        return
    names = [name for name, _ in net.named_children()]
    if child not in names:
        raise ModelSpecError(f"The net has no child {child!r}; it has {', '.join(names)}.")
    for name in names[: names.index(child)]:
        net.get_submodule(name).requires_grad_(False)


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ModelSpecError(f"Unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()
