"""What the commands of `fer-export` can be told, in groups that several of them take."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_export.preprocessing import PreprocessingOptions
from fer_runtime.cli import options as cli_options

if TYPE_CHECKING:
    from fer_export.loading import ModelDescription
    from fer_export.parity.checker import Options

Group = dict[str, tuple[Any, Any]]
"""Parameter -> (its annotated type, its default)."""

FOREIGN_PANEL = "A file without a spec of its own"
PRECISION_PANEL = "Precision (ONNX)"

COMMON: Group = {
    "images": (
        Annotated[
            Path | None,
            typer.Option(
                help="Folder of real images to compare on, beside noise (at most 1,024 of them)."
            ),
        ],
        None,
    ),
    "tolerance": (
        Annotated[
            float | None,
            typer.Option(
                help="Largest difference of logits, in standard deviations of the checkpoint's. "
                "Default: fp32 1e-4, fp16 0.05; int8 is judged by macro-F1."
            ),
        ],
        None,
    ),
    "min_agreement": (
        Annotated[
            float | None,
            typer.Option(
                help="Least share of equal top-1. Default: fp32 1, fp16 0.995.", min=0, max=1
            ),
        ],
        None,
    ),
    "bisect": (
        Annotated[
            bool,
            typer.Option("--bisect", help="If parity fails, name the first node that departs."),
        ],
        False,
    ),
    "report": (
        Annotated[
            Path | None, typer.Option(help="Write one self-contained HTML page, pass or fail.")
        ],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")], False),
}
OUTPUT: Group = {
    "output": (
        Annotated[
            Path | None, typer.Option("--output", "-o", help="Default: beside the checkpoint.")
        ],
        None,
    ),
}
EVALUATION: Group = {
    "evaluation": (
        Annotated[
            Path | None,
            typer.Option(
                help="Labelled images, DIR/<label>/*, whose macro-F1 decides on int8.",
                rich_help_panel=PRECISION_PANEL,
            ),
        ],
        None,
    ),
}
OPSET: Group = {
    "opset": (
        Annotated[int | None, typer.Option(help="ONNX operator set, 18 to 25. Default: 18.")],
        None,
    ),
}
PRECISION: Group = {
    "precision": (
        Annotated[
            str,
            typer.Option(
                help="fp32; fp16 (half the size; faster on GPUs); int8 (a quarter of the size; "
                "needs --calibration and --evaluation).",
                rich_help_panel=PRECISION_PANEL,
            ),
        ],
        "fp32",
    ),
    "calibration": (
        Annotated[
            Path | None,
            typer.Option(
                help="Typical images, as of training, to choose int8's ranges by (at most 512).",
                rich_help_panel=PRECISION_PANEL,
            ),
        ],
        None,
    ),
    **EVALUATION,
    "skip_duplicates": (
        Annotated[
            bool,
            typer.Option(
                "--skip-duplicates",
                help="Leave calibration images out that are in the evaluation set too, instead of "
                "stopping.",
                rich_help_panel=PRECISION_PANEL,
            ),
        ],
        False,
    ),
}
FOREIGN: Group = {
    "architecture": (
        Annotated[
            str | None,
            typer.Option(
                help="torchvision's name, timm:NAME, or package.module:factory, which is then "
                "imported.",
                rich_help_panel=FOREIGN_PANEL,
            ),
        ],
        None,
    ),
    "labels": (
        Annotated[
            str | None,
            typer.Option(
                help="Class names in the order of the logits: a file with one a line, or a,b,c.",
                rich_help_panel=FOREIGN_PANEL,
            ),
        ],
        None,
    ),
    "image_size": (
        Annotated[
            str | None,
            typer.Option(help="Side in pixels, or HEIGHTxWIDTH.", rich_help_panel=FOREIGN_PANEL),
        ],
        None,
    ),
    "channels": (
        Annotated[
            int | None,
            typer.Option(help="1 (grey) or 3 (RGB).", min=1, rich_help_panel=FOREIGN_PANEL),
        ],
        None,
    ),
    "mean": (
        Annotated[
            str | None,
            typer.Option(
                help="Per channel on the 0-1 scale: 0.5,0.5,0.5.", rich_help_panel=FOREIGN_PANEL
            ),
        ],
        None,
    ),
    "std": (
        Annotated[str | None, typer.Option(help="As --mean.", rich_help_panel=FOREIGN_PANEL)],
        None,
    ),
    "net_args": (
        Annotated[
            str,
            typer.Option(
                help="The architecture's arguments, as JSON.", rich_help_panel=FOREIGN_PANEL
            ),
        ],
        "{}",
    ),
    "trust_pickle": (
        Annotated[
            bool,
            typer.Option(
                "--trust-pickle",
                help="Open a pickled module. Executes code in it.",
                rich_help_panel=FOREIGN_PANEL,
            ),
        ],
        False,
    ),
}

PREPROCESSING: Group = {
    entry.name: (entry.annotation, entry.default)
    for entry in cli_options._parameters(PreprocessingOptions)
}


def takes(*groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these groups in place of its `**chosen`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for group in groups
            for name, (kind, default) in group.items()
        ]
        parameters = [*own, *added]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {entry.name: entry.annotation for entry in parameters}
        return command

    return decorate


def judging(chosen: dict[str, Any]) -> Options:
    """The exporter's Options of what a command was told."""
    from fer_export.parity.checker import Options

    names = [name for name in Options.__dataclass_fields__ if chosen.get(name) is not None]
    return Options(**{name: chosen[name] for name in names})


def description(chosen: dict[str, Any]) -> ModelDescription:
    """What was said of a file that carries no spec.

    Raises:
        typer.BadParameter: a value that is none.
    """
    from fer_export.loading import ModelDescription, labels_from

    size, labels = chosen["image_size"], chosen["labels"]
    height, _, width = (size or "").lower().partition("x")
    described = ModelDescription(
        architecture=chosen["architecture"],
        labels=labels_from(labels) if labels else (),
        image_size=(_whole(height), _whole(width or height)) if size else None,
        channels=chosen["channels"],
        mean=_numbers("--mean", chosen["mean"]),
        std=_numbers("--std", chosen["std"]),
        net_args=_object(chosen["net_args"]),
        trust_pickle=chosen["trust_pickle"],
    )
    given = PreprocessingOptions(**{name: chosen[name] for name in PREPROCESSING})
    return given.complete(described)


def _whole(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise typer.BadParameter(f"{text!r} is no number of pixels.", param_hint="--image-size")
    return int(text)


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}; say one number per channel, as 0.5,0.5,0.5.", param_hint=option
        ) from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object.", param_hint="--net-args")
    return found
