"""Models of the package timm, where that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec

PREFIX = "timm:"
"""Before the name of a model in the package timm."""


def build(name: str, spec: InputSpec, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The untrained model of a name in timm, with `classes` outputs and the spec's channels.

    `upscale` enlarges the image to that side first, inside the graph: models made for 224 pixels
    halve it five times, which leaves nothing of 48.

    Raises:
        ModelSpecError: timm is not installed, or does not build this name with these arguments.
    """
    extra = dict(arguments)
    upscale = extra.pop("upscale", 0)
    if not isinstance(upscale, int) or upscale < 0:
        raise ModelSpecError(f"upscale is a side in pixels, not {upscale!r}.")
    try:
        import timm
    except ImportError:
        raise ModelSpecError(
            f"{PREFIX}{name} needs the package timm, which is not installed: pip install timm."
        ) from None
    try:
        net: nn.Module = timm.create_model(
            name, num_classes=classes, in_chans=spec.channels, **extra
        )
    except (RuntimeError, TypeError) as error:
        raise ModelSpecError(f"{PREFIX}{name} cannot be built: {error}") from None
    if upscale:
        return nn.Sequential(nn.Upsample((upscale, upscale), mode="bilinear"), net)
    return net
