"""ModelSpec: what a model expects, in one frozen value that travels inside the model file.

Written by training into `best.pt`, copied by export into every artefact, read by the
runtime, which reads nothing else. Standard library only, so that anything may import it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fer_runtime.errors import ModelSpecError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec_values import (
    check_choice,
    check_integer,
    check_keys,
    check_mapping,
    check_text,
    number,
    numbers,
    plain,
)

SCHEMA_VERSION = 3
"""Written into every spec. Older ones are read too: version 1 had no `resize_to`, and up to version
2 there was a `crop_margin` instead of `face_crop` (see `FaceCrop.from_margin`)."""
METADATA_KEY = "fer_runtime.spec"
"""The key of the spec's JSON in ONNX `metadata_props`."""
EXTRA_FILE = "spec.json"
"""The name of the spec's JSON among the extra files of TorchScript and `.pt2` archives."""

Layout = Literal["NCHW", "NHWC"]
Dtype = Literal["uint8", "float32"]
ResizeMode = Literal["stretch", "crop", "pad", "short", "long"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The one input of a model, and how an image becomes that input.

    `height`, `width` in pixels; `channels` 1 (grey) or 3 (RGB); `mean` and `std` one value per
    channel on the 0-1 scale. A uint8 input takes pixels as they are, because the graph itself
    normalises. A float32 input is fed `low + (high - low) * (pixel / 255 - mean) / std` with
    `value_range = (low, high)`.

    `resize_mode`: "stretch" ignores the aspect ratio, "crop" scales the shorter side and cuts the
    centre, "pad" scales the longer side and fills with black. These three end at height x width.

    `resize_to` adds a second step, as torchvision's Resize and CenterCrop: the whole image is
    resized first, then its centre of height x width is taken, with black around it where it is
    smaller. "short" and "long" keep the aspect ratio and need the pixels of that side; "stretch"
    takes (height, width). The pixels are then torchvision's own, bit for bit (which costs a JPEG
    its decode at a reduced scale).

    `face_crop` is the square around a face that training saw: what to cut out of a picture in which
    a face was detected, before all of the above.

    Example:
        `transforms.Compose([Resize(256), CenterCrop(224), ToTensor()])` is
        `InputSpec(height=224, width=224, channels=3, mean=(0, 0, 0), std=(1, 1, 1),
        resize_mode="short", resize_to=256)`.

    Raises:
        ModelSpecError: a value of the wrong type, out of range, or at odds with another.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str = "images"
    layout: Layout = "NCHW"
    dtype: Dtype = "uint8"
    value_range: tuple[float, float] = (0.0, 255.0)
    resize_mode: ResizeMode = "stretch"
    interpolation: Interpolation = "bilinear"
    resize_to: int | tuple[int, int] | None = None
    face_crop: FaceCrop = field(default_factory=FaceCrop)

    def __post_init__(self) -> None:
        for key in ("height", "width"):
            check_integer(f"input.{key}", getattr(self, key), 1, 16384)
        check_integer("input.channels", self.channels, 1, 3)
        if self.channels == 2:
            raise ModelSpecError(f"input.channels is {self.channels!r}; it must be 1 or 3.")
        check_text("input.name", self.name)
        check_choice("input.layout", self.layout, Layout)
        check_choice("input.dtype", self.dtype, Dtype)
        check_choice("input.resize_mode", self.resize_mode, ResizeMode)
        check_choice("input.interpolation", self.interpolation, Interpolation)
        for key in ("mean", "std"):
            self._check_per_channel(key)
        low, high = numbers("input.value_range", self.value_range, 2)
        object.__setattr__(self, "value_range", (low, high))
        if low >= high:
            raise ModelSpecError(f"input.value_range is {self.value_range}; low must be < high.")
        if self.dtype == "uint8" and (low, high) != (0.0, 255.0):
            raise ModelSpecError(
                f"input.value_range is {self.value_range}; a uint8 input takes (0, 255)."
            )
        if not isinstance(self.face_crop, FaceCrop):
            raise ModelSpecError(f"input.face_crop is {self.face_crop!r}; it must be a FaceCrop.")
        self._check_resize_to()

    def _check_resize_to(self) -> None:
        mode, given = self.resize_mode, self.resize_to
        if mode in ("short", "long"):
            if given is None or isinstance(given, list | tuple):
                raise ModelSpecError(
                    f'input.resize_to is {given!r}; resize_mode "{mode}" needs the pixels of the '
                    f"{mode} side, as 256."
                )
            check_integer("input.resize_to", given, 1, 16384)
        elif mode == "stretch" and given is not None:
            if not isinstance(given, list | tuple) or len(given) != 2:
                raise ModelSpecError(
                    f'input.resize_to is {given!r}; resize_mode "stretch" takes (height, width). '
                    'To keep the aspect ratio, choose "short" or "long".'
                )
            for side in given:
                check_integer("input.resize_to", side, 1, 16384)
            object.__setattr__(self, "resize_to", tuple(given))
        elif given is not None:
            raise ModelSpecError(
                f'input.resize_to is {given!r}; resize_mode "{mode}" takes none. It goes with '
                '"short", "long" and "stretch".'
            )

    def _check_per_channel(self, key: str) -> None:
        given = getattr(self, key)
        if isinstance(given, Sequence) and len(given) != self.channels:
            raise ModelSpecError(
                f"input.{key} has {len(given)} values, but the input has {self.channels} "
                f"channel{'s' if self.channels > 1 else ''}; give one value per channel."
            )
        values = numbers(f"input.{key}", given, self.channels)
        if key == "std" and min(values) <= 0:
            raise ModelSpecError(f"input.std is {values}; every value must be above 0.")
        object.__setattr__(self, key, values)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W): the shape of one image as `fer_runtime.images` makes it."""
        return self.channels, self.height, self.width


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the weights come from; every value is optional but a wrong type is an error.

    `weights_sha256` is over the state dict in key order (`fer_runtime.hashing`), `metrics` is
    `{split: {metric: value}}`, `versions` is `{package: version}`, `created` is an ISO 8601 date.
    """

    weights_sha256: str | None = None
    dataset: str | None = None
    dataset_sha256: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str | None = None

    def __post_init__(self) -> None:
        for key in ("weights_sha256", "dataset", "dataset_sha256", "created"):
            if getattr(self, key) is not None:
                check_text(f"provenance.{key}", getattr(self, key))
        for key in ("recipe", "metrics", "versions"):
            object.__setattr__(self, key, plain(f"provenance.{key}", getattr(self, key)))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a classifier expects and says: the one contract between training, export and runtime.

    `labels` are in logit order. `architecture` and `architecture_args` rebuild the net in
    `fer_train.models`. `temperature` divides the logits before the softmax (inside the graph).
    `parity` is None in a checkpoint; in an artefact it is the verdict about that very file.

    Raises:
        ModelSpecError: a value of the wrong type, out of range, or at odds with another.
    """

    labels: tuple[str, ...]
    input: InputSpec
    architecture: str | None = None
    architecture_args: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    provenance: Provenance = field(default_factory=Provenance)
    parity: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.labels, str) or not isinstance(self.labels, Sequence):
            raise ModelSpecError(f"labels is {self.labels!r}; it must be a list of names.")
        object.__setattr__(self, "labels", tuple(self.labels))
        for label in self.labels:
            check_text("labels", label)
        if len(self.labels) < 2:
            raise ModelSpecError(f"labels is {list(self.labels)}; a classifier needs at least 2.")
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise ModelSpecError(f"labels names {', '.join(twice)} more than once.")
        if self.architecture is not None:
            check_text("architecture", self.architecture)
        arguments = plain("architecture_args", self.architecture_args)
        object.__setattr__(self, "architecture_args", arguments)
        if not 0 < number("temperature", self.temperature) < math.inf:
            raise ModelSpecError(f"temperature is {self.temperature}; it must be above 0.")
        if self.parity is not None:
            object.__setattr__(self, "parity", plain("parity", self.parity))

    def replace(self, **changes: Any) -> ModelSpec:
        """A copy with some fields changed, checked like a new one."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, ready for JSON or `torch.save`; the inverse of `from_dict`."""
        plain = json.loads(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}))
        assert isinstance(plain, dict)
        return plain

    def to_json(self) -> str:
        """Indented JSON in a stable key order; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Read what `to_dict` wrote.

        Raises:
            ModelSpecError: an unknown or missing key, a newer schema, or a value that is refused.
        """
        if not isinstance(values, Mapping):
            raise ModelSpecError(f"A spec is a JSON object, not a {type(values).__name__}.")
        rest = dict(values)
        version = rest.pop("schema_version", None)
        if version is None:
            raise ModelSpecError(
                f"The spec has no schema_version; this version writes {SCHEMA_VERSION}."
            )
        if version not in range(1, SCHEMA_VERSION + 1):
            raise ModelSpecError(
                f"The spec has schema_version {version!r}; this version of fer-runtime reads up to "
                f"{SCHEMA_VERSION}. Upgrade fer-runtime, or export the model again."
            )
        check_keys(cls, rest, "")
        for key, kind in (("input", InputSpec), ("provenance", Provenance)):
            if key in rest:
                check_mapping(key, rest[key])
                given = dict(rest[key])
                if key == "input" and version < 3:
                    _replace_crop_margin(given, version)
                check_keys(kind, given, f"{key}.")
                if key == "input" and "face_crop" in given:
                    given["face_crop"] = FaceCrop.from_dict(given["face_crop"])
                rest[key] = kind(**given)
        return cls(**rest)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote; raises ModelSpecError like `from_dict`."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelSpecError(f"The spec is not JSON: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def read(cls, path: Path) -> ModelSpec:
        """Read a spec's JSON file; raises ModelSpecError naming the file."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ModelSpecError(f"{path}: the spec cannot be read: {error}") from None
        except ModelSpecError as error:
            raise ModelSpecError(f"{path}: {error}") from None


def _replace_crop_margin(given: dict[str, Any], version: int) -> None:
    """Give the input of an older schema the `face_crop` that its `crop_margin` becomes."""
    if "face_crop" in given:
        raise ModelSpecError(
            f"Unknown key input.face_crop in a spec of schema_version {version}; it came with "
            f"version 3, so write {SCHEMA_VERSION} there."
        )
    if "crop_margin" in given:
        given["face_crop"] = asdict(FaceCrop.from_margin(given.pop("crop_margin")))
