"""The options of `fer-export` that describe preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import typer

from fer_export.preprocessing import presets
from fer_export.preprocessing.fields import Preprocessing, Sides
from fer_runtime.cli.options import option
from fer_runtime.errors import ModelSpecError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import Interpolation, ResizeMode

if TYPE_CHECKING:
    from fer_export.loading import ModelDescription

PANEL = "How training turned an image into the input"


@dataclass(frozen=True)
class PreprocessingOptions:
    """The options that describe preprocessing, as given on the command line."""

    preprocessing: str | None = option(
        None,
        "Take it from torchvision:NAME (or torchvision:Weights.MEMBER), timm:NAME, or a "
        "preprocessor_config.json; the other options override it.",
        panel=PANEL,
    )
    resize_mode: str | None = option(
        None,
        "stretch ignores the aspect ratio; crop and pad keep it; short and long scale that side to "
        "--resize-to and take the centre. Default: stretch, or short with --resize-to.",
        choices=get_args(ResizeMode),
        panel=PANEL,
    )
    interpolation: str | None = option(
        None, "Default: bilinear.", choices=get_args(Interpolation), panel=PANEL
    )
    resize_to: str | None = option(
        None,
        "Resize before the centre crop: pixels of the short side, as 256, or HEIGHTxWIDTH.",
        metavar="PIXELS",
        panel=PANEL,
    )
    crop: str | None = option(
        None,
        "Size of the centre crop, as 224 or HEIGHTxWIDTH: the model's input.",
        metavar="PIXELS",
        panel=PANEL,
    )
    face_crop: str | None = option(
        None,
        "How the training images were cut around a face. box:SCALE:UP: SCALE times the detector's "
        "box; level:SCALE:UP: that, turned until the eyes are level; eyes:SCALE:UP: level, SCALE "
        "times the distance from eyes to mouth. Moved up by UP of the side. Default: "
        f"{FaceCrop()}; :SCALE and :UP may be omitted.",
        metavar="ALIGN:SCALE:UP",
        panel=PANEL,
    )

    def complete(self, description: ModelDescription) -> ModelDescription:
        """The description with what these options and their preset say about the input.

        Raises:
            typer.BadParameter: an option that cannot be read, or contradicts another.
            ModelSpecError: a preset that is unknown, or that the runtime cannot follow.
            DataError: a preset's file that cannot be read.
        """
        preset = presets.read(self.preprocessing) if self.preprocessing else Preprocessing()
        crop = parse_sides("--crop", self.crop) if self.crop else None
        if crop and description.image_size not in (None, crop):
            raise typer.BadParameter(
                f"{self.crop} contradicts --image-size; pass one of them.", param_hint="--crop"
            )
        mode, resize_to = self._resize(preset)
        if crop and resize_to is None:
            raise typer.BadParameter(
                "a centre crop needs the size before it; pass --resize-to too.", param_hint="--crop"
            )
        size = crop or description.image_size or preset.image_size or _square(resize_to)
        chosen = Preprocessing(
            image_size=size,
            channels=description.channels or preset.channels,
            mean=description.mean or preset.mean,
            std=description.std or preset.std,
            resize_mode=mode,
            interpolation=self.interpolation or preset.interpolation,
            resize_to=resize_to,
            face_crop=parse_face_crop(self.face_crop) if self.face_crop else None,
        )
        return replace(description, preset=self.preprocessing, **chosen.given())

    def _resize(self, preset: Preprocessing) -> tuple[str | None, int | Sides | None]:
        """Mode and size of the resize; a given one replaces what the preset has for the other."""
        mode = self.resize_mode
        if self.resize_to is None:
            if mode is None or mode == preset.resize_mode:
                return preset.resize_mode, preset.resize_to
            fits = mode in ("short", "long") and isinstance(preset.resize_to, int)
            return mode, preset.resize_to if fits else None
        sides = parse_sides("--resize-to", self.resize_to)
        both = "x" in self.resize_to.lower()
        if mode is None and not both and preset.resize_mode == "long":
            mode = "long"
        mode = mode or ("stretch" if both else "short")
        return mode, sides if both or mode == "stretch" else sides[0]


def parse_sides(option_name: str, text: str) -> Sides:
    """ "224" -> (224, 224); "HEIGHTxWIDTH" -> (height, width).

    Raises:
        typer.BadParameter: it is neither.
    """
    height, separator, width = text.lower().partition("x")
    parts = (height, width) if separator else (height, height)
    if not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(
            f"{text!r} is not a size; pass pixels, as 224, or HEIGHTxWIDTH, as 224x192.",
            param_hint=option_name,
        )
    return int(parts[0]), int(parts[1])


def parse_face_crop(text: str) -> FaceCrop:
    """The rule that an option's text stands for; raises typer.BadParameter."""
    try:
        return FaceCrop.parse(text)
    except ModelSpecError as error:
        raise typer.BadParameter(str(error), param_hint="--face-crop") from None


def _square(resize_to: int | Sides | None) -> Sides | None:
    """Without a crop the input is as large as the resize makes it (a square, of its short side)."""
    return (resize_to, resize_to) if isinstance(resize_to, int) else resize_to
