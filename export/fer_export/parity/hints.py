"""Which option makes the runtime's pixels those of the user's own preprocessing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.spec import InputSpec, Interpolation

Array = npt.NDArray[Any]

SAME_LEVELS = 0.6
"""Pixels that differ by less than this (root mean square, of 255) are the same but for rounding."""
CROP_SHARES = (1.0, 0.875, 0.9, 0.95, 0.96)
"""Usual sizes of a centre crop, as parts of what was resized."""


def likely_cause(tensor: Array, file: str, spec: InputSpec) -> str:
    """What to do about labels that differ, by one file.

    `tensor` (C, H, W) is what the user's preprocessing makes of `file`. A geometry is right if
    these values are a linear function of the runtime's pixels, whatever mean and std are.
    """
    if tensor.shape != spec.shape:
        return (
            f"that function returns {_sides(tensor.shape[1:])} pixels, and the model's input is "
            f"{_sides(spec.shape[1:])}: look at --crop and --image-size"
        )
    rms, slopes, offsets = _linear(tensor, images.load(file, spec))
    if rms <= SAME_LEVELS:
        mean, std = _numbers(-offsets / slopes), _numbers(1 / slopes)
        return f"the pixels are the same: look at --mean (about {mean}) and --std (about {std})"
    tried = [(_linear(tensor, images.load(file, other))[0], other) for other in _usual(spec)]
    least, best = min(tried, key=lambda entry: entry[0])
    if least > SAME_LEVELS:
        return "look at --resize-mode, --resize-to, --crop and --interpolation"
    options = f"--resize-mode {best.resize_mode} --interpolation {best.interpolation}"
    if isinstance(best.resize_to, tuple):
        options += f" --resize-to {best.resize_to[0]}x{best.resize_to[1]}"
    elif best.resize_to is not None:
        options += f" --resize-to {best.resize_to}"
    return f"its pixels of that file are those of {options}"


def _usual(spec: InputSpec) -> Iterator[InputSpec]:
    """The ways to the same input size that people use."""
    height, width = spec.height, spec.width
    ways: list[dict[str, Any]] = [
        {"resize_mode": mode, "resize_to": None} for mode in ("crop", "pad")
    ]
    for share in CROP_SHARES:
        whole = math.floor(height / share), math.floor(width / share)
        ways.append({"resize_mode": "stretch", "resize_to": whole})
        ways.append({"resize_mode": "short", "resize_to": min(whole)})
        ways.append({"resize_mode": "long", "resize_to": max(whole)})
    for way in ways:
        for interpolation in get_args(Interpolation):
            yield replace(spec, interpolation=interpolation, **way)


def _linear(tensor: Array, pixels: Array) -> tuple[float, Array, Array]:
    """How far, in grey levels, values are from slope * pixel / 255 + offset of each channel."""
    flat = pixels.reshape(len(pixels), -1) / 255.0
    values = tensor.reshape(len(tensor), -1).astype(np.float64)
    flat_mean, value_mean = flat.mean(1, keepdims=True), values.mean(1, keepdims=True)
    spread = np.maximum(((flat - flat_mean) ** 2).sum(1), 1e-12)
    slopes = ((flat - flat_mean) * (values - value_mean)).sum(1) / spread
    offsets = value_mean[:, 0] - slopes * flat_mean[:, 0]
    gaps = values - slopes[:, None] * flat - offsets[:, None]
    # In grey levels by the values' own scale: an unrelated picture has a slope near 0.
    scale = np.maximum(values.std(1), 1e-12) / np.maximum(flat.std(1), 1e-12)
    rms = np.sqrt((gaps**2).mean(1)) / scale * 255
    return float(rms.max()), slopes, offsets


def _numbers(values: Array) -> str:
    return ",".join(f"{value:.3g}" for value in values)


def _sides(sides: Any) -> str:
    return f"{sides[0]} x {sides[1]}"
