"""The tables of models and of activations: a new one is its own module, and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from fer_runtime._lazy import resolve
from fer_runtime.errors import ModelSpecError

if TYPE_CHECKING:
    from torch import nn

    Factory = Callable[..., nn.Module]

ARCHITECTURES: dict[str, str | Factory] = {
    "compact_cnn": "fer_train.nets.compact_cnn:compact_cnn",
    "simple_cnn": "fer_train.nets.simple_cnn:simple_cnn",
}
"""Name -> factory(InputSpec, classes, **arguments) of an untrained model, or "module:name" of one.

Libraries' models need no entry: torchvision's are known by their own names, timm's as `timm:NAME`.
"""

ACTIVATIONS: dict[str, str | Factory] = {
    "relu": "torch.nn:ReLU",
    "leaky_relu": "torch.nn:LeakyReLU",
    "tanh": "torch.nn:Tanh",
    "sigmoid": "torch.nn:Sigmoid",
    "softmax": "fer_train.nets.activations:channel_softmax",
}
"""Name -> function without arguments that returns the layer, or "module:name" of one."""


def activation(name: str) -> nn.Module:
    """A new activation layer; raises ModelSpecError for an unknown name."""
    if name not in ACTIVATIONS:
        raise ModelSpecError(f"Unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}.")
    return cast("Factory", resolve(ACTIVATIONS[name]))()
