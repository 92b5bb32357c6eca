"""Models by name, and the deployable wrapper that training evaluates and export ships."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, cast

import torch
from torch import nn

from fer_runtime._lazy import resolve
from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train.nets import timm_nets
from fer_train.nets.compact_cnn import CentreCrop
from fer_train.nets.table import ACTIVATIONS, ARCHITECTURES

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "Deployable",
    "build",
    "check",
    "depthwise_in_fp32",
    "freeze_until",
    "initialise",
    "is_factory",
    "multiply_adds",
    "published_arguments",
]


class Deployable(nn.Module):
    """(N, C, H, W) uint8 images -> (N, K) float32 logits and probabilities.

    Normalisation, temperature and softmax are part of the module, so that they become part of
    every exported graph and no caller can get them wrong. As any PyTorch module, threads may share
    it in evaluation mode.

    Args:
        net: (N, C, H, W) float32 normalised images -> (N, K) logits.
        spec: labels, mean, std and temperature.
    """

    outputs: tuple[str, ...] = ("logits", "probabilities")
    """Their names in an exported file."""
    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, net: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.net = net
        self.spec = spec
        self.labels = spec.labels
        self.temperature = spec.temperature
        first = net[0] if isinstance(net, nn.Sequential) and len(net) else None
        self.crop = first if isinstance(first, CentreCrop) else nn.Identity()
        per_channel = (1, spec.input.channels, 1, 1)
        mean = torch.tensor(spec.input.mean, dtype=torch.float64).view(per_channel)
        std = torch.tensor(spec.input.std, dtype=torch.float64).view(per_channel)
        # Not in the state dict: they belong to the spec, and weights_sha256 is over the net's.
        self.register_buffer("scale", (1 / (255 * std)).float(), False)
        self.register_buffer("shift", (mean / std).float(), False)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) uint8 -> float32 with the training set's mean 0 and std 1.

        (pixels / 255 - mean) / std as one multiplication and one subtraction.
        """
        return images.to(torch.float32) * self.scale - self.shift

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """The net's input in evaluation: cropped as the net would, while the pixels are bytes."""
        return self.normalise(self.crop(images))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.net(self.prepared(images)).to(torch.float32)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def build(
    architecture: str, spec: InputSpec, classes: int, arguments: Mapping[str, Any]
) -> nn.Module:
    """The untrained model of a name, in training mode; it takes (N, C, H, W) float32 images.

        build("simple_cnn", spec.input, 7, {"width": 8})

    Args:
        architecture: a name of `nets.table.ARCHITECTURES`, a torchvision name, `timm:NAME`, or a
            user's `package.module:factory`, which is called as ours are:
            `factory(InputSpec, classes, **arguments)`.
        spec: height, width and channels of the images.
        classes: number of outputs.
        arguments: the model's own keyword arguments.

    Raises:
        ModelSpecError: an unknown name, or arguments that this model does not take.
    """
    if architecture.startswith(timm_nets.PREFIX):
        name = architecture.removeprefix(timm_nets.PREFIX)
        return timm_nets.build(name, spec, classes, arguments)
    if is_factory(architecture):
        factory: Callable[..., nn.Module] = _import_factory(architecture)
    elif architecture in ARCHITECTURES:
        factory = cast("Callable[..., nn.Module]", resolve(ARCHITECTURES[architecture]))
    else:
        from fer_train.nets import torchvision_nets

        return torchvision_nets.build(architecture, spec, classes, arguments)
    try:
        return factory(spec, classes, **arguments)
    except TypeError as error:
        raise ModelSpecError(f"{architecture} cannot be built: {error}") from None


def is_factory(architecture: str) -> bool:
    """Whether building it imports a user's own `package.module:factory`."""
    return ":" in architecture and not architecture.startswith(timm_nets.PREFIX)


def published_arguments(architecture: str) -> dict[str, Any]:
    """The arguments with which `build` makes a model as its library publishes it."""
    if ":" in architecture or architecture in ARCHITECTURES:
        return {}
    from fer_train.nets import torchvision_nets

    return {"small_input": False} if torchvision_nets.is_known(architecture) else {}


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
        raise ModelSpecError(f"{name} is not a function that builds a model.")
    return cast("Callable[..., nn.Module]", factory)


def check(net: nn.Module, name: str, spec: InputSpec, classes: int) -> None:
    """Let a model classify two images, so that what does not fit is named before training starts.

    Args:
        net: the model without normalisation and softmax.
        name: what messages call it.
        spec: the images it must take.
        classes: the outputs it must have.

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
    """Multiply-adds for one image, counted by PyTorch's own FLOP counter (two FLOPs each).

    Leaves `net` in evaluation mode.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, *spec.shape))
    flops: int = counter.get_total_flops()
    return flops // 2


def initialise(net: nn.Module, scheme: str, seed: int) -> None:
    """Draw new weights for convolutions and linear layers, in place.

    Args:
        net: any model.
        scheme: "default" keeps PyTorch's weights, "kaiming", or "normal:STD" with zero biases.
        seed: the same seed gives the same weights.

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
            # A method of this very layer, so that a copy of the model uses its own weights.
            setattr(layer, "forward", MethodType(_forward_in_fp32, layer))  # noqa: B010


def _forward_in_fp32(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return type(layer).forward(layer, x.float())


def freeze_until(net: nn.Module, child: str) -> None:
    """Freeze every child of the model that comes before `child`; "" freezes nothing.

    Raises:
        ModelSpecError: the model has no such child.
    """
    if not child:
        return
    names = [name for name, _ in net.named_children()]
    if child not in names:
        raise ModelSpecError(f"The model has no child {child!r}; it has {', '.join(names)}.")
    for name in names[: names.index(child)]:
        net.get_submodule(name).requires_grad_(False)
