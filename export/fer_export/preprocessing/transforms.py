"""torchvision's transforms, read as Preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_export.preprocessing.fields import Preprocessing, Sides
from fer_runtime.errors import ModelSpecError

INTERPOLATIONS = {
    "nearest": "nearest", "nearest-exact": "nearest", "bilinear": "bilinear", "bicubic": "bicubic",
    "lanczos": "lanczos",
}  # fmt: skip
"""torchvision's names -> ours. On Pillow images "nearest-exact" is "nearest"."""
RANDOM = ("Random", "Auto", "Rand", "Trivial", "AugMix", "ColorJitter", "ElasticTransform",
          "GaussianNoise", "ScaleJitter", "MixUp", "CutMix")  # fmt: skip
"""What the names of random transforms begin with."""


@dataclass
class _Steps:
    """What the transforms so far amount to."""

    channels: int | None = None
    resize_mode: str | None = None
    resize_to: int | Sides | None = None
    interpolation: str | None = None
    crop: Sides | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    done: list[str] = field(default_factory=list)
    is_tensor: bool = False
    is_scaled: bool = False


def from_transforms(transforms: Any, *, channels: int | None = None) -> dict[str, Any]:
    """The fields of a `ModelDescription` that say what torchvision transforms do.

    Args:
        transforms: a `Compose` (of `torchvision.transforms` or `.v2`), a list of transforms, or a
            weights' preset; those used for validation, not for training.
        channels: 1 or 3, where the transforms leave it open.

    Example:
        `ModelDescription(architecture="resnet18", labels=names, **from_transforms(val_transforms))`

    Raises:
        ModelSpecError: a transform that is random, unknown, or that the runtime cannot repeat.
    """
    steps = _Steps()
    for transform in _flat(transforms):
        name = type(transform).__name__
        known = READERS.get(name)
        if known is None or not type(transform).__module__.startswith("torchvision.transforms"):
            raise ModelSpecError(_unknown(name))
        if "Normalize" in steps.done and known is not _nothing:
            raise ModelSpecError(f"{name} comes after Normalize; the runtime normalises last.")
        known(steps, transform)
        steps.done.append(name)
    return _finish(steps, channels).given()


def _flat(transforms: Any) -> Iterator[Any]:
    inner = getattr(transforms, "transforms", None)
    if isinstance(transforms, list | tuple) or type(transforms).__name__ == "Sequential":
        inner = transforms
    if inner is None:
        yield transforms
        return
    for transform in inner:
        yield from _flat(transform)


def _unknown(name: str) -> str:
    if name.startswith(RANDOM):
        return (
            f"The transform {name} is random; pass the transforms that validation uses, not those "
            "of training."
        )
    return (
        f"The transform {name} is not one that the runtime can repeat; it knows "
        f"{', '.join(sorted(READERS))}. Describe the rest by ModelDescription's fields."
    )


def _resize(steps: _Steps, transform: Any) -> None:
    if steps.resize_to is not None or steps.crop is not None:
        raise ModelSpecError("Resize comes after another Resize or CenterCrop; pass one, first.")
    if steps.is_tensor and transform.antialias is False:
        raise ModelSpecError(
            "Resize(antialias=False) on tensors is not what the runtime does; it always smooths."
        )
    size, longest = transform.size, transform.max_size
    steps.interpolation = interpolation(transform.interpolation)
    if size is None:
        steps.resize_mode, steps.resize_to = "long", int(longest)
        return
    if longest is not None:
        raise ModelSpecError("Resize(max_size=…) beside a size cannot be described.")
    sides = [size] if isinstance(size, int) else [int(side) for side in size]
    if len(sides) == 1:
        steps.resize_mode, steps.resize_to = "short", sides[0]
    else:
        steps.resize_mode, steps.resize_to = "stretch", (sides[0], sides[1])


def _centre_crop(steps: _Steps, transform: Any) -> None:
    if steps.resize_to is None or steps.crop is not None:
        raise ModelSpecError("CenterCrop must come after one Resize, and only once.")
    height, width = transform.size
    steps.crop = (int(height), int(width))


def _to_tensor(steps: _Steps, transform: Any) -> None:
    steps.is_tensor = steps.is_scaled = True


def _to_image(steps: _Steps, transform: Any) -> None:
    steps.is_tensor = True


def _to_dtype(steps: _Steps, transform: Any) -> None:
    dtype = transform.dtype
    if isinstance(dtype, Mapping):
        raise ModelSpecError("ToDtype with several types cannot be read; pass one dtype.")
    if dtype.is_floating_point and getattr(transform, "scale", True):
        steps.is_scaled = True


def _normalize(steps: _Steps, transform: Any) -> None:
    steps.mean = tuple(float(value) for value in transform.mean)
    steps.std = tuple(float(value) for value in transform.std)


def _grayscale(steps: _Steps, transform: Any) -> None:
    if transform.num_output_channels != 1:
        raise ModelSpecError(
            "Grayscale(3) cannot be described: the runtime gives a model of 3 channels colours. "
            "Use Grayscale(1) and a model of 1 channel."
        )
    steps.channels = 1


def _rgb(steps: _Steps, transform: Any) -> None:
    steps.channels = 3


def _preset(steps: _Steps, transform: Any) -> None:
    """The transforms of torchvision's weights for classification."""
    size = [int(side) for side in transform.resize_size]
    steps.resize_mode = "short" if len(size) == 1 else "stretch"
    steps.resize_to = size[0] if len(size) == 1 else (size[0], size[1])
    crop = [int(side) for side in transform.crop_size]
    steps.crop = (crop[0], crop[-1])
    steps.interpolation = interpolation(transform.interpolation)
    steps.is_tensor = steps.is_scaled = True
    _normalize(steps, transform)


def _nothing(steps: _Steps, transform: Any) -> None:
    pass


READERS: Mapping[str, Callable[[_Steps, Any], None]] = {
    "Resize": _resize,
    "CenterCrop": _centre_crop,
    "ToTensor": _to_tensor,
    "PILToTensor": _to_image,
    "ToImage": _to_image,
    "ToDtype": _to_dtype,
    "ConvertImageDtype": _to_dtype,
    "Normalize": _normalize,
    "Grayscale": _grayscale,
    "RGB": _rgb,
    "ImageClassification": _preset,
    "ToPureTensor": _nothing,
    "Identity": _nothing,
}
"""Transform -> what it adds; a new transform touches this table only."""


def interpolation(given: Any) -> str:
    """torchvision's InterpolationMode, or its value, as the name that InputSpec has."""
    name = str(getattr(given, "value", given))
    if name not in INTERPOLATIONS:
        raise ModelSpecError(
            f"The interpolation {name} is not known; allowed: {', '.join(INTERPOLATIONS)}."
        )
    return INTERPOLATIONS[name]


def _finish(steps: _Steps, channels: int | None) -> Preprocessing:
    size = steps.crop or steps.resize_to
    count = channels or steps.channels or (len(steps.mean) if len(steps.mean) != 1 else 0)
    if channels and steps.channels and channels != steps.channels:
        raise ModelSpecError(f"channels={channels}, but the transforms give {steps.channels}.")
    if not count:
        count = 3 if not steps.mean else 0
    if not count:
        raise ModelSpecError(
            "Normalize has one mean and fits grey as well as RGB images; pass channels=1 or "
            "channels=3."
        )
    mean, std = steps.mean or (0.0,), steps.std or (1.0,)
    whole = 1.0 if steps.is_scaled else 255.0  # else Normalize sees values up to 255
    return Preprocessing(
        image_size=(size, size) if isinstance(size, int) else size,
        channels=count,
        mean=tuple(value / whole for value in (mean * count if len(mean) == 1 else mean)),
        std=tuple(value / whole for value in (std * count if len(std) == 1 else std)),
        resize_mode=steps.resize_mode,
        interpolation=steps.interpolation,
        resize_to=steps.resize_to,
    )
