"""The tables of augmentations and of their presets: a new one is a function, and one entry here.

Each strength becomes an option of `fer-train fit` and a field of `Recipe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Strength:
    """One strength of an augmentation: its help text, and the value that switches it off."""

    help: str
    off: float | bool = 0.0


@dataclass(frozen=True)
class Operation:
    """One augmentation of whole batches.

    Args:
        function: `function(images, generator, **strengths)`, or "module:name" of one. `images` are
            (N, C, H, W) float32, normalised, and must not be changed in place; every random number
            comes from `generator`, so that a step can be repeated. It returns the new images, or,
            where it `mixes` each image with another one, a `Mixed`.
        strengths: keyword argument of the function -> what it is; the name is that of the option.
        mixes: whether the targets of two images are mixed too. Of several such operations one is
            drawn for each batch.
    """

    function: str | Callable[..., Any]
    strengths: Mapping[str, Strength]
    mixes: bool = False


AUGMENTATIONS: dict[str, Operation] = {
    "warp": Operation(
        "fer_train.augment.operations:warp",
        {
            "shift": Strength("Fraction of the side."),
            "scale": Strength("Relative change of size."),
            "rotate": Strength("Degrees."),
            "flip": Strength("Mirror half of the images.", off=False),
            "sharp": Strength("Sample by bicubic interpolation, which blurs less.", off=False),
        },
    ),
    "jitter": Operation(
        "fer_train.augment.operations:jitter", {"jitter": Strength("Contrast and brightness.")}
    ),
    "erase": Operation(
        "fer_train.augment.operations:erase", {"erase": Strength("Probability of random erasing.")}
    ),
    "mixup": Operation(
        "fer_train.augment.mixing:mixup",
        {"mixup": Strength("Alpha of mixup: blends of two images.")},
        mixes=True,
    ),
    "cutmix": Operation(
        "fer_train.augment.mixing:cutmix",
        {"cutmix": Strength("Alpha of CutMix: a rectangle from another image.")},
        mixes=True,
    ),
}
"""Name -> augmentation, in the order in which they are applied."""

PRESETS: dict[str, Mapping[str, float | bool]] = {
    "none": {},
    "light": {"shift": 0.06, "scale": 0.06, "rotate": 5, "flip": True},
    "standard": {"shift": 0.1, "scale": 0.1, "rotate": 12, "flip": True, "jitter": 0.2},
    "strong": {
        "shift": 0.1, "scale": 0.15, "rotate": 15, "flip": True, "jitter": 0.3,
        "erase": 0.3, "mixup": 0.2,
    },
}  # fmt: skip
"""Value of `--augment` -> strengths."""


def strengths() -> dict[str, Strength]:
    """Every strength of the table by its name."""
    return {n: s for operation in AUGMENTATIONS.values() for n, s in operation.strengths.items()}
