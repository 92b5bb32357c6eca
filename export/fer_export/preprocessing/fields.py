"""What is known about the way from an image to a model's input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import InputSpec

Sides = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """What is known about the way from an image to the input; None or () where nothing is.

    The fields are those of `ModelDescription`, and mean what they mean in `InputSpec`;
    `image_size` is (height, width).
    """

    image_size: Sides | None = None
    channels: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize_mode: str | None = None
    interpolation: str | None = None
    resize_to: int | Sides | None = None
    face_crop: FaceCrop | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are known, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, ())}


def describe(spec: InputSpec) -> str:
    """One line: what an image goes through before the model sees it."""
    colour = "grey" if spec.channels == 1 else "RGB"
    crop = _sides_text((spec.height, spec.width), short=True)
    how = spec.interpolation
    if spec.resize_mode in ("short", "long"):
        steps = f"{spec.resize_mode} side resized to {spec.resize_to} ({how}), centre crop {crop}"
    elif isinstance(spec.resize_to, tuple):
        steps = f"resized to {_sides_text(spec.resize_to)} ({how})"
        if spec.resize_to != (spec.height, spec.width):
            steps += f", centre crop {crop}"
    elif spec.resize_mode == "crop":
        steps = f"resized until it covers the input ({how}), centre crop"
    elif spec.resize_mode == "pad":
        steps = f"resized until it fits into the input ({how}), black around it"
    else:
        steps = f"resized without regard to the aspect ratio ({how})"
    values = "; ".join(
        f"{name} {', '.join(f'{value:.6g}' for value in numbers)}"
        for name, numbers in (("mean", spec.mean), ("std", spec.std))
    )
    size = _sides_text((spec.height, spec.width))
    return f"input {size} {colour}: {steps}; {values}; face crop {spec.face_crop}"


def input_fields(description: Any) -> Mapping[str, Any]:
    """The fields of InputSpec that a ModelDescription may leave to the defaults."""
    names = ("resize_mode", "interpolation", "resize_to", "face_crop")
    values = {name: getattr(description, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _sides_text(sides: Sides, short: bool = False) -> str:
    return str(sides[0]) if short and sides[0] == sides[1] else f"{sides[0]} x {sides[1]}"
