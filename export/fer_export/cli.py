"""`fer-export`: a thin skin over this package's functions; they are imported by the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_runtime.console import EXIT_HELP, bound_spinning, run_app

if TYPE_CHECKING:
    from fer_export.loading import Foreign
    from fer_export.parity import ParityReport

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a checkpoint with proof that the artefact computes the same, or not at all.",
    epilog=EXIT_HELP,
)

PARITY_FAILED = 5

CheckpointPath = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="A best.pt; or a state dict, with the options below."
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Default: beside the checkpoint.")
]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of real images to compare on, beside noise (at most 1,024 of them)."),
]
Tolerance = Annotated[
    float,
    typer.Option(help="Largest difference of logits, in standard deviations of the checkpoint's."),
]
Agreement = Annotated[float, typer.Option(help="Least share of equal top-1.", min=0, max=1)]
FOREIGN = "A file without a spec of its own"
Architecture = Annotated[
    str | None,
    typer.Option(
        help="torchvision's name, timm:NAME, or package.module:factory, which is then imported.",
        rich_help_panel=FOREIGN,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Class names in the order of the logits: a file with one a line, or a,b,c.",
        rich_help_panel=FOREIGN,
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(help="Side in pixels, or HEIGHTxWIDTH.", rich_help_panel=FOREIGN),
]
Channels = Annotated[
    int | None, typer.Option(help="1 (grey) or 3 (RGB).", min=1, rich_help_panel=FOREIGN)
]
Mean = Annotated[
    str | None,
    typer.Option(help="Per channel on the 0-1 scale: 0.5,0.5,0.5.", rich_help_panel=FOREIGN),
]
Std = Annotated[str | None, typer.Option(help="As --mean.", rich_help_panel=FOREIGN)]
NetArgs = Annotated[
    str, typer.Option(help="The architecture's arguments, as JSON.", rich_help_panel=FOREIGN)
]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Open a pickled module. Executes code in it.",
        rich_help_panel=FOREIGN,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def _export_command(name: str, formats: Sequence[str], text: str) -> None:
    """Register one export command; all of them take the same options."""

    def command(
        checkpoint: CheckpointPath,
        output: Output = None,
        images: Images = None,
        tolerance: Tolerance = 1e-4,
        min_agreement: Agreement = 1.0,
        as_json: Json = False,
        architecture: Architecture = None,
        labels: Labels = None,
        image_size: ImageSize = None,
        channels: Channels = None,
        mean: Mean = None,
        std: Std = None,
        net_args: NetArgs = "{}",
        trust_pickle: TrustPickle = False,
    ) -> None:
        from fer_export import exporter

        foreign = _foreign(
            architecture, labels, image_size, channels, mean, std, net_args, trust_pickle
        )
        for format_name in formats:
            target = output
            if output and len(formats) > 1:
                target = output / f"{checkpoint.stem}{exporter.FORMATS[format_name].ending}"
            done = exporter.export(
                checkpoint, format_name, target, images=images, tolerance=tolerance,
                min_agreement=min_agreement, foreign=foreign,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )  # fmt: skip
            _show(done.report, f"{done.path} against {checkpoint}", as_json)
            size = done.path.stat().st_size
            print(f"wrote {done.path} ({size:,} bytes) and {done.report_path}", file=sys.stderr)

    command.__doc__ = text
    app.command(name)(command)


_export_command("onnx", ["onnx"], "Export to ONNX, which fer-infer runs without torch.")
_export_command(
    "torchscript",
    ["torchscript"],
    """Export to TorchScript, for torch.jit.load.

    PyTorch deprecates it since 2.11; pt2 is what follows it. Loading TorchScript executes the code
    inside the file.
    """,
)
_export_command(
    "pt2",
    ["pt2"],
    """Export to a program of torch.export (.pt2), for torch.export.load.

    Loading a .pt2 unpickles its constants, which can execute code.
    """,
)
_export_command(
    "all", ["onnx", "torchscript", "pt2"], "Export to every format; --output is then a folder."
)


@app.command()
def verify(
    checkpoint: CheckpointPath,
    artefact: Annotated[
        Path, typer.Argument(metavar="ARTEFACT", help=".onnx, .torchscript or .pt2.")
    ],
    images: Images = None,
    tolerance: Tolerance = 1e-4,
    min_agreement: Agreement = 1.0,
    as_json: Json = False,
    architecture: Architecture = None,
    labels: Labels = None,
    image_size: ImageSize = None,
    channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    net_args: NetArgs = "{}",
    trust_pickle: TrustPickle = False,
) -> None:
    """Compare an artefact with its checkpoint anew; its verdict and spec as well.

    Loading TorchScript or .pt2 can execute code inside the file.
    """
    from fer_export import exporter

    foreign = _foreign(
        architecture, labels, image_size, channels, mean, std, net_args, trust_pickle
    )
    report = exporter.verify(
        checkpoint, artefact, images=images, tolerance=tolerance, min_agreement=min_agreement,
        foreign=foreign,
    )  # fmt: skip
    _show(report, f"{artefact} against {checkpoint}", as_json)
    raise typer.Exit(0 if report else PARITY_FAILED)


@app.command("attach-spec")
def attach_spec(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file made elsewhere.")],
    spec: Annotated[Path, typer.Option(help="ModelSpec as JSON; fer-infer shows one to fill in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: FILE's stem with .fer.onnx.")
    ] = None,
) -> None:
    """Put a spec into a foreign ONNX file, so that fer-infer runs it; the file itself stays."""
    from fer_export import exporter
    from fer_runtime.spec import ModelSpec

    target = output or file.with_suffix(".fer.onnx")
    exporter.attach_spec(file, ModelSpec.read(spec), target)
    print(f"wrote {target}", file=sys.stderr)


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="ONNX, TorchScript, .pt2 or best.pt.")
    ],
    as_json: Json = False,
) -> None:
    """Show what a model file holds; nothing in it is executed."""
    from rich.console import Console

    from fer_export import inspect as inspection
    from fer_export import report

    found = inspection.inspect(file)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(report.inspection_table(found))


def main() -> None:
    """Entry point: errors become one sentence on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _foreign(
    architecture: str | None,
    labels: str | None,
    image_size: str | None,
    channels: int | None,
    mean: str | None,
    std: str | None,
    net_args: str,
    trust_pickle: bool,
) -> Foreign:
    from fer_export.loading import Foreign, labels_from

    height, _, width = (image_size or "").lower().partition("x")
    return Foreign(
        architecture=architecture,
        labels=labels_from(labels) if labels else (),
        image_size=(_whole(height), _whole(width or height)) if image_size else None,
        channels=channels,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        net_args=_object(net_args),
        trust_pickle=trust_pickle,
    )


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


def _show(report: ParityReport, title: str, as_json: bool) -> None:
    from rich.console import Console

    from fer_export.report import parity_table

    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        Console().print(parity_table(report, title))
