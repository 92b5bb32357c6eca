"""torchvision's classifiers by name, adapted to the classes, to grey and to small inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision import models

from fer_runtime.errors import ModelFileError, ModelSpecError
from fer_runtime.spec import InputSpec
from fer_train.nets.table import ARCHITECTURES

SMALL_SIDE = 96
"""Inputs with a side up to this lose less resolution in the stem: it was made for 224 pixels."""


def build(name: str, spec: InputSpec, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained torchvision classifier.

    `dropout` is taken where the model has dropout before its head. For sides up to 96 pixels the
    first convolution keeps the resolution (stride 1), and a ResNet's first pooling is omitted;
    `small_input` True or False decides that instead of the size (False: as published).

    Raises:
        ModelSpecError: an unknown name, or arguments that this model does not take.
    """
    if not is_known(name):
        raise ModelSpecError(
            f"Unknown architecture {name!r}. Ours: {', '.join(ARCHITECTURES)}. torchvision's: "
            f"{', '.join(models.list_models(module=models)[:6])} … (see "
            "torchvision.models.list_models()). timm's: timm:NAME. Your own: "
            "package.module:factory."
        )
    extra = dict(arguments)
    small = extra.pop("small_input", max(spec.height, spec.width) <= SMALL_SIDE)
    if name in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": False, **extra}
    try:
        net = models.get_model(name, weights=None, num_classes=classes, **extra)
    except TypeError as error:
        raise ModelSpecError(f"{name} cannot be built: {error}") from None
    _adapt_first_convolution(net, spec, small)
    return net  # type: ignore[no-any-return]  # torchvision is untyped


def is_known(name: str) -> bool:
    """Whether torchvision has a classifier of this name."""
    return name in models.list_models(module=models)


def load_pretrained(net: nn.Module, name: str) -> None:
    """Fill in torchvision's ImageNet weights, except for the head.

    The first convolution is summed over its colour channels where the model is grey: a grey picture
    then gives what it would give in three equal channels. torchvision downloads the weights once.

    Raises:
        ModelFileError: the weights are not cached and cannot be downloaded.
        ModelSpecError: not a torchvision model.
    """
    if not is_known(name):
        raise ModelSpecError(f"--pretrained is for torchvision's models, and {name!r} is not one.")
    try:
        weights = models.get_model_weights(name).DEFAULT.get_state_dict(progress=False)
    except OSError as error:
        raise ModelFileError(
            f"The weights of {name} cannot be downloaded ({error}); train without --pretrained, or "
            "put the file into torch.hub's cache folder (TORCH_HOME)."
        ) from None
    own = net.state_dict()
    first = _first_convolution(net)[0] + ".weight"
    if own[first].shape[1] == 1:
        weights[first] = weights[first].sum(1, keepdim=True)
    fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    net.load_state_dict({**own, **fitting})


def _first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name, layer
    raise ModelSpecError("The model has no convolution, so it cannot be adapted to its input.")


def _adapt_first_convolution(net: nn.Module, spec: InputSpec, small: bool) -> None:
    name, layer = _first_convolution(net)
    overlaps = layer.kernel_size[0] > layer.stride[0]  # else it cuts patches, as in ConvNeXt
    stride = (1, 1) if small and overlaps else layer.stride
    if (layer.in_channels, layer.stride) != (spec.channels, stride):
        adapted = nn.Conv2d(
            spec.channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]  # torch types a pair as a longer tuple
            stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
        )
        with torch.no_grad():
            nn.init.kaiming_normal_(adapted.weight, mode="fan_out", nonlinearity="relu")
        parent, _, attribute = name.rpartition(".")
        setattr(net.get_submodule(parent), attribute, adapted)
    if small and isinstance(getattr(net, "maxpool", None), nn.MaxPool2d):
        net.maxpool = nn.Identity()
