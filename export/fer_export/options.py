"""How an artefact is made and compared, and what is known of a checkpoint that is not ours.

Each class is a group of options of `fer-export` too, made by `fer_runtime.cli.options`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fer_export.precision.table import PRECISIONS, Precision
from fer_export.preprocessing.options import PANEL, PreprocessingOptions
from fer_runtime.cli.options import option

if TYPE_CHECKING:
    from fer_export.loading import ModelDescription

DESCRIPTION_PANEL = "A file without a ModelSpec"
PRECISION_PANEL = "Precision"


def _defaults(name: str) -> str:
    values = {key: getattr(entry, name) for key, entry in PRECISIONS.items()}
    return ", ".join(f"{key} {value:g}" for key, value in values.items() if value)


@dataclass(frozen=True)
class ComparisonOptions:
    """How an artefact is compared with its checkpoint.

    Attributes:
        images: a folder whose images are compared beside noise.
        tolerance: largest difference of logits, in standard deviations of the checkpoint's; None is
            the precision's own.
        min_agreement: smallest share of equal top-1, 0 to 1; None is the precision's own.
        bisect: if parity fails, name the first node whose output differs.
        reference: the user's own preprocessing, "package.module:function" from a path to a float
            tensor (C, H, W); `images` must get the same labels through it.
    """

    images: Path | None = option(
        None, "Folder of real images to compare on, beside noise (at most 1,024 of them)."
    )
    tolerance: float | None = option(
        None,
        "Largest difference of logits, in standard deviations of the checkpoint's. Default: "
        f"{_defaults('tolerance')}; int8 is checked by macro-F1.",
    )
    min_agreement: float | None = option(
        None,
        f"Smallest share of equal top-1. Default: {_defaults('min_agreement')}.",
        min=0,
        max=1,
    )
    bisect: bool = option(
        False, "If parity fails, name the first node whose output differs.", "--bisect"
    )
    reference: str | None = option(
        None,
        "Your own preprocessing, package.module:function, from a path to a float tensor (C, H, W). "
        "It is imported, and each file of --images must get the same label through it.",
        metavar="FUNCTION",
        panel=PANEL,
    )


@dataclass(frozen=True)
class VerifyOptions(ComparisonOptions):
    """How an existing artefact is compared; `evaluation` is a folder of labelled images."""

    evaluation: Path | None = option(
        None,
        "Labelled images, DIR/<label>/*, whose macro-F1 decides on int8.",
        panel=PRECISION_PANEL,
    )


@dataclass(frozen=True)
class FormatOptions(ComparisonOptions):
    """What an artefact of any format may have; `features` is a third output."""

    features: bool = option(
        False,
        "Add an output `features`, (N, D) float32: what the last linear layer takes, for "
        "neighbours, clusters, or a model of your own on top.",
        "--features",
    )


@dataclass(frozen=True)
class ExportOptions(VerifyOptions, FormatOptions):
    """How an artefact is made and compared.

    Attributes:
        evaluation: a folder of labelled images, DIR/<label>/*, to measure accuracy on.
        precision: one of `PRECISIONS`; a format may support only some.
        calibration: a folder of typical images, to choose ranges by.
        skip_duplicates: omit calibration images that are in the evaluation set too, instead of
            stopping.
        float_layers: the layers that int8 leaves in float for speed: auto, none, or names.
        settings: values for the format's own options, by name, e.g. {"opset": 20} for ONNX.
    """

    precision: str = option(
        "fp32",
        "; ".join(f"{name}: {entry.help}" for name, entry in PRECISIONS.items()) + ".",
        choices=lambda: tuple(PRECISIONS),
        panel=PRECISION_PANEL,
    )
    calibration: Path | None = option(
        None,
        "Typical images, like those of training, to choose int8's ranges by (at most 512).",
        panel=PRECISION_PANEL,
    )
    skip_duplicates: bool = option(
        False,
        "Omit calibration images that are in the evaluation set too, instead of stopping.",
        "--skip-duplicates",
        panel=PRECISION_PANEL,
    )
    float_layers: str = option(
        "auto",
        "Layers that int8 leaves in float because that is faster: auto times each both ways on "
        "this machine, none leaves none, or their names: a,b.",
        panel=PRECISION_PANEL,
    )
    settings: Mapping[str, Any] = field(default_factory=dict)

    def limits(self, precision: Precision) -> dict[str, Any]:
        """`tolerance` and `min_agreement` of `parity.compare`.

        The fp32 file that another precision is made from keeps fp32's own limits.
        """
        limits = {"tolerance": precision.tolerance, "min_agreement": precision.min_agreement}
        if precision.name == "fp32" and self.precision != "fp32":
            return limits
        given = {"tolerance": self.tolerance, "min_agreement": self.min_agreement}
        return {**limits, **{name: value for name, value in given.items() if value is not None}}


@dataclass(frozen=True)
class DescriptionOptions(PreprocessingOptions):
    """What the command line knows of a checkpoint that contains no ModelSpec."""

    architecture: str | None = option(
        None,
        "torchvision's name, timm:NAME, or package.module:factory, which is then imported and "
        "called as factory(InputSpec, classes, **net_args) -> nn.Module.",
        panel=DESCRIPTION_PANEL,
    )
    labels: str | None = option(
        None,
        "Class names in the order of the logits: a file with one per line, or a,b,c.",
        panel=DESCRIPTION_PANEL,
    )
    image_size: str | None = option(
        None, "Side in pixels, or HEIGHTxWIDTH.", panel=DESCRIPTION_PANEL
    )
    channels: int | None = option(None, "1 (grey) or 3 (RGB).", min=1, panel=DESCRIPTION_PANEL)
    mean: str | None = option(
        None, "Per channel on the 0-1 scale: 0.5,0.5,0.5.", panel=DESCRIPTION_PANEL
    )
    std: str | None = option(None, "As --mean.", panel=DESCRIPTION_PANEL)
    net_args: str = option("{}", "The architecture's arguments, as JSON.", panel=DESCRIPTION_PANEL)
    state_key: str | None = option(
        None,
        "Entry of the checkpoint that contains the weights. Default: the only one that is a state "
        "dict, or the first of state_dict, model_state_dict, model, net, state_dict_ema.",
        panel=DESCRIPTION_PANEL,
    )
    trust_pickle: bool = option(
        False,
        "Open a pickled module. Executes code in the file.",
        "--trust-pickle",
        panel=DESCRIPTION_PANEL,
    )

    def description(self) -> ModelDescription:
        """The values as the exporter takes them.

        Raises:
            typer.BadParameter: a value that cannot be parsed.
            DataError: the file of labels cannot be read.
        """
        from fer_export.loading import ModelDescription, labels_from

        described = ModelDescription(
            architecture=self.architecture,
            labels=labels_from(self.labels) if self.labels else (),
            image_size=_size(self.image_size) if self.image_size else None,
            channels=self.channels,
            mean=_numbers("--mean", self.mean),
            std=_numbers("--std", self.std),
            net_args=_object(self.net_args),
            state_key=self.state_key,
            trust_pickle=self.trust_pickle,
        )
        return self.complete(described)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    sides = (height, width or height)
    if not all(side.isdecimal() and int(side) for side in sides):
        raise typer.BadParameter(
            f"{text!r} is not a size; pass a side in pixels, as 64, or HEIGHTxWIDTH, as 64x48.",
            param_hint="--image-size",
        )
    return int(sides[0]), int(sides[1])


def _numbers(name: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}; pass one number per channel, as 0.5,0.5,0.5.", param_hint=name
        ) from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(
            f"{text!r} is not a JSON object; an example: '{{\"width\": 32}}'.",
            param_hint="--net-args",
        )
    return found
