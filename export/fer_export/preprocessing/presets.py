"""Preprocessing by name: of torchvision's and timm's weights, and of Hugging Face's files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fer_export.preprocessing import transforms
from fer_export.preprocessing.fields import Preprocessing, Sides
from fer_runtime.errors import DataError, ModelSpecError

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as Hugging Face's files have them."""

SQUARE_PROCESSORS = ("ViT", "DeiT", "Deit", "Beit", "BEiT", "Swin", "Dinov2")
SHORT_SIDE_PROCESSORS = ("CLIP", "MobileNet", "Levit", "LeViT", "PoolFormer", "ConvNext")
"""What the names of processors begin with that take a bare `size` for a square, or a short side."""

UNSUPPORTED = {
    "do_flip_channel_order": "BGR instead of RGB",
    "do_pad": "padding",
    "rescale_offset": "values from -1",
    "include_top": "a second normalisation",
    "do_split_image": "tiles",
}
"""Switches of a preprocessor_config.json that the runtime has no counterpart of."""


def read(name: str) -> Preprocessing:
    """The preset of `torchvision:NAME`, `timm:NAME`, or a preprocessor_config.json.

    Raises:
        ModelSpecError: an unknown name, or preprocessing that the runtime cannot repeat.
        DataError: a file that cannot be read.
    """
    library, separator, weights = name.partition(":")
    if separator and library in LIBRARIES:
        return LIBRARIES[library](weights)
    path = Path(name)
    if path.suffix == ".json" or path.is_dir():
        return _hugging_face(path)
    raise ModelSpecError(
        f"--preprocessing {name}: pass torchvision:NAME, timm:NAME, or the path of a "
        "preprocessor_config.json."
    )


def _torchvision(name: str) -> Preprocessing:
    """Of a model's default weights (`resnet50`), or of given ones (`ResNet50_Weights.MEMBER`)."""
    import torchvision

    try:
        if "." in name:
            weights = torchvision.models.get_weight(name)
        else:
            weights = torchvision.models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError, KeyError) as error:
        raise ModelSpecError(
            f"torchvision has no weights named {name}: {error}. Pass a model, as "
            "torchvision:resnet18, or its weights, as torchvision:ResNet50_Weights.IMAGENET1K_V1."
        ) from None
    return Preprocessing(**transforms.from_transforms(weights.transforms()))


def _timm(name: str) -> Preprocessing:
    """As timm's `create_transform` makes it for evaluation."""
    try:
        import timm
    except ImportError:
        raise ModelSpecError(
            f"--preprocessing timm:{name} needs the package timm, which is not installed: "
            "pip install timm."
        ) from None
    try:
        found = timm.get_pretrained_cfg(name)
    except (RuntimeError, ValueError) as error:
        raise ModelSpecError(f"timm has no model named {name}: {error}") from None
    if found is None:
        raise ModelSpecError(f"timm has no model named {name}; timm.list_models() lists them.")
    config = found if isinstance(found, Mapping) else found.to_dict()
    channels, height, width = config.get("input_size") or (3, 224, 224)
    scale = config.get("crop_pct") or 0.875
    whole = math.floor(height / scale), math.floor(width / scale)
    mode = config.get("crop_mode") or "center"
    if mode == "border" or (mode == "center" and whole[0] != whole[1]):
        raise ModelSpecError(
            f"timm:{name} has crop_mode {mode} for {height} x {width} pixels, which the runtime "
            "cannot repeat; pass --resize-mode, --resize-to and --crop for the nearest."
        )
    return Preprocessing(
        image_size=(height, width),
        channels=channels,
        mean=tuple(config.get("mean") or (0.485, 0.456, 0.406)),
        std=tuple(config.get("std") or (0.229, 0.224, 0.225)),
        resize_mode="stretch" if mode == "squash" else "short",
        interpolation=transforms.interpolation(config.get("interpolation") or "bicubic"),
        resize_to=whole if mode == "squash" else whole[0],
    )


LIBRARIES: Mapping[str, Callable[[str], Preprocessing]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}
"""What stands before the colon -> what reads the rest."""


def _hugging_face(path: Path) -> Preprocessing:
    """A preprocessor_config.json, or the folder that contains it."""
    file = path / "preprocessor_config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a preprocessor_config.json: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{file} is not a JSON object.")
    try:
        return _from_config(config)
    except ModelSpecError as error:
        raise ModelSpecError(f"{file}: {error}") from None
    except (TypeError, ValueError, KeyError) as error:
        raise ModelSpecError(f"{file} has a value that cannot be used: {error!r}") from None


def _from_config(config: Mapping[str, Any]) -> Preprocessing:
    for key, meaning in UNSUPPORTED.items():
        if config.get(key):
            raise ModelSpecError(f"{key} is {config[key]}: the runtime does not do {meaning}.")
    normalised = config.get("do_normalize", True)
    for key in ("resample", "image_mean", "image_std") if normalised else ("resample",):
        if key not in config:
            raise ModelSpecError(f"it has no {key}; add it as the processor uses it.")
    resample = config["resample"]
    if resample not in RESAMPLE:
        raise ModelSpecError(f"resample is {resample!r}; allowed: {RESAMPLE}.")
    resize_mode, resize_to, size = _config_sizes(config)
    scale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    mean = [float(value) for value in config["image_mean"]] if normalised else [0.0] * 3
    std = [float(value) for value in config["image_std"]] if normalised else [1.0] * 3
    # (pixel * scale - mean) / std, on the 0-1 scale of InputSpec.
    unit = 1.0 if math.isclose(scale * 255, 1) else scale * 255
    return Preprocessing(
        image_size=size,
        channels=len(mean),
        mean=tuple(value / unit for value in mean),
        std=tuple(value / unit for value in std),
        resize_mode=resize_mode,
        interpolation=RESAMPLE[resample],
        resize_to=resize_to,
    )


def _config_sizes(config: Mapping[str, Any]) -> tuple[str, int | Sides, Sides]:
    """Mode and size of the resize, and the size of the crop (or of the resize, without one)."""
    if not config.get("do_resize", True) or "size" not in config:
        raise ModelSpecError("it has no resize, which the runtime needs for images of any size.")
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    mode, resize_to = _config_resize(config["size"], kind)
    crops = config.get("do_center_crop", "crop_size" in config)
    if crops:
        return mode, resize_to, _config_sides(config["crop_size"])
    if kind.startswith("ConvNext") and isinstance(resize_to, int):
        # ConvNext's own rule: 384 and more are stretched, less are resized by crop_pct and cropped.
        side = resize_to
        if side >= 384:
            return "stretch", (side, side), (side, side)
        return mode, int(side / float(config.get("crop_pct") or 224 / 256)), (side, side)
    return mode, resize_to, (resize_to, resize_to) if isinstance(resize_to, int) else resize_to


def _config_resize(size: Any, kind: str) -> tuple[str, int | Sides]:
    if isinstance(size, Mapping):
        if set(size) == {"height", "width"}:
            return "stretch", (int(size["height"]), int(size["width"]))
        if set(size) == {"shortest_edge"}:
            return "short", int(size["shortest_edge"])
    elif isinstance(size, int) and kind.startswith(SHORT_SIDE_PROCESSORS):
        return "short", size
    elif isinstance(size, int) and kind.startswith(SQUARE_PROCESSORS):
        return "stretch", (size, size)
    raise ModelSpecError(
        f"size is {size!r}; allowed: height and width, or shortest_edge. Pass --resize-mode, "
        "--resize-to and --crop instead of the file."
    )


def _config_sides(size: Any) -> Sides:
    if isinstance(size, Mapping):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)
